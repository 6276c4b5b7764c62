import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { connect, type Db, type Tx } from '../src/db/connect.ts'
import { PREPARED } from '../src/db/pipeline.ts'
import { systemStatement, withSystem, withTenant } from '../src/db/tenant-scope.ts'
import { newId } from '../src/shared/ids.ts'
import { createLogger } from '../src/shared/logger.ts'
import type { IncomingEvent } from '../src/stripe-events/classify-event.ts'
import { createEventInbox, insertOf } from '../src/stripe-events/event-inbox.ts'
import { compareRounds, type Figure } from './compare.ts'

export type InboxBenchOptions = {
  /** A migrated database of its own. */
  connectionString: string
  /** Events of each round. */
  events?: number
}

/** Concurrent requests, as in a burst of webhooks. */
const CONCURRENCY = 64
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

async function insertAlone(trx: Tx, event: IncomingEvent): Promise<void> {
  const values: unknown[] = []
  const text = insertOf((value) => `$${values.push(value)}`, [event])
  // What knex's pg pool holds. knex itself wants a question mark for each value.
  const connection = (await trx.client.acquireConnection()) as pg.Client
  await connection.query({ text, values, ...PREPARED })
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

/**
 * Events a second that the inbox stores durably, against one transaction an event, and against one
 * transaction that adds a job row too, which is what an ordinary queue beside the table would need.
 */
export async function benchInbox({
  connectionString,
  events = 3_000,
}: InboxBenchOptions): Promise<Figure[]> {
  const db = connect(connectionString, { max: 10, prepareStatements: true })
  try {
    const conference = await makeConference(db)
    const inbox = createEventInbox({ db, logger: createLogger('silent') })
    const alone: Store = (event) =>
      systemStatement(db, 'store-events', (bind) => insertOf(bind, [event]))
    const withJobRow: Store = (event) =>
      withSystem(db, 'store-events', async (trx) => {
        await insertAlone(trx, event)
        await trx.raw(`select graphile_worker.add_job('bench_event', ?::json)`, [
          JSON.stringify({ id: event.id }),
        ])
      })
    const of = (store: Store) => () => rate(conference, events, store)
    const grouped = of((event) => inbox.store(event))
    const figure = { work: `store ${events} events, ${CONCURRENCY} at once`, unit: 'events/s' }
    return [
      {
        ...figure,
        against: 'a transaction for each',
        ...(await compareRounds(grouped, of(alone))),
      },
      {
        ...figure,
        against: 'and a job row for each',
        ...(await compareRounds(grouped, of(withJobRow))),
      },
    ]
  } finally {
    await db.destroy()
  }
}
