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
  // Keeps the time at which the failed delivery is due, and when that was set.
  await app.rows(
    `create table retries (run_at timestamptz, set_at timestamptz);
     grant all on retries to public;
     create function keep_retry() returns trigger language plpgsql
       as $$ begin insert into public.retries values (new.run_at, now()); return new; end $$;
     create trigger keep_retry after insert or update of run_at on graphile_worker._private_jobs
       for each row
       when (new.payload->>'endpoint_id' = '${endpoint.id}' and new.run_at > now())
       execute function keep_retry()`,
  )
  await work()
  await expect.poll(() => receiver.received.length, POLL_OPTIONS).toBe(2)
  const deliveries = () => app.deliveries(conference.path, endpoint.id)
  await expect.poll(deliveries, POLL_OPTIONS).toMatchObject([{ state: 'delivered', attempts: 2 }])
  // The worker removes the job after it has saved the delivery.
  await expect.poll(() => app.jobs(conference.id), POLL_OPTIONS).toEqual([])
  const [first, second] = receiver.received
  expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id'])
  // The first retry is after five seconds and up to a tenth of that, and not before it is due.
  const retries = await app.rows<{ seconds: number; due: number }>(
    `select floor(extract(epoch from run_at - set_at))::int as seconds,
       floor(extract(epoch from run_at))::int as due
     from retries`,
  )
  expect(retries).toMatchObject([{ seconds: 5 }])
  expect(Number(second?.headers['webhook-timestamp'])).toBeGreaterThanOrEqual(
    retries[0]?.due ?? Number.NaN,
  )
})

it('three conferences whose 48 receivers do not answer delay no delivery of a fourth (issue 8, line 19)', async () => {
  const [hanging, quick] = [await startHookReceiver(), await startHookReceiver()]
  hanging.answerWith(...Array<'hang'>(200).fill('hang'))
  const publish = (conferenceId: string) =>
    withTenant(app.db, { conferenceId }, (trx) =>
      publishEvent(trx, { conferenceId, type: 'purchase.paid', data: { purchase: 'bp_1' } }),
    )
  const slow = await Promise.all([1, 2, 3].map(() => createConference(app)))
  for (const { path, id } of slow) {
    for (let i = 0; i < 16; i += 1) await app.addEndpoint(path, { url: `${hanging.url}/${i}` })
    await publish(id)
  }
  await work()
  await expect.poll(() => hanging.received.length, POLL_OPTIONS).toBeGreaterThanOrEqual(12)
  const healthy = await createConference(app)
  await app.addEndpoint(healthy.path, { url: quick.url })
  await publish(healthy.id)
  await expect.poll(() => quick.received.length, POLL_OPTIONS).toBe(1)
  // No receiver has reached its time limit yet, and each conference has four deliveries in flight.
  expect(hanging.received).toHaveLength(12)
  const conferences = slow.map(({ id }) => id)
  const attempts = await app.rows<{ attempts: number }>(
    'select distinct attempts from webhook_deliveries where conference_id = any($1)',
    [conferences],
  )
  expect(attempts).toEqual([{ attempts: 0 }])
  // The others wait in the queue with all of their attempts.
  const waiting = await app.rows<{ count: number; used: number }>(
    `select count(*)::int, sum(attempts)::int as used from graphile_worker.jobs
     where task_identifier = 'deliver_webhook' and locked_at is null and attempts < max_attempts
       and exists (select from webhook_deliveries d
         where key = 'deliver_webhook:' || d.id and d.conference_id = any($1))`,
    [conferences],
  )
  expect(waiting).toEqual([{ count: 36, used: 0 }])
})
