import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type RunningService, useServices } from '../../main/run-service.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../../support/service-process.ts'
import type { Body } from '../../support/test-app.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../../support/timeouts.ts'
import { useSyncScene, type WiredShop } from '../sync-scene.ts'

const CUSTOMERS = 3_000
const PAGES = CUSTOMERS / 100

useServiceProcesses()
const scene = useSyncScene()
const startHere = useServices()
let shop: WiredShop
let ids: string[]
beforeEach(async () => {
  shop = await scene.openWiredShop()
  ids = scene.fake.control.seedCustomers(shop.stripeKey, CUSTOMERS)
})
afterEach(async () => {
  // A process that a failed test left running would take over the next run.
  await Promise.all(started.splice(0).map((process) => process.kill()))
  scene.fake.control.clearFaults()
})

type Row = Body & { id: string; state: string; attempt: number; fetched: number; requests: number }

const started: ServiceProcess[] = []

const settings = (leaseSeconds: number) => ({
  DATABASE_URL: scene.connectionString,
  STRIPE_API_BASE: scene.fake.url,
  STRIPE_REQUESTS_PER_SECOND: '0',
  STRIPE_TIMEOUT_SECONDS: '3600',
  RUN: 'all',
  LEASE_SECONDS: String(leaseSeconds),
})

async function start(leaseSeconds: number): Promise<ServiceProcess> {
  const process = await startServiceProcess(settings(leaseSeconds))
  started.push(process)
  return process
}

const lists = () => scene.fake.control.requests({ method: 'GET', path: '/v1/customers' })

async function row(id: string): Promise<Row> {
  const [found] = await scene.rows<Row>(
    `select id, state, attempt, fetched::int, created::int, deleted::int, requests::int, error
     from sync_runs where id = $1`,
    [id],
  )
  if (found === undefined) throw new Error(`There is no run ${id}`)
  return found
}

/** A run that one process has started. It cannot continue, because Stripe does not answer. */
async function blockedRun(leaseSeconds: number) {
  const first = await start(leaseSeconds)
  scene.fake.control.clearRequests()
  scene.fake.control.injectFault({
    path: '/v1/customers',
    skip: 12,
    times: 'always',
    action: { kind: 'hang' },
  })
  const { body } = await scene.request<{ id: string }>('POST', `${shop.path}/stripe/customers/sync`)
  // Twelve pages are answered. How many of them are stored depends on how the windows are split.
  await expect
    .poll(async () => (await row(body.id)).fetched, POLL_OPTIONS)
    .toBeGreaterThanOrEqual(500)
  const second = await startHere(settings(leaseSeconds))
  await second.ready
  const before = await row(body.id)
  expect(before).toMatchObject({ state: 'running', attempt: 1 })
  return { first, second, before, requested: lists().length }
}

/** Makes the database look as it does when a process has been dead for longer than its lease. */
async function expireLeases(runId: string): Promise<void> {
  const [job] = await scene.rows<{ locked_by: string }>(
    `select locked_by from graphile_worker.jobs
     where task_identifier = 'run_sync' and locked_by is not null`,
  )
  await scene.rows(
    `update processes set heartbeat_at = now() - interval '1 hour' where $1 = any(worker_ids)`,
    [job?.locked_by],
  )
  await scene.rows(
    `update graphile_worker._private_jobs set locked_at = now() - interval '1 hour'
     where locked_by = $1`,
    [job?.locked_by],
  )
  await scene.rows(`update sync_runs set lease_until = now() - interval '1 second' where id = $1`, [
    runId,
  ])
}

const expectTakenOver = (id: string) =>
  expect.poll(async () => (await row(id)).attempt, POLL_OPTIONS).toBe(2)

/** The run was resumed where it stopped, and stored every object. */
async function expectComplete(
  before: Row,
  requested: number,
  worker: RunningService,
): Promise<void> {
  await expect.poll(async () => (await row(before.id)).state, POLL_OPTIONS).toBe('succeeded')
  await worker.stop()
  const after = await row(before.id)
  const stored = await scene.stored(shop, 'customers')
  expect(stored.map(({ id }) => id)).toEqual(ids.toSorted())
  expect(stored.filter(({ deleted_at }) => deleted_at !== null)).toEqual([])
  // Every page is read once, except where windows meet. Every object is counted.
  expect(after).toMatchObject({ created: CUSTOMERS, deleted: 0, error: null })
  expect(after.fetched).toBeGreaterThanOrEqual(CUSTOMERS)
  expect(after.requests).toBeGreaterThan(before.requests)
  expect(after.requests).toBeLessThan(PAGES * 2)
  const later = lists().slice(requested)
  expect(later.length).toBeLessThan(PAGES * 1.5)
  // No request starts at the beginning of the list.
  for (const { params } of later) {
    expect('starting_after' in params || 'created' in params, JSON.stringify(params)).toBe(true)
  }
}

describe('a process that is killed during a run', { timeout: TEST_TIMEOUT }, () => {
  it('leaves it to another process, which resumes it after the lease', async () => {
    // Long enough that a busy machine does not lose the lease.
    const { first, second, before, requested } = await blockedRun(60)
    await first.kill()
    scene.fake.control.clearFaults()
    await expireLeases(before.id)
    await expectTakenOver(before.id)
    await expectComplete(before, requested, second)
  })
})

describe('a process that is terminated during a run', { timeout: TEST_TIMEOUT }, () => {
  it('releases it immediately, although Stripe does not answer', async () => {
    // If the process waited for Stripe or for the lease, the test would time out.
    const { first, second, before, requested } = await blockedRun(3_600)
    const ended = first.terminate()
    await expectTakenOver(before.id)
    scene.fake.control.clearFaults()
    expect(await ended).toBe(0)
    // The second process still waits for answers that never come. A third one sends its own requests.
    await second.stop()
    const third = await startHere(settings(3_600))
    await expectComplete({ ...before, attempt: 2 }, requested, third)
  })
})
