import { expect, it, vi } from 'vitest'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { publishEvent } from '../../src/notifications/outbound-events.ts'
import { useServices } from '../main/run-service.ts'
import { openScene, PAID } from '../purchases/purchase-scene.ts'
import { createConference } from '../support/fixtures.ts'
import { startServiceProcess, useServiceProcesses } from '../support/service-process.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { startMailServer } from './mail-server.ts'
import { useOutgoingScene } from './outbound-webhook-scene.ts'
import { startHookReceiver } from './webhook-receiver.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

// A missing response stops the process between sending and recording the outcome. Then it is
// killed with -9.

const app = useOutgoingScene()
useServiceProcesses()

let mailServer: Awaited<ReturnType<typeof startMailServer>>

async function enqueueMail(): Promise<void> {
  mailServer = await startMailServer()
  mailServer.meetWith('silent')
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
}

const startHere = useServices()
const worker = () => ({
  DATABASE_URL: app.connectionString,
  STRIPE_API_BASE: 'http://127.0.0.1:9',
  RUN: 'work',
  LEASE_SECONDS: '2',
  WEBHOOKS_ALLOW_LOOPBACK: 'true',
  SMTP_URL: mailServer.url,
  MAIL_FROM: 'vouchers@conf.example',
})

it('webhooks and a mail of a killed worker are sent again with their ids, and the next webhook in the queue too', async () => {
  const receiver = await startHookReceiver()
  const { id: conferenceId, path } = await createConference(app)
  const endpoint = await app.addEndpoint(path, { url: receiver.url })
  receiver.answerWith('hang')
  for (const purchase of ['bp_1', 'bp_2']) {
    await withTenant(app.db, { conferenceId }, (trx) =>
      publishEvent(trx, { conferenceId, type: 'purchase.paid', data: { purchase } }),
    )
  }
  await enqueueMail()
  const doomed = await startServiceProcess(worker())
  await expect.poll(() => receiver.received.length, POLL_OPTIONS).toBe(1)
  await expect.poll(() => mailServer.mails.length, POLL_OPTIONS).toBe(1)
  await doomed.kill()
  const replacement = await startHere(worker())
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
  await expect.poll(() => mailServer.mails.length, POLL_OPTIONS).toBe(2)
  const [first, second] = mailServer.mails
  expect(second?.header('Message-ID')).toBe(first?.header('Message-ID'))
  expect(await replacement.stop()).toBe(true)
})
