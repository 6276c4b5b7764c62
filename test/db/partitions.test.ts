import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { down as mergeKeys, up as prepareKeys } from '../../migrations/0081_partition_keys.ts'
import { down as mergePartitions, up as partition } from '../../migrations/0082_partitions.ts'
import { connect, type Db } from '../../src/db/connect.ts'
import { deleteInBatches } from '../../src/db/delete-in-batches.ts'
import { protectByConference, withTenant } from '../../src/db/tenant-scope.ts'
import { dropOldDeliveries } from '../../src/notifications/webhook-deliveries.ts'
import { newId } from '../../src/shared/ids.ts'
import { claimEvents, closeClaimed } from '../../src/stripe-events/claim-events.ts'
import type { IncomingEvent } from '../../src/stripe-events/classify-event.ts'
import {
  createEventInbox,
  deleteOldBodies,
  dropOldEvents,
  findStoredEventIds,
  replayEvent,
} from '../../src/stripe-events/event-inbox.ts'
import { directUrl } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { partitionQueries } from './partition-queries.ts'

const database = useTestDatabase()
const conferenceId = newId('conference')
let db: Db

beforeAll(async () => {
  db = connect(database.connectionString)
  await withTenant(db, { conferenceId }, async (trx) => {
    await trx('conferences').insert({ id: conferenceId, slug: 'c', name: 'C', currency: 'EUR' })
    await trx('webhook_endpoints').insert({
      conference_id: conferenceId,
      id: 'we_1',
      url: 'https://example.org',
      secret_sealed: 'x',
      secret_last4: 'x',
    })
  })
})
afterAll(() => db.destroy())

const { rows, month, partitionsOf, exists } = partitionQueries(database)

/** The partition of each event. */
const places = async (like: string) =>
  Object.fromEntries(
    (
      await rows<{ id: string; place: string }>(
        `select id, tableoid::regclass::text as place from stripe_events where id like $1 order by 1`,
        [like],
      )
    ).map(({ id, place }) => [id, place]),
  )

/** A partition of a month that is over. */
async function addMonth(table: string, offset: number): Promise<string> {
  const [{ name, at }, { at: end }] = [await month(offset), await month(offset + 1)]
  const made = `${table}_${name}`
  await db.raw(`create table ${made} (like ${table} including defaults including constraints)`)
  await db.raw(
    `alter table ${table} attach partition ${made} for values from ('${at.toISOString()}') to ('${end.toISOString()}')`,
  )
  await protectByConference(db, made)
  return made
}

const event = (id: string, createdAtStripe: Date): IncomingEvent => ({
  conferenceId,
  id,
  type: 'checkout.session.completed',
  livemode: false,
  apiVersion: null,
  body: Buffer.from(`{"id": "${id}"}`),
  objectId: null,
  paymentIntentId: null,
  purchaseId: null,
  lane: 'purchase',
  mirrorResource: null,
  mirrorId: null,
  source: 'webhook',
  status: 'pending',
  createdAtStripe,
})

const store = (id: string, at: Date) =>
  createEventInbox({ db, logger: { warn() {} } }).store(event(id, at))

const claimAll = () => claimEvents(db, { lane: 'purchase', limit: 1_000, leaseSeconds: 60 })

const setStatus = (id: string, status: string, days: number) =>
  rows(
    `update stripe_events set status = $2, lease_until = null,
       finished_at = case when $2 <> 'pending' then now() - make_interval(days => $3) end
     where id = $1`,
    [id, status, days],
  )

describe('events', () => {
  it('have partitions ahead of this month, and each is stored once in that of its creation', async () => {
    const [now, next, last] = [await month(0), await month(1), await month(2)]
    expect(await partitionsOf('stripe_events')).toEqual(
      [now, next, last].map(({ name }) => `stripe_events_${name}`).concat('stripe_events_default'),
    )
    // A test clock of Stripe makes events of the future.
    const future = new Date('2041-05-06T07:08:09Z')
    for (const [id, at] of [
      ['once_now', now.at],
      ['once_next', next.at],
      ['once_future', future],
    ] as const) {
      expect(await store(id, at)).toBe('new')
      expect(await store(id, at)).toBe('duplicate')
    }
    expect(await places('once%')).toEqual({
      once_future: 'stripe_events_default',
      once_next: `stripe_events_${next.name}`,
      once_now: `stripe_events_${now.name}`,
    })
    const claimed = await claimAll()
    expect(claimed.map(({ id }) => id).toSorted()).toEqual(['once_future', 'once_next', 'once_now'])
    const closed = await withTenant(db, { conferenceId }, (trx) =>
      closeClaimed(trx, claimed, { status: 'done' }),
    )
    expect(closed).toBe(3)
    const ids = ['once_now', 'once_future', 'other']
    expect(await findStoredEventIds(db, conferenceId, ids)).toEqual(
      new Set(['once_now', 'once_future']),
    )
  })

  it('whose month has no partition wait in the default one, and move when it is created', async () => {
    const { name, at } = await month(1)
    await db.raw(`drop table stripe_events_${name}`)
    expect(await store('stray', at)).toBe('new')
    expect(await places('stray')).toEqual({ stray: 'stripe_events_default' })
    expect(await dropOldEvents(db, null)).toEqual([])
    expect(await places('stray')).toEqual({ stray: `stripe_events_${name}` })
    expect(await store('stray', at)).toBe('duplicate')
    await setStatus('stray', 'done', 0)
  })

  it('leave with their month, except pending and failed ones, which stay until they are handled', async () => {
    const old = await addMonth('stripe_events', -5)
    const young = await addMonth('stripe_events', -1)
    const { at } = await month(-5)
    for (const id of ['old_done', 'old_ignored', 'old_pending', 'old_failed']) await store(id, at)
    await store('young_done', (await month(-1)).at)
    await setStatus('old_done', 'done', 100)
    await setStatus('old_ignored', 'ignored', 100)
    await setStatus('old_failed', 'failed', 100)
    await setStatus('young_done', 'done', 20)

    expect(await dropOldEvents(db, 90)).toEqual([old])
    expect(await partitionsOf('stripe_events')).not.toContain(old)
    expect(await places('%old%')).toEqual({
      old_failed: 'stripe_events_default',
      old_pending: 'stripe_events_default',
    })
    expect(await places('young%')).toEqual({ young_done: young })
    // They are worked on as before.
    expect((await claimAll()).map(({ id }) => id)).toEqual(['old_pending'])
    await withTenant(db, { conferenceId }, (trx) => replayEvent(trx, conferenceId, 'old_failed'))
    expect((await claimAll()).map(({ id }) => id)).toEqual(['old_failed'])
    await setStatus('old_failed', 'done', 0)
    await setStatus('old_pending', 'failed', 0)

    expect(await dropOldEvents(db, 90)).toEqual([])
    expect(await places('%old%')).toEqual({ old_pending: 'stripe_events_default' })
  })

  it('stay when a transaction holds their table for long, and leave with a later call', async () => {
    const old = await addMonth('stripe_events', -7)
    const reader = await db.transaction()
    await reader.raw('select from stripe_events limit 1')
    expect(await dropOldEvents(db, 90)).toEqual([])
    await reader.commit()
    expect(await dropOldEvents(db, 90)).toEqual([old])
  })

  it('leave while a request uses their conference, and lock no other request out; their table goes later', async () => {
    const old = await addMonth('stripe_events', -7)
    await store('read_meanwhile', (await month(-7)).at)
    await setStatus('read_meanwhile', 'done', 100)
    const request = await db.transaction()
    await request.raw('select from conferences limit 1')
    expect(await dropOldEvents(db, 90)).toEqual([])
    expect(await places('read_meanwhile')).toEqual({})
    expect(await rows(`select from ${old}`)).toEqual([])
    // Requests read their conference and then write events: together with its detachment, the drop would wait for this one.
    await request.raw('lock table stripe_events in row exclusive mode nowait')
    await request.commit()
    expect(await dropOldEvents(db, 90)).toEqual([old])
    expect(await exists(old)).toBe(false)
  })

  it('are kept in a month that a person has detached', async () => {
    const kept = await addMonth('stripe_events', -8)
    await rows(`alter table stripe_events detach partition ${kept}`)
    expect(await dropOldEvents(db, 90)).toEqual([])
    expect(await exists(kept)).toBe(true)
    await rows(`drop table ${kept}`)
  })

  it('leave once when two processes drop their month at the same time', async () => {
    const old = await addMonth('stripe_events', -7)
    const reader = await db.transaction()
    await reader.raw('select from stripe_events limit 1')
    // A call that waits too long for a lock leaves the rest to the next one.
    const dropUntilGone = async () => {
      const dropped: string[] = []
      do dropped.push(...(await dropOldEvents(db, 90)))
      while (await exists(old))
      return dropped
    }
    const both = [dropUntilGone(), dropUntilGone()]
    await expect
      .poll(
        () => rows(`select from pg_locks where not granted and locktype <> 'virtualxid'`),
        POLL_OPTIONS,
      )
      .toHaveLength(2)
    await reader.commit()
    expect((await Promise.all(both)).flat()).toEqual([old])
  })

  it('lose old bodies without a look at other months for each batch', async () => {
    const [old, { name }] = [await addMonth('stripe_events', -2), await month(0)]
    const [count, perBatch] = [12_000, 5_000]
    await rows(
      `insert into stripe_events (conference_id, id, type, livemode, body, source, status, created_at_stripe, finished_at)
       select $1, given.prefix || n, 'charge.updated', false, '{}', 'webhook', 'done', given.at, given.finished
       from generate_series(1, $2::integer) as n,
         (values ('body_old_', $3::timestamptz, now() - interval '95 days'), ('body_new_', $4::timestamptz, now()))
           as given (prefix, at, finished)`,
      [conferenceId, count, (await month(-2)).at, (await month(0)).at],
    )
    await rows('analyze stripe_events')
    const bodies = async () =>
      (
        await rows<{ old: number; young: number }>(
          `select (count(*) filter (where id like 'body_old%'))::int as old,
             (count(*) filter (where id like 'body_new%'))::int as young
           from stripe_events where body is not null`,
        )
      )[0]
    expect(await bodies()).toEqual({ old: count, young: count })
    const reads = async (table: string) =>
      (
        await rows<{ read: number; updated: number }>(
          `select (seq_tup_read + idx_tup_fetch)::int as read, n_tup_upd::int as updated
           from pg_stat_user_tables where relname = $1`,
          [table],
        )
      )[0]
    await rows('select pg_stat_force_next_flush()')
    const [oldBefore, youngBefore] = [await reads(old), await reads(`stripe_events_${name}`)]
    const pruning = connect(directUrl(database.connectionString), { max: 1 })
    expect(await deleteOldBodies(pruning, 90)).toBe(count)
    // A session reports what it read when it ends.
    await pruning.destroy()
    const updated = async () => (await reads(old))?.updated
    await expect.poll(updated, POLL_OPTIONS).toBe((oldBefore?.updated ?? 0) + count)
    // Each row is read to find it and by its key. A batch may not read those of earlier ones again.
    const read = ((await reads(old))?.read ?? 0) - (oldBefore?.read ?? 0)
    expect(read).toBeLessThan(2 * count + perBatch)
    const young = await reads(`stripe_events_${name}`)
    // Sessions of earlier tests may report single reads late. A look at the month would read all its rows.
    expect((young?.read ?? 0) - (youngBefore?.read ?? 0)).toBeLessThan(count)
    expect(await bodies()).toEqual({ old: 0, young: count })
    await rows(`delete from stripe_events where id like 'body%'`)
  })
})

describe('deliveries', () => {
  const deliver = (id: string, at: Date, finishedDaysAgo: number | null) =>
    withTenant(db, { conferenceId }, (trx) =>
      trx('webhook_deliveries').insert({
        conference_id: conferenceId,
        id,
        endpoint_id: 'we_1',
        type: 'purchase.paid',
        body: '{}',
        created_at: at,
        ...(finishedDaysAgo === null
          ? { next_attempt_at: trx.fn.now() }
          : {
              state: 'delivered',
              finished_at: trx.raw('now() - make_interval(days => ?)', [finishedDaysAgo]),
            }),
      }),
    )
  const left = async () =>
    (await rows<{ id: string }>('select id from webhook_deliveries order by 1')).map(({ id }) => id)

  it('leave with their month 30 days after they finished; pending and replayed ones stay', async () => {
    const old = await addMonth('webhook_deliveries', -3)
    const young = await addMonth('webhook_deliveries', -1)
    const { at } = await month(-3)
    await deliver('finished', at, 60)
    await deliver('replayed', at, 29)
    await deliver('pending', at, null)
    await deliver('young', (await month(-1)).at, 29)
    expect(await dropOldDeliveries(db)).toEqual([old])
    expect(await left()).toEqual(['pending', 'replayed', 'young'])
    expect(await partitionsOf('webhook_deliveries')).toContain(young)
  })

  it('are deleted with their endpoint, in every partition', async () => {
    await withTenant(db, { conferenceId }, (trx) =>
      trx('webhook_endpoints').where({ conference_id: conferenceId, id: 'we_1' }).delete(),
    )
    expect(await left()).toEqual([])
  })
})

it('the previous release, which deletes rows by their place in a table, sees none of them', async () => {
  await store('kept', new Date())
  expect(await deleteInBatches(db, 'stripe_events', 'true')).toBe(0)
  expect(await places('kept')).toEqual({ kept: `stripe_events_${(await month(0)).name}` })
})

describe('rows from before the tables were partitioned', () => {
  it('keep their table, which becomes the first partition, and nothing about them changes', async () => {
    await mergePartitions(db)
    await mergeKeys(db)
    const all = () =>
      rows('select to_jsonb(e) as row from stripe_events e order by conference_id, id')
    const past = new Date('2024-01-02T03:04:05Z')
    await rows(
      `insert into stripe_events (conference_id, id, type, livemode, body, source, created_at_stripe)
       select $1, id, 'checkout.session.completed', false, '{}', 'webhook', at
       from unnest($2::text[], $3::timestamptz[]) as given (id, at)`,
      [
        conferenceId,
        ['before_pending', 'before_done', 'before_future'],
        [past, past, new Date('2041-01-01T00:00:00Z')],
      ],
    )
    await setStatus('before_done', 'done', 200)
    const before = await all()

    await prepareKeys(db)
    await db.transaction((trx) => partition(trx))
    expect(await all()).toEqual(before)
    const until = `stripe_events_until_${(await month(2)).name}`
    expect(await places('before%')).toEqual({
      before_done: until,
      before_future: 'stripe_events_default',
      before_pending: until,
    })
    expect(await store('before_done', past)).toBe('duplicate')
    expect((await claimAll()).map(({ id }) => id)).toContain('before_pending')
    // Events of today still belong to the first partition, those after its end to their month.
    await store('after_now', new Date())
    await store('after_end', (await month(2)).at)
    expect(await places('after%')).toEqual({
      after_end: `stripe_events_${(await month(2)).name}`,
      after_now: until,
    })
    // It goes when its end is old enough.
    expect(await dropOldEvents(db, 90)).toEqual([])
    expect(await partitionsOf('stripe_events')).toContain(until)
  })

  it('are prepared again in a later month, after a crash', async () => {
    await mergePartitions(db)
    await mergeKeys(db)
    const bounds = () =>
      rows<{ name: string }>(
        `select conname as name from pg_constraint
         where conrelid = 'stripe_events'::regclass and conname like 'stripe_events_until_%'
         union all
         select indexname from pg_indexes where indexname like 'stripe_events_until_%' order by name`,
      )
    await store('moved_by_the_crash', new Date('2026-01-15T00:00:00Z'))
    await db.raw(
      'create table stripe_events_default (like stripe_events including defaults including constraints)',
    )
    await rows(`
      with moved as (delete from stripe_events where id = 'moved_by_the_crash' returning *)
      insert into stripe_events_default select * from moved`)
    await rows(`
      alter table stripe_events add constraint stripe_events_until_2026_01
        check (created_at_stripe < '2026-01-01') not valid`)
    await rows(
      'create unique index stripe_events_until_2026_01_pkey on stripe_events (conference_id, id, created_at_stripe)',
    )
    await prepareKeys(db)
    const until = `stripe_events_until_${(await month(2)).name}`
    expect(await bounds()).toEqual([{ name: until }, { name: `${until}_pkey` }])
    await db.transaction((trx) => partition(trx))
    expect(await places('moved%')).toEqual({ moved_by_the_crash: until })
    expect(await store('after_the_crash', new Date())).toBe('new')
  })
})
