import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { connect, type Db, type Tx } from '../../src/db/connect.ts'
import { withSystem, withTenant } from '../../src/db/tenant-scope.ts'
import { addJob } from '../../src/jobs/job-queue.ts'
import { prune } from '../../src/retention.ts'
import { findStoredEventIds, replayEvent } from '../../src/stripe-events/event-inbox.ts'
import { useTestDatabase } from '../support/test-database.ts'

const KEEP = { eventDays: null, eventBodyDays: null, syncRunDays: null, discountChangeDays: null }

const database = useTestDatabase()
let db: Db
beforeAll(() => {
  db = connect(database.connectionString)
})
afterAll(() => db.destroy())

it('deletes idempotency keys after a day, in batches', async () => {
  await withSystem(db, 'prune', (trx) =>
    trx.raw(
      `insert into idempotency_keys (caller, key, fingerprint, created_at)
       select 'key_1', 'old-' || n, '', now() - interval '25 h' from generate_series(1, 5001) n
       union all values ('key_1', 'young', '', now() - interval '23 h')`,
    ),
  )
  expect(await prune(db, KEEP)).toMatchObject({ keys: 5001 })
  const left = await withSystem(db, 'prune', (trx) => trx('idempotency_keys').pluck('key'))
  expect(left).toEqual(['young'])
})

it('leaves a row that another transaction has locked, as the rotation of keys does, to the next hour', async () => {
  await withSystem(db, 'prune', (trx) =>
    trx.raw(
      `insert into idempotency_keys (caller, key, fingerprint, created_at)
       select 'key_1', name, '', now() - interval '25 h' from unnest(array['locked', 'free']) as name`,
    ),
  )
  const locked = await withSystem(db, 'prune', async (trx) => {
    await trx('idempotency_keys').where({ key: 'locked' }).forUpdate()
    expect(await prune(db, KEEP)).toMatchObject({ keys: 1 })
    return trx('idempotency_keys').where({ caller: 'key_1' }).orderBy('key').pluck('key')
  })
  expect(locked).toEqual(['locked', 'young'])
  expect(await prune(db, KEEP)).toMatchObject({ keys: 1 })
})

it('deletes rate limits whose window has ended', async () => {
  await db('rate_limits').insert([
    { key: 'over', points: 3, expire: Date.now() - 1_000 },
    { key: 'running', points: 3, expire: Date.now() + 60_000 },
    { key: 'for ever', points: 3, expire: null },
  ])
  expect(await prune(db, KEEP)).toMatchObject({ limits: 1 })
  expect(await db('rate_limits').orderBy('key').pluck('key')).toEqual(['for ever', 'running'])
})

it('deletes jobs two weeks after their last attempt failed, and no others', async () => {
  const failed = { attempts: 3, max_attempts: 3 }
  const jobs = [
    { key: 'failed long ago', days: 15, ...failed },
    { key: 'failed lately', days: 13, ...failed },
    { key: 'still tries', days: 15, attempts: 2, max_attempts: 3 },
  ]
  for (const { key, days, ...counts } of jobs) {
    await db.transaction((trx) => addJob(trx, 'prune', {}, { jobKey: key }))
    const age = db.raw('now() - make_interval(days => ?)', [days])
    await db('graphile_worker._private_jobs')
      .where({ key })
      .update({ ...counts, updated_at: age })
  }
  expect(await prune(db, KEEP)).toMatchObject({ jobs: 1 })
  const left = await db('graphile_worker.jobs').orderBy('key').pluck('key')
  expect(left).toEqual(['failed lately', 'still tries'])
})

describe('retention', () => {
  async function conference(): Promise<string> {
    const id = `conf_${Math.random().toString(36).slice(2)}`
    await withSystem(db, 'manage-conferences', (trx) =>
      trx('conferences').insert({ id, slug: id.replace('_', '-'), name: 'C', currency: 'EUR' }),
    )
    return id
  }
  const inTenant = <T>(conferenceId: string, work: (trx: Tx) => Promise<T>) =>
    withTenant(db, { conferenceId }, work)

  it('deletes the bodies of handled events and keeps the events (issue 8, line 24)', async () => {
    const conferenceId = await conference()
    const event = (id: string, status: string, days: number) => ({
      conference_id: conferenceId,
      id,
      type: 'customer.updated',
      livemode: false,
      body: Buffer.from('{}'),
      source: 'webhook',
      status,
      created_at_stripe: new Date(),
      finished_at: status === 'pending' ? null : db.raw('now() - make_interval(days => ?)', [days]),
    })
    await inTenant(conferenceId, (trx) =>
      trx('stripe_events').insert([
        event('evt_old', 'done', 91),
        event('evt_ignored', 'ignored', 91),
        event('evt_failed', 'failed', 91),
        event('evt_young', 'done', 89),
        event('evt_pending', 'pending', 0),
      ]),
    )
    expect(await prune(db, { ...KEEP, eventBodyDays: 90 })).toMatchObject({ bodies: 2 })
    const rows = await inTenant(conferenceId, async (trx) =>
      trx('stripe_events').orderBy('id').select('id', trx.raw('body is null as empty')),
    )
    expect(rows).toEqual([
      { id: 'evt_failed', empty: false },
      { id: 'evt_ignored', empty: true },
      { id: 'evt_old', empty: true },
      { id: 'evt_pending', empty: false },
      { id: 'evt_young', empty: false },
    ])
    const replay = inTenant(conferenceId, (trx) => replayEvent(trx, conferenceId, 'evt_old'))
    await expect(replay).rejects.toMatchObject({ code: 'wrong_state' })
    expect(await findStoredEventIds(db, conferenceId, ['evt_old'])).toEqual(new Set(['evt_old']))
  })

  it('deletes ended sync runs and discount changes, and no others (issue 8, line 24)', async () => {
    const conferenceId = await conference()
    const ago = db.raw(`now() - interval '100 days'`)
    const run = { conference_id: conferenceId, started_by: 'timer', updated_at: ago }
    const change = {
      conference_id: conferenceId,
      kind: 'coupon',
      action: 'delete',
      object_id: 'X',
      params: '{}',
      actor_kind: 'key',
      actor_id: 'key_1',
      updated_at: ago,
    }
    await inTenant(conferenceId, async (trx) => {
      await trx('sync_runs').insert([
        { ...run, id: 'ended', resource: 'coupons', state: 'succeeded', finished_at: ago },
        { ...run, id: 'active', resource: 'customers', state: 'running' },
      ])
      await trx('discount_changes').insert([
        { ...change, id: 'accepted', state: 'accepted' },
        { ...change, id: 'unknown', state: 'requested' },
      ])
    })
    expect(await prune(db, KEEP)).toMatchObject({ runs: 0, changes: 0 })
    const kept = { ...KEEP, syncRunDays: 90, discountChangeDays: 90 }
    expect(await prune(db, kept)).toMatchObject({ runs: 1, changes: 1 })
    const left = await inTenant(conferenceId, async (trx) => [
      ...(await trx('sync_runs').pluck('id')),
      ...(await trx('discount_changes').pluck('id')),
    ])
    expect(left).toEqual(['active', 'unknown'])
  })

  it('is 90 days for events and bodies by default, and 0 keeps them (issue 8, line 24)', () => {
    const of = (env: NodeJS.ProcessEnv) => loadConfig(env).retention
    expect(of({})).toMatchObject({ eventDays: 90, eventBodyDays: 90 })
    expect(of({ EVENT_RETENTION_DAYS: '0' })).toMatchObject({ eventDays: null, eventBodyDays: 90 })
    expect(() => of({ EVENT_RETENTION_DAYS: '61' })).toThrow(
      /EVENT_RETENTION_DAYS must be 62 or more/,
    )
  })
})
