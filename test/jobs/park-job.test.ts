import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { addJob, parkJob, type RunningJob, resumeParkedJobs } from '../../src/jobs/job-queue.ts'
import { createJobRegistry, type ParkFailedJob, toTaskList } from '../../src/jobs/job-registry.ts'
import { runJobs } from '../../src/jobs/run-jobs.ts'
import { noMetrics } from '../../src/shared/service-metrics.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { everyHandler, silent } from './job-kit.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

const database = useTestDatabase()
let db: Db
beforeEach(() => {
  db = connect(database.connectionString)
})
afterEach(async () => {
  await db.raw(`select graphile_worker.complete_jobs(array(select id from graphile_worker.jobs))`)
  await db.destroy()
})

const WAIT = { flag: 'stripe_key:conf_1', waitSeconds: 900 }
const WORKER = 'worker-of-a-killed-process'

const add = () =>
  db.transaction((trx) => addJob(trx, 'learn_stripe_account', { conference_id: 'conf_1' }))

/** Takes the job as a worker does. */
async function take(): Promise<RunningJob> {
  const { rows } = await db.raw<{
    rows: { id: string; key: string; payload: unknown; attempts: number }[]
  }>(
    `update graphile_worker._private_jobs set locked_by = ?, locked_at = now(), attempts = attempts + 1
     where id = (select id from graphile_worker.jobs where locked_at is null and run_at <= now() limit 1)
     returning id, key, payload`,
    [WORKER],
  )
  const [row] = rows
  if (row === undefined) throw new Error('No job is due')
  return { ...row, name: 'learn_stripe_account' }
}

const killWorker = () => db.raw('select graphile_worker.force_unlock_workers(?)', [[WORKER]])

const left = () =>
  db('graphile_worker.jobs')
    .whereRaw('attempts < max_attempts')
    .orderBy('id')
    .select(
      'key',
      'attempts',
      'flags',
      db.raw('round(extract(epoch from run_at - now()))::int as seconds'),
    )

const KEY = 'learn_stripe_account:conf_1'
const parked = { key: KEY, attempts: 0, flags: { 'stripe_key:conf_1': true }, seconds: 900 }

it('a job is not lost when its process dies before or after it is parked (issue 8, line 3)', async () => {
  await add()
  const first = await take()
  await db
    .transaction(async (trx) => {
      await parkJob(trx, first, WAIT)
      throw new Error('The process dies before the commit')
    })
    .catch(() => {})
  await killWorker()
  expect(await left()).toMatchObject([{ key: KEY, attempts: 1, seconds: 0 }])

  const second = await take()
  await db.transaction((trx) => parkJob(trx, second, WAIT))
  await killWorker()
  expect(await left()).toEqual([parked])
  expect(await db.transaction((trx) => resumeParkedJobs(trx, WAIT.flag))).toBe(1)
  expect(await left()).toMatchObject([{ key: KEY, seconds: 0 }])
})

it('parking leaves a job as it is that was added again in the meantime', async () => {
  await add()
  const running = await take()
  await add()
  await db.transaction((trx) => parkJob(trx, running, WAIT))
  expect(await left()).toEqual([{ key: KEY, attempts: 0, flags: null, seconds: 0 }])
})

it('a job whose parking fails uses up an attempt and is retried', async () => {
  const runs: string[] = []
  const metrics = { ...noMetrics, jobRun: (_name: string, how: string) => void runs.push(how) }
  let parkings = 0
  const park: ParkFailedJob = async () => {
    parkings += 1
    if (parkings === 1) throw new Error('The database is away')
    return true
  }
  const bindings = everyHandler({
    learn_stripe_account: async () => {
      throw new Error('The key is rejected')
    },
  })
  const runner = runJobs({
    connectionString: database.connectionString,
    db,
    logger: silent,
    tasks: toTaskList(createJobRegistry(bindings), { logger: silent, metrics, park }),
    lane: 'quick',
    concurrency: 1,
    pollMs: 200,
    drainMs: 10_000,
    onWorkersChanged: () => {},
  })
  try {
    await add()
    await expect.poll(() => runs, POLL_OPTIONS).toEqual(['retried', 'parked'])
  } finally {
    await runner.stop()
  }
})
