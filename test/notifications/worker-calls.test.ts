import { expect, it, vi } from 'vitest'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { publishEvent } from '../../src/notifications/outbound-events.ts'
import { useServices } from '../main/run-service.ts'
import { createConference } from '../support/fixtures.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { useOutgoingScene } from './outbound-webhook-scene.ts'
import { startHookReceiver } from './webhook-receiver.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

const app = useOutgoingScene()
const start = useServices()

const work = () =>
  start({
    DATABASE_URL: app.connectionString,
    RUN: 'work',
    WEBHOOKS_ALLOW_LOOPBACK: 'true',
  })

// More than the number of parallel deliveries of a worker.
const EVENTS = 12

it('a receiver that never answers delays no other receiver', async () => {
  const [slow, quick] = [await startHookReceiver(), await startHookReceiver()]
  const conference = await createConference(app)
  await app.addEndpoint(conference.path, { url: slow.url })
  await app.addEndpoint(conference.path, { url: quick.url })
  slow.answerWith(...Array<'hang'>(EVENTS).fill('hang'))
  await withTenant(app.db, { conferenceId: conference.id }, async (trx) => {
    for (let nth = 0; nth < EVENTS; nth += 1) {
      await publishEvent(trx, {
        conferenceId: conference.id,
        type: 'purchase.paid',
        data: { purchase: `bp_${nth}` },
      })
    }
  })
  await work()
  await expect.poll(() => quick.received.length, POLL_OPTIONS).toBe(EVENTS)
  // Deliveries to one endpoint are sequential, so only one of them waits for the receiver.
  expect(slow.received.length).toBeLessThan(EVENTS)
  const ids = new Set(quick.received.map(({ headers }) => headers['webhook-id']))
  expect(ids.size).toBe(EVENTS)
})

it('a worker retries a failed delivery when it is due, once', async () => {
  const receiver = await startHookReceiver()
  const conference = await createConference(app)
  const endpoint = await app.addEndpoint(conference.path, { url: receiver.url })
  receiver.answerWith(500)
  await withTenant(app.db, { conferenceId: conference.id }, (trx) =>
    publishEvent(trx, {
      conferenceId: conference.id,
      type: 'purchase.paid',
      data: { purchase: 'bp_1' },
    }),
  )
  await work()
  // The first retry is after five seconds.
  await expect.poll(() => receiver.received.length, POLL_OPTIONS).toBe(2)
  const deliveries = () => app.deliveries(conference.path, endpoint.id)
  await expect.poll(deliveries, POLL_OPTIONS).toMatchObject([{ state: 'delivered', attempts: 2 }])
  expect(await app.jobs(conference.id)).toEqual([])
  const [first, second] = receiver.received
  expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id'])
  const times = [first, second].map((hook) => Number(hook?.headers['webhook-timestamp']))
  expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(4)
})
