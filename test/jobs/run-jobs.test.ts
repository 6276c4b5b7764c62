import type { TaskList } from 'graphile-worker'
import { afterEach, expect, it, vi } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { listenForWakeUps, type WakeUps } from '../../src/db/wake-ups.ts'
import type { JobLane } from '../../src/jobs/job-catalogue.ts'
import { addJob } from '../../src/jobs/job-queue.ts'
import { createJobRegistry, toTaskList } from '../../src/jobs/job-registry.ts'
import { runJobs } from '../../src/jobs/run-jobs.ts'
import { noMetrics, type ServiceMetrics } from '../../src/shared/service-metrics.ts'
import { adminQuery, directUrl, withAdminClient } from '../support/test-connections.ts'
import { createTestDatabase, useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { everyHandler, silent } from './job-kit.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

const database = useTestDatabase()
const stops: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0).toReversed()) await stop()
})

function open(connectionString = database.connectionString): Db {
  const db = connect(connectionString)
  stops.push(() => db.destroy())
  return db
}

type RunOptions = {
  connectionString?: string
  drainMs?: number
  pollMs?: number
  lane?: JobLane
  wakeUps?: WakeUps
}

function run(tasks: TaskList, more: RunOptions = {}) {
  const connectionString = more.connectionString ?? database.connectionString
  const db = open(connectionString)
  const runner = runJobs({
    connectionString,
    db,
    logger: silent,
    tasks,
    lane: more.lane ?? 'quick',
    ...(more.wakeUps === undefined ? {} : { wakeUps: more.wakeUps }),
    concurrency: 2,
    pollMs: more.pollMs ?? 200,
    drainMs: more.drainMs ?? 10_000,
    onWorkersChanged: () => {},
  })
  let stopped: Promise<boolean> | undefined
  const stop = () => (stopped ??= runner.stop())
  stops.push(stop)
  return { ...runner, stop }
}

/** A gate that a handler waits for and the test opens. */
function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, opened }
}

const waiting = (db: Db) =>
  db('graphile_worker.jobs').select<
    { task_identifier: string; attempts: number; locked_by: string | null }[]
  >('task_identifier', 'attempts', 'locked_by')

const addPrune = (db: Db) => db.transaction((trx) => addJob(trx, 'prune', {}))

function tasksOf(
  prune: (run: number) => Promise<void>,
  metrics: ServiceMetrics = noMetrics,
): TaskList {
  let runs = 0
  const bindings = everyHandler({ prune: () => prune((runs += 1)) })
  return toTaskList(createJobRegistry(bindings), { logger: silent, metrics })
}

it('waits for running jobs before it stops, and leaves none locked', async () => {
  const db = open()
  const hold = gate()
  const seen: string[] = []
  const runner = run(
    tasksOf(async () => {
      seen.push('begun')
      await hold.opened
      seen.push('ended')
    }),
  )
  await addPrune(db)
  await expect.poll(() => seen, POLL_OPTIONS).toEqual(['begun'])
  let stopped = false
  const stopping = runner.stop().finally(() => {
    stopped = true
  })
  // After several round trips, it still waits for the job.
  for (let turn = 0; turn < 5; turn += 1) await db.raw('select 1')
  expect({ stopped, seen }).toEqual({ stopped: false, seen: ['begun'] })
  hold.open()
  expect(await stopping).toBe(true)
  expect(seen).toEqual(['begun', 'ended'])
  await addPrune(db)
  expect(await waiting(db)).toMatchObject([{ attempts: 0, locked_by: null }])
  await db.raw(`select graphile_worker.remove_job('prune')`)
})

it('releases a job that does not end in time', async () => {
  const db = open()
  const hold = gate()
  let begun = false
  const runner = run(
    tasksOf(async () => {
      begun = true
      await hold.opened
    }),
    { drainMs: 300 },
  )
  await addPrune(db)
  await expect.poll(() => begun, POLL_OPTIONS).toBe(true)
  expect(await runner.stop()).toBe(false)
  expect(await waiting(db)).toMatchObject([{ task_identifier: 'prune', locked_by: null }])
  hold.open()
  await db.raw(`select graphile_worker.remove_job('prune')`)
})

it('retries a failed job, and counts the outcomes of its runs', async () => {
  const db = open()
  const runs: string[] = []
  const metrics = {
    ...noMetrics,
    jobRun: (name: string, how: string) => runs.push(`${name} ${how}`),
  }
  run(
    tasksOf(async (count) => {
      if (count === 1) throw new Error('Stripe is away')
    }, metrics),
  )
  await addPrune(db)
  await expect.poll(() => runs, POLL_OPTIONS).toEqual(['prune retried', 'prune done'])
  await expect.poll(() => waiting(db), POLL_OPTIONS).toEqual([])
})

it('starts without help once the schema exists', async () => {
  const own = await createTestDatabase()
  stops.push(() => own.drop())
  const db = open(own.connectionString)
  await db.raw('alter table knex_migrations rename to hidden')
  let runs = 0
  const runner = run(
    tasksOf(async () => void (runs += 1)),
    own,
  )
  await addPrune(db)
  expect(runner.workerIds()).toEqual([])
  await db.raw('alter table hidden rename to knex_migrations')
  await expect.poll(() => runs, POLL_OPTIONS).toBe(1)
})

it('continues after the database lost all connections, and repeats a job whose end was not recorded', async () => {
  const own = await createTestDatabase()
  stops.push(() => own.drop())
  const db = open(own.connectionString)
  const hold = gate()
  const runs: number[] = []
  const runner = run(
    tasksOf(async (count) => {
      runs.push(count)
      if (count === 1) await hold.opened
    }),
    own,
  )
  await addPrune(db)
  await expect.poll(() => runs, POLL_OPTIONS).toEqual([1])
  const [before] = runner.workerIds()
  await setConnectionsAllowed(own.adminConnectionString, false)
  hold.open()
  // The end of the job cannot be recorded now, which ends the worker pool.
  await expect.poll(() => runner.workerIds(), POLL_OPTIONS).toEqual([])
  await setConnectionsAllowed(own.adminConnectionString, true)
  await expect.poll(() => runs, POLL_OPTIONS).toEqual([1, 2])
  expect(runner.workerIds()).not.toContain(before)
  await expect.poll(() => waiting(db), POLL_OPTIONS).toEqual([])
})

async function setConnectionsAllowed(admin: string, allowed: boolean): Promise<void> {
  const url = new URL(admin)
  const name = url.pathname.slice(1)
  url.pathname = '/postgres'
  await withAdminClient(url.href, async (client) => {
    await client.query(`alter database ${name} with allow_connections ${allowed}`)
    if (allowed) return
    await client.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1',
      [name],
    )
  })
}

it('a new job wakes the workers of its lane immediately, and costs the others no statement', async () => {
  const wakeUps = listenForWakeUps({
    connectionString: directUrl(database.connectionString),
    logger: silent,
  })
  stops.push(() => wakeUps.stop())
  const listening = new Promise<void>((resolve) => {
    wakeUps.on('sponsor_vouchers_jobs', (lane) => lane === null && resolve())
  })
  const ran: string[] = []
  const others: TaskList = { deliver_webhook: async () => {} }
  // They poll too rarely to find the job.
  const rarely = { wakeUps, pollMs: 3_600_000 }
  run(
    tasksOf(async () => void ran.push('prune')),
    { ...rarely, lane: 'quick' },
  )
  const ofMail = new URL(directUrl(database.connectionString))
  ofMail.searchParams.set('application_name', 'mail')
  run(others, { ...rarely, lane: 'mail', connectionString: ofMail.href })
  await listening
  const db = open()
  await addPrune(db)
  await expect.poll(() => ran, POLL_OPTIONS).toEqual(['prune'])
  await expect.poll(() => waiting(db), POLL_OPTIONS).toEqual([])
  const starts = new Set<number>()
  for (let jobs = 2; jobs <= 21; jobs += 1) {
    await addPrune(db)
    await expect.poll(() => ran, POLL_OPTIONS).toHaveLength(jobs)
    await expect.poll(() => waiting(db), POLL_OPTIONS).toEqual([])
    for (const { start } of await lastStatements('mail')) starts.add(start)
  }
  // It looked for jobs when it began to listen, on a busy machine a little later. Twenty would be one for each job.
  expect(starts.size).toBeLessThan(10)
})

/** When each connection of that name began its last statement, in milliseconds. */
const lastStatements = (name: string) =>
  adminQuery<{ start: number }>(
    database.adminConnectionString,
    `select extract(epoch from query_start)::float8 * 1000 as start from pg_stat_activity
     where application_name = $1 and datname = current_database() and query_start is not null`,
    [name],
  )

it('does the jobs of one queue one after the other, without waiting for a poll', async () => {
  const db = open()
  const calls: string[] = []
  const deliver = async (payload: { delivery_id: string }) => void calls.push(payload.delivery_id)
  const bindings = everyHandler({ deliver_webhook: deliver })
  const tasks = toTaskList(createJobRegistry(bindings), { logger: silent, metrics: noMetrics })
  await db.transaction(async (trx) => {
    for (const id of ['one', 'two', 'three']) {
      const delivery = { conference_id: 'conf_1', endpoint_id: 'we_1', delivery_id: id }
      await addJob(trx, 'deliver_webhook', delivery)
    }
  })
  // The test would end before the first poll.
  run(tasks, { pollMs: 3_600_000 })
  await expect.poll(() => calls, POLL_OPTIONS).toEqual(['one', 'two', 'three'])
})
