import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../../support/service-process.ts'
import type { Body } from '../../support/test-app.ts'
import { useSyncScene, type WiredShop } from '../sync-scene.ts'

const CUSTOMERS = 3_000
const PAGES = CUSTOMERS / 100

useServiceProcesses()
const scene = useSyncScene()
let shop: WiredShop
let ids: string[]
beforeEach(async () => {
  shop = await scene.openWiredShop()
  ids = scene.fake.control.seedCustomers(shop.stripeKey, CUSTOMERS)
})
afterEach(() => scene.fake.control.clearFaults())

type Row = Body & { id: string; state: string; attempt: number; fetched: number; requests: number }

const start = (leaseSeconds: number) =>
  startServiceProcess({
    DATABASE_URL: scene.connectionString,
    STRIPE_API_BASE: scene.fake.url,
    STRIPE_REQUESTS_PER_SECOND: '0',
    STRIPE_TIMEOUT_SECONDS: '120',
    RUN: 'all',
    LEASE_SECONDS: String(leaseSeconds),
  })

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

/** A run that one process has begun and that stands still: Stripe does not answer any more. */
async function runInTheMiddle(leaseSeconds: number) {
  const first = await start(leaseSeconds)
  scene.fake.control.clearRequests()
  scene.fake.control.injectFault({
    path: '/v1/customers',
    skip: 12,
    times: 'always',
    action: { kind: 'hang' },
  })
  const { body } = await scene.request<{ id: string }>('POST', `${shop.path}/stripe/customers/sync`)
  await expect
    .poll(async () => (await row(body.id)).fetched, { timeout: 40_000 })
    .toBeGreaterThanOrEqual(1_000)
  const second = await start(leaseSeconds)
  await second.ready()
  const before = await row(body.id)
  expect(before).toMatchObject({ state: 'running', attempt: 1 })
  return { first, second, before, asked: lists().length }
}

/** Waits until another process has taken the run; how long that was, in seconds. */
async function takenOver(id: string, timeout: number): Promise<number> {
  const from = performance.now()
  await expect
    .poll(async () => (await row(id)).attempt, { timeout: timeout * 1_000, interval: 50 })
    .toBe(2)
  return (performance.now() - from) / 1_000
}

/** The run went on from where it stood, and all of it is there. */
async function expectWhole(before: Row, asked: number, worker: ServiceProcess): Promise<void> {
  await expect.poll(async () => (await row(before.id)).state, { timeout: 40_000 }).toBe('succeeded')
  await worker.terminate()
  const after = await row(before.id)
  const stored = await scene.stored(shop, 'customers')
  expect(stored.map(({ id }) => id)).toEqual(ids.toSorted())
  expect(stored.filter(({ deleted_at }) => deleted_at !== null)).toEqual([])
  // Every page once, but for what is read twice where windows meet; and all of it was counted.
  expect(after).toMatchObject({ created: CUSTOMERS, deleted: 0, error: null })
  expect(after.fetched).toBeGreaterThanOrEqual(CUSTOMERS)
  expect(after.requests).toBeGreaterThan(before.requests)
  expect(after.requests).toBeLessThan(PAGES * 2)
  const later = lists().slice(asked)
  expect(later.length).toBeLessThan(PAGES * 1.5)
  // Nobody began anew.
  for (const { params } of later) {
    expect('starting_after' in params || 'created' in params, JSON.stringify(params)).toBe(true)
  }
}

describe('a process that is killed in the middle of a run', { timeout: 120_000 }, () => {
  it('leaves it to another, which goes on within LEASE_SECONDS where it stood', async () => {
    const lease = 8
    const { first, second, before, asked } = await runInTheMiddle(lease)
    await first.kill()
    scene.fake.control.clearFaults()
    expect(await takenOver(before.id, 2 * lease)).toBeLessThan(lease)
    await expectWhole(before, asked, second)
  })
})

describe('a process that is asked to end in the middle of a run', { timeout: 120_000 }, () => {
  it('gives it back at once, although Stripe does not answer', async () => {
    const lease = 60
    const { first, second, before, asked } = await runInTheMiddle(lease)
    const ended = first.terminate()
    await takenOver(before.id, 15)
    scene.fake.control.clearFaults()
    expect(await ended).toBe(0)
    // The second process asked while Stripe hung; the SDK of a third one asks at once.
    await second.terminate()
    const third = await start(lease)
    await expectWhole({ ...before, attempt: 2 }, asked, third)
  })
})
