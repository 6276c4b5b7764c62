import { expect, it, vi } from 'vitest'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { publishEvent } from '../../src/notifications/outbound-events.ts'
import { openScene, PAID } from '../purchases/purchase-scene.ts'
import { createConference } from '../support/fixtures.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { startMailServer } from './mail-server.ts'
import { useOutgoingScene } from './outbound-webhook-scene.ts'
import { startHookReceiver } from './webhook-receiver.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

// A process is stopped between sending and saying so by an answer that never comes; then it is
// killed with -9.

const app = useOutgoingScene()
useServiceProcesses()

async function startWorker(env: NodeJS.ProcessEnv): Promise<ServiceProcess> {
  const worker = await startServiceProcess({
    DATABASE_URL: app.connectionString,
    STRIPE_API_BASE: 'http://127.0.0.1:9',
    RUN: 'work',
    LEASE_SECONDS: '2',
    WEBHOOKS_ALLOW_LOOPBACK: 'true',
    ...env,
  })
  await expect.poll(() => worker.output(), POLL_OPTIONS).toContain('"msg":"ready"')
  return worker
}

it('webhooks of a killed worker go out again under their ids, and so does what waited behind them', async () => {
  const receiver = await startHookReceiver()
  const { id: conferenceId, path } = await createConference(app)
  const endpoint = await app.addEndpoint(path, { url: receiver.url })
  receiver.answerWith('hang')
  for (const purchase of ['bp_1', 'bp_2']) {
    await withTenant(app.db, { conferenceId }, (trx) =>
      publishEvent(trx, { conferenceId, type: 'purchase.paid', data: { purchase } }),
    )
  }
  const doomed = await startWorker({})
  await expect.poll(() => receiver.received.length, POLL_OPTIONS).toBe(1)
  await doomed.kill()
  const heir = await startWorker({})
  await expect.poll(() => receiver.received.length, POLL_OPTIONS).toBe(3)
  const ids = receiver.received.map(({ headers }) => headers['webhook-id'])
  expect(ids.filter((id) => id === ids[0])).toHaveLength(2)
  expect(new Set(ids).size).toBe(2)
  const states = async () =>
    (await app.deliveries(path, endpoint.id)).map(({ state, attempts }) => [state, attempts])
  await expect.poll(states, POLL_OPTIONS).toEqual([
    ['delivered', 1],
    ['delivered', 1],
  ])
  expect(await heir.terminate()).toBe(0)
})

it('a mail of a killed worker goes out again under its Message-ID', async () => {
  const server = await startMailServer()
  server.meetWith('silent')
  const scene = await openScene(app.db)
  await scene.run(async (trx) => {
    const { conferenceId, purchaseId } = scene.ref
    await trx('sponsors').insert({
      conference_id: conferenceId,
      id: 'spon_1',
      name: 'Acme',
      slug: 'acme',
      contact_email: 'team@acme.example',
    })
    await trx('bulk_purchases').where({ id: purchaseId }).update({ sponsor_id: 'spon_1' })
  })
  await scene.read(PAID)
  const env = { SMTP_URL: server.url, MAIL_FROM: 'vouchers@conf.example' }
  const doomed = await startWorker(env)
  await expect.poll(() => server.mails.length, POLL_OPTIONS).toBe(1)
  await doomed.kill()
  const heir = await startWorker(env)
  await expect.poll(() => server.mails.length, POLL_OPTIONS).toBe(2)
  const [first, second] = server.mails
  expect(second?.header('Message-ID')).toBe(first?.header('Message-ID'))
  expect(await heir.terminate()).toBe(0)
})
