import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { releaseDeadWorkers, startHeartbeat } from '../../src/jobs/heartbeat.ts'
import { addJob } from '../../src/jobs/job-queue.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { silent } from './job-kit.ts'

const database = useTestDatabase()
const LEASE = 60
let db: Db
const stops: (() => Promise<void>)[] = []

beforeAll(() => {
  db = connect(database.connectionString)
})
beforeEach(async () => {
  await db('processes').delete()
  await db('graphile_worker._private_jobs').delete()
})
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})
afterAll(() => db.destroy())

function start(workerIds: () => string[] = () => []) {
  const heartbeat = startHeartbeat({
    db,
    logger: silent,
    role: 'work',
    leaseSeconds: LEASE,
    workerIds,
  })
  stops.push(() => heartbeat.stop())
  return heartbeat
}

const processes = () => db('processes').select<{ id: string; worker_ids: string[] }[]>()

/** A job that the worker has held for that many seconds. */
async function lockJob(worker: string, seconds: number): Promise<void> {
  await db.transaction((trx) => addJob(trx, 'prune', {}, { jobKey: worker }))
  await db('graphile_worker._private_jobs')
    .where({ key: worker })
    .update({
      attempts: 1,
      locked_by: worker,
      locked_at: db.raw('now() - make_interval(secs => ?)', [seconds]),
    })
}

const locks = () => db('graphile_worker.jobs').orderBy('key').pluck<(string | null)[]>('locked_by')

const release = () => db.transaction((trx) => releaseDeadWorkers(trx, LEASE))

const silentFor = (seconds: number) =>
  db('processes').update({ heartbeat_at: db.raw('now() - make_interval(secs => ?)', [seconds]) })

it('contains the current workers of its process', async () => {
  let workers = ['pool-a']
  const heartbeat = start(() => workers)
  const mine = { id: heartbeat.processId, role: 'work' }
  await expect.poll(processes).toMatchObject([{ ...mine, worker_ids: ['pool-a'] }])
  workers = ['pool-b']
  heartbeat.beat()
  await expect.poll(processes).toMatchObject([{ ...mine, worker_ids: ['pool-b'] }])
})

it('deletes its row when the process stops in order', async () => {
  const heartbeat = start()
  await expect.poll(processes).toHaveLength(1)
  await heartbeat.stop()
  expect(await processes()).toEqual([])
})

it('is written again after its process was considered dead', async () => {
  const heartbeat = start()
  await expect.poll(processes).toHaveLength(1)
  await db('processes').delete()
  heartbeat.beat()
  await expect.poll(processes).toMatchObject([{ id: heartbeat.processId }])
})

it('lets others release the jobs of a silent process before the lease ends', async () => {
  start(() => ['pool-a'])
  await expect.poll(processes).toHaveLength(1)
  await lockJob('pool-a', 3000)
  expect(await release()).toEqual([])
  await silentFor(LEASE * 0.7)
  expect(await release()).toEqual(['pool-a'])
  expect(await locks()).toEqual([null])
  expect(await processes()).toEqual([])
})

it('lets a living process keep a job without a time limit', async () => {
  start(() => ['pool-a'])
  await expect.poll(processes).toHaveLength(1)
  await lockJob('pool-a', LEASE * 100)
  await silentFor(LEASE * 0.4)
  expect(await release()).toEqual([])
  expect(await locks()).toEqual(['pool-a'])
})

it('lets others release the jobs of a worker that died before its first heartbeat', async () => {
  await lockJob('pool-new', LEASE * 0.4)
  await lockJob('pool-old', LEASE * 0.7)
  expect(await release()).toEqual(['pool-old'])
  expect(await locks()).toEqual(['pool-new', null])
})
