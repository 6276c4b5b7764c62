import { randomUUID } from 'node:crypto'
import { connect, type Db } from '../src/db/connect.ts'
import { withSystem, withTenant } from '../src/db/tenant-scope.ts'
import { newId } from '../src/shared/ids.ts'
import { createLogger } from '../src/shared/logger.ts'
import type { IncomingEvent } from '../src/stripe-events/classify-event.ts'
import { createEventInbox, insertEvents } from '../src/stripe-events/event-inbox.ts'

export type InboxBenchOptions = {
  /** A migrated database of its own. */
  connectionString: string
  print: (line: string) => void
  /** Events of each round. */
  events?: number
}

/** Concurrent requests, as in a burst of webhooks. */
const CONCURRENCY = 64
const ROUNDS = 3
/** Bytes; a `checkout.session.completed` has about 3,500. */
const BODY = Buffer.alloc(3_500, 'x')

type Store = (event: IncomingEvent) => Promise<unknown>

function eventOf(conferenceId: string): IncomingEvent {
  return {
    conferenceId,
    id: `evt_${randomUUID().replaceAll('-', '')}`,
    type: 'checkout.session.completed',
    livemode: false,
    apiVersion: null,
    body: BODY,
    objectId: 'cs_test_1',
    paymentIntentId: 'pi_1',
    lane: 'purchase',
    mirrorResource: null,
    mirrorId: null,
    purchaseId: 'bp_1',
    source: 'webhook',
    status: 'pending',
    createdAtStripe: new Date(),
  }
}

async function makeConference(db: Db): Promise<string> {
  const conferenceId = newId('conference')
  await withTenant(db, { conferenceId }, async (trx) =>
    trx('conferences').insert({
      id: conferenceId,
      slug: `bench-${Date.now()}`,
      name: 'Bench',
      currency: 'EUR',
    }),
  )
  return conferenceId
}

/** Events a second, each waiting for its commit. */
async function rate(conferenceId: string, count: number, store: Store): Promise<number> {
  let left = count
  const sender = async () => {
    while (left > 0) {
      left -= 1
      await store(eventOf(conferenceId))
    }
  }
  const begun = performance.now()
  await Promise.all(Array.from({ length: CONCURRENCY }, sender))
  return count / ((performance.now() - begun) / 1000)
}

async function best(conferenceId: string, count: number, store: Store): Promise<number> {
  let most = 0
  for (let round = 0; round < ROUNDS; round += 1) {
    most = Math.max(most, await rate(conferenceId, count, store))
  }
  return most
}

/**
 * Events a second that the inbox stores durably, against one transaction an event, and against one
 * transaction that adds a job row too, which is what an ordinary queue beside the table would need.
 */
export async function benchInbox({
  connectionString,
  print,
  events = 3_000,
}: InboxBenchOptions): Promise<{ single: number; withJob: number }> {
  const db = connect(connectionString, { max: 10 })
  try {
    const conference = await makeConference(db)
    const inbox = createEventInbox({ db, logger: createLogger('silent') })
    const alone: Store = (event) =>
      withSystem(db, 'store-events', (trx) => insertEvents(trx, [event]))
    const withJobRow: Store = (event) =>
      withSystem(db, 'store-events', async (trx) => {
        await insertEvents(trx, [event])
        await trx.raw(`select graphile_worker.add_job('bench_event', ?::json)`, [
          JSON.stringify({ id: event.id }),
        ])
      })
    await rate(conference, 500, alone) // connects and warms up
    const grouped = await best(conference, events, (event) => inbox.store(event))
    const single = await best(conference, events, alone)
    const job = await best(conference, events, withJobRow)
    const figures = { single: grouped / single, withJob: grouped / job }
    print(`store events in groups: ${Math.round(grouped)} events/s, ${CONCURRENCY} concurrently`)
    print(`  one insert each: ${Math.round(single)} events/s, ratio ${figures.single.toFixed(2)}`)
    print(`  and a job each: ${Math.round(job)} events/s, ratio ${figures.withJob.toFixed(2)}`)
    return figures
  } finally {
    await db.destroy()
  }
}
