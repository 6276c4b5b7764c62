import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { down as mergeKeys, up as prepareKeys } from '../migrations/0081_partition_keys.ts'
import { down as mergePartitions, up as partition } from '../migrations/0082_partitions.ts'
import { connect, type Db } from '../src/db/connect.ts'
import { protectByConference, withTenant } from '../src/db/tenant-scope.ts'
import { claimEvents, closeClaimed } from '../src/stripe-events/claim-events.ts'
import type { IncomingEvent } from '../src/stripe-events/classify-event.ts'
import {
  createEventInbox,
  dropOldEvents,
  findStoredEventIds,
  listEvents,
} from '../src/stripe-events/event-inbox.ts'
import { median } from './compare.ts'
import { createBenchConference } from './issue.ts'

export type PartitionsOptions = {
  /** Of the ordinary role, to which row security applies. */
  connectionString: string
  adminConnectionString: string
  print: (line: string) => void
  onEnd: (undo: () => Promise<unknown>) => void
}

const EVENTS = 10_000_000
/** The events are of so many days, today's included. */
const DAYS = 120
const BODY_BYTES = 300
const STORED = 3_000
const AT_ONCE = 64
const DELETED_BATCHES = 20
const BATCH = 5_000

type Timed = { [work: string]: number }

/** Stripe's events in one table and in one partition for each month, with ten million of them. */
export async function benchPartitions(options: PartitionsOptions): Promise<void> {
  const { connectionString, print, onEnd } = options
  const db = connect(connectionString)
  onEnd(() => db.destroy())
  const database = new URL(options.adminConnectionString)
  database.pathname = new URL(connectionString).pathname
  const admin = new pg.Client({ connectionString: database.href })
  await admin.connect()
  onEnd(() => admin.end())
  await admin.query(`set maintenance_work_mem = '512MB'; set synchronous_commit = off`)
  const conference = await createBenchConference(db)

  await mergePartitions(db)
  await mergeKeys(db)
  await fill(admin, conference)
  await admin.query('vacuum (analyze) stripe_events')
  print(`  ${EVENTS} events of ${DAYS} days, bodies of ${BODY_BYTES} bytes: ${await size(admin)}`)
  const plain = await measure(db, conference)
  plain['delete 5,000 old events, ms'] = await deleteOld(db, conference)

  const prepared = await seconds(() => prepareKeys(db))
  const switched = await seconds(() => db.transaction((trx) => partition(trx)))
  print(
    `  migration of the rows: ${prepared.toFixed(1)} s of preparation, ${switched.toFixed(2)} s to switch`,
  )
  await admin.query('analyze stripe_events')
  const first = await measure(db, conference)

  const months = await divide(admin, db)
  await admin.query('vacuum (analyze) stripe_events')
  const parts = await measure(db, conference)
  const dropped: string[] = []
  const drop = await seconds(async () => void dropped.push(...(await dropOldEvents(db, 90))))
  print(`  dropped ${dropped.join(', ')} of ${months.join(', ')} in ${drop.toFixed(2)} s`)

  print(`  ${'median'.padEnd(44)} one table  all in the first  by month`)
  for (const work of Object.keys(plain)) {
    const cells = [plain, first, parts].map((each) => (each[work] ?? Number.NaN).toFixed(2))
    print(`  ${work.padEnd(44)} ${cells.map((cell) => cell.padStart(9)).join('  ')}`)
  }
}

async function fill(admin: pg.Client, conference: string): Promise<void> {
  const { rows: indexes } = await admin.query<{ name: string; definition: string }>(
    `select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition
     from pg_index where indrelid = 'stripe_events'::regclass and not indisprimary`,
  )
  for (const { name } of indexes) await admin.query(`drop index ${name}`)
  await admin.query(`alter table stripe_events drop constraint stripe_events_pkey`)
  await admin.query(`alter table stripe_events disable trigger all`)
  await admin.query(
    `insert into stripe_events (conference_id, id, type, livemode, api_version, body, object_id,
       payment_intent_id, source, status, attempts, next_attempt_at, created_at_stripe, received_at, finished_at)
     select $1, 'evt_1' || md5(n::text), 'payment_intent.succeeded', true, '2026-10-28.endive', $2::bytea,
       'pi_3' || substr(md5(n::text), 1, 23), 'pi_3' || substr(md5(n::text), 1, 23), 'webhook', 'done', 1, at, at, at, at
     from generate_series(1, ${EVENTS}) n,
       lateral (select now() - interval '${DAYS} days' * (1 - n::float8 / ${EVENTS}) as at) t`,
    [conference, randomBytes(BODY_BYTES)],
  )
  await admin.query(`alter table stripe_events enable trigger all`)
  await admin.query(`alter table stripe_events add primary key (conference_id, id)`)
  for (const { definition } of indexes) await admin.query(definition)
}

/** Moves the rows of the first partition to one for each month. */
async function divide(admin: pg.Client, db: Db): Promise<string[]> {
  const { rows } = await admin.query<{ name: string; from: string; to: string }>(
    `select 'stripe_events_' || to_char(m, 'YYYY_MM') as name, m::text as "from", (m + interval '1 month')::text as "to"
     from generate_series(date_trunc('month', now() - interval '${DAYS} days'), now() + interval '1 month', '1 month') m`,
  )
  const { rows: all } = await admin.query<{ name: string }>(
    `select inhrelid::regclass::text as name from pg_inherits
     where inhparent = 'stripe_events'::regclass and inhrelid::regclass::text like 'stripe_events_until_%'`,
  )
  const before = all[0]?.name ?? ''
  await db.raw(`alter table stripe_events detach partition ${before}`)
  for (const { name, from, to } of rows) {
    await db.raw(
      `create table ${name} (like stripe_events including defaults including constraints)`,
    )
    await admin.query(
      `insert into ${name} select * from ${before} where created_at_stripe >= '${from}' and created_at_stripe < '${to}'`,
    )
    await admin.query(
      `alter table stripe_events attach partition ${name} for values from ('${from}') to ('${to}')`,
    )
    await protectByConference(db, name)
  }
  await db.raw(`drop table ${before}`)
  return rows.map(({ name }) => name)
}

/** Milliseconds of what the service does with events. */
async function measure(db: Db, conference: string): Promise<Timed> {
  const inbox = createEventInbox({ db, logger: { warn() {} } })
  const events = Array.from({ length: STORED }, () => newEvent(conference))
  const lanes = Array.from({ length: AT_ONCE }, (_, lane) =>
    events.filter((_e, i) => i % AT_ONCE === lane),
  )
  const storing = await seconds(async () => {
    await Promise.all(
      lanes.map(async (lane) => {
        for (const event of lane) await inbox.store(event)
      }),
    )
  })
  const again = await seconds(() => Promise.all(events.slice(0, 500).map((e) => inbox.store(e))))
  const claims: number[] = []
  const closes: number[] = []
  for (;;) {
    let claimed: Awaited<ReturnType<typeof claimEvents>> = []
    const claim = await seconds(async () => {
      claimed = await claimEvents(db, { lane: 'purchase', limit: 20, leaseSeconds: 60 })
    })
    if (claimed.length === 0) break
    claims.push(claim * 1_000)
    closes.push(
      1_000 *
        (await seconds(() =>
          withTenant(db, { conferenceId: conference }, (trx) =>
            closeClaimed(trx, claimed, { status: 'done' }),
          ),
        )),
    )
  }
  const ids = events.slice(0, 100).map(({ id }) => id)
  return {
    [`store ${STORED} events, ${AT_ONCE} at once, ms`]: storing * 1_000,
    'recognise 500 duplicates, ms': again * 1_000,
    'claim 20 events, ms': median(claims),
    'close 20 events, ms': median(closes),
    'compare 100 ids with the stored ones, ms': await often(() =>
      findStoredEventIds(db, conference, ids),
    ),
    'first page of the list, ms': await often(() =>
      withTenant(db, { conferenceId: conference }, (trx) =>
        listEvents(trx, conference, {}, { limit: 50 }),
      ),
    ),
  }
}

async function often(work: () => Promise<unknown>): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < 50; i += 1) times.push(1_000 * (await seconds(work)))
  return median(times)
}

/** As `deleteInBatches` did it, for rows of the oldest days. */
async function deleteOld(db: Db, conference: string): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < DELETED_BATCHES; i += 1) {
    times.push(
      1_000 *
        (await seconds(() =>
          withTenant(db, { conferenceId: conference }, async (trx) =>
            trx.raw(
              `delete from stripe_events where ctid = any(array(select ctid from stripe_events
               where finished_at < now() - interval '90 days' and status in ('done', 'ignored')
                 and body is not null limit ${BATCH}))`,
            ),
          ),
        )),
    )
  }
  return median(times)
}

const newEvent = (conferenceId: string): IncomingEvent => {
  const id = `evt_1${randomBytes(16).toString('hex')}`
  return {
    conferenceId,
    id,
    type: 'payment_intent.succeeded',
    livemode: true,
    apiVersion: '2026-10-28.endive',
    body: randomBytes(BODY_BYTES),
    objectId: `pi_3${id.slice(5, 28)}`,
    paymentIntentId: `pi_3${id.slice(5, 28)}`,
    purchaseId: null,
    lane: 'purchase',
    mirrorResource: null,
    mirrorId: null,
    source: 'webhook',
    status: 'pending',
    createdAtStripe: new Date(Math.floor(Date.now() / 1_000) * 1_000),
  }
}

async function size(admin: pg.Client): Promise<string> {
  const { rows } = await admin.query<{ size: string }>(
    `select pg_size_pretty(pg_table_size('stripe_events')) || ' and '
       || pg_size_pretty(pg_indexes_size('stripe_events')) || ' of indexes' as size`,
  )
  return rows[0]?.size ?? ''
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return (performance.now() - begun) / 1_000
}
