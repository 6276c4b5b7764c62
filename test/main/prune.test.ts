import { afterAll, beforeAll, expect, it } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { withSystem } from '../../src/db/tenant-scope.ts'
import { prune } from '../../src/job-handlers.ts'
import { addJob } from '../../src/jobs/job-queue.ts'
import { useTestDatabase } from '../support/test-database.ts'

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
  expect(await prune(db)).toMatchObject({ keys: 5001 })
  const left = await withSystem(db, 'prune', (trx) => trx('idempotency_keys').pluck('key'))
  expect(left).toEqual(['young'])
})

it('deletes rate limits whose window has ended', async () => {
  await db('rate_limits').insert([
    { key: 'over', points: 3, expire: Date.now() - 1_000 },
    { key: 'running', points: 3, expire: Date.now() + 60_000 },
    { key: 'for ever', points: 3, expire: null },
  ])
  expect(await prune(db)).toMatchObject({ limits: 1 })
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
  expect(await prune(db)).toMatchObject({ jobs: 1 })
  const left = await db('graphile_worker.jobs').orderBy('key').pluck('key')
  expect(left).toEqual(['failed lately', 'still tries'])
})
