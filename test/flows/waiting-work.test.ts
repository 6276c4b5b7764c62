import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { openShop, type Shop, useFakeStripe } from '../support/shop.ts'
import type { Body } from '../support/test-app.ts'
import { adminQuery } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

useServiceProcesses()
const database = useTestDatabase()
const stripe = useFakeStripe()

let service: ServiceProcess
beforeAll(async () => {
  service = await startServiceProcess({
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.fake.url,
  })
  await service.ready()
})
afterAll(() => service.kill())

const query = <Row extends Body>(sql: string) => adminQuery<Row>(database.connectionString, sql)

/** The conference's account lets `skip` such requests through. Then Stripe asks to wait, for an hour. */
async function openPausedShop(path: string, skip = 0, seconds = 3_600) {
  const { id: account, secretKey } = stripe.fake.control.createAccount()
  const shop = await openShop(service, { stripe_secret_key: secretKey })
  const action = { kind: 'rate_limit', retry_after_seconds: seconds } as const
  stripe.fake.control.injectFault({ account, path, skip, times: 'always', action })
  return { ...shop, account, secretKey }
}

/** Makes everything look as it does after the hour. */
async function endPauses(): Promise<void> {
  stripe.fake.control.clearFaults()
  await query('update stripe_request_budgets set paused_until = now(), next_at = now()')
  await query(`update graphile_worker._private_jobs set run_at = now()
    where run_at > now() + interval '50 minutes'`)
}

type Run = Body & { state: string; counts: Record<string, number>; requests: number }

const sync = async ({ path }: Shop, resource: string, body?: Body) => {
  const options = body === undefined ? {} : { body }
  const started = await service.request('POST', `${path}/stripe/${resource}/sync`, options)
  expect(started.status).toBe(202)
  const url = `${path}/stripe/sync-runs/${String(started.body['id'])}`
  return {
    id: String(started.body['id']),
    now: async () => (await service.request<Run>('GET', url)).body,
    cancel: () => service.request('POST', `${url}/cancel`),
  }
}

/** Publishes 30 vouchers as promotion codes. @returns how far that is. */
async function publish({ path }: Shop): Promise<() => Promise<Body>> {
  const { body } = await service.request('POST', `${path}/voucher-batches`, {
    body: { count: 30, voucher_type: 'percentage', discount_value: 10 },
  })
  const batch = `${path}/voucher-batches/${String(body['id'])}`
  await service.request('POST', `${batch}/publish`, { body: {} })
  return async () => (await service.request('GET', `${batch}/publication`)).body
}

const parkedJobs = (name: string) =>
  query<{ key: string; attempts: number }>(
    `select key, attempts from graphile_worker.jobs
     where task_identifier = '${name}' and locked_at is null and run_at > now() + interval '50 minutes'
     order by key`,
  )

describe('work that waits for the rate limit of its Stripe account', () => {
  it('gives its worker back: four paused conferences do not stop the sync of a fifth (issue 8, line 19)', async () => {
    const listing = await openPausedShop('/v1/customers', 1)
    stripe.fake.control.seedCustomers(listing.secretKey, 150)
    const named = await openPausedShop('/v1/customers/*')
    const ids = stripe.fake.control.seedCustomers(named.secretKey, 3)
    const [cancelled, fourth] = [
      await openPausedShop('/v1/coupons'),
      await openPausedShop('/v1/coupons'),
    ]
    const runs = {
      listing: await sync(listing, 'customers'),
      named: await sync(named, 'customers', { ids }),
      cancelled: await sync(cancelled, 'coupons'),
      fourth: await sync(fourth, 'coupons'),
    }
    const healthy = await sync(await openShop(service), 'refunds')
    await expect.poll(async () => (await healthy.now()).state, POLL_OPTIONS).toBe('succeeded')

    await expect.poll(() => parkedJobs('run_sync'), POLL_OPTIONS).toHaveLength(4)
    expect(new Set((await parkedJobs('run_sync')).map(({ attempts }) => attempts))).toEqual(
      new Set([0]),
    )
    expect(await runs.listing.now()).toMatchObject({ state: 'queued', counts: { fetched: 100 } })
    expect(await runs.named.now()).toMatchObject({ state: 'queued', counts: { failed: 0 } })

    // A parked run is not abandoned, however long it waits.
    await query(
      `update sync_runs set updated_at = now() - interval '2 hours' where state = 'queued'`,
    )
    await query(
      `select graphile_worker.add_job('sweep_abandoned', '{"version": 1}', job_key => 'now')`,
    )
    await expect
      .poll(() => query(`select 1 from graphile_worker.jobs where key = 'now'`), POLL_OPTIONS)
      .toEqual([])
    expect((await runs.fourth.now()).state).toBe('queued')

    expect(await runs.cancelled.cancel()).toMatchObject({ status: 200 })
    stripe.fake.control.clearRequests()
    await endPauses()
    for (const run of [runs.listing, runs.named, runs.fourth]) {
      await expect.poll(async () => (await run.now()).state, POLL_OPTIONS).toBe('succeeded')
    }
    expect((await runs.listing.now()).counts).toMatchObject({ fetched: 150, created: 150 })
    expect((await runs.named.now()).counts).toMatchObject({ fetched: 3, created: 3, failed: 0 })
    expect((await runs.cancelled.now()).state).toBe('cancelled')
    // The listing continued after its first page.
    const { account } = listing
    expect(stripe.fake.control.requests({ account, path: '/v1/customers' })).toHaveLength(1)
    expect(stripe.fake.control.requests({ account: cancelled.account })).toEqual([])
  })

  it('gives its worker back: three paused conferences do not stop the publication of a fourth (issue 8, line 19)', async () => {
    const paused = []
    for (let i = 0; i < 3; i += 1) {
      paused.push(await publish(await openPausedShop('/v1/promotion_codes')))
    }
    await expect
      .poll(
        () => stripe.fake.control.requests({ path: '/v1/promotion_codes' }).length,
        POLL_OPTIONS,
      )
      .toBeGreaterThanOrEqual(3)
    const healthy = await publish(await openShop(service))
    await expect.poll(healthy, POLL_OPTIONS).toMatchObject({ state: 'done', published: 30 })

    await expect.poll(() => parkedJobs('align_promotion_codes'), POLL_OPTIONS).toHaveLength(3)
    for (const progress of paused) {
      expect(await progress()).toMatchObject({ state: 'running', published: 0, failed: 0 })
    }
    await endPauses()
    for (const progress of paused) {
      await expect.poll(progress, POLL_OPTIONS).toMatchObject({ state: 'done', published: 30 })
    }
  })

  it('of one conference occupies one worker: another one publishes and ends subscriptions meanwhile (issue 8, line 19)', async () => {
    // So short that the work keeps its worker, and so often that it keeps it longer than this test waits.
    const throttled = await openPausedShop('/v1/promotion_codes', 0, 9)
    const waiting = []
    for (let i = 0; i < 4; i += 1) waiting.push(await publish(throttled))
    const { account } = throttled
    const asked = () => stripe.fake.control.requests({ account, path: '/v1/promotion_codes' })
    await expect.poll(() => asked().length, POLL_OPTIONS).toBeGreaterThan(0)

    const neighbour = await openShop(service)
    await expect
      .poll(await publish(neighbour), POLL_OPTIONS)
      .toMatchObject({ state: 'done', published: 30 })
    const payload = JSON.stringify({ version: 1, conference_id: neighbour.conference })
    for (const job of ['read_published_vouchers', 'end_subscriptions']) {
      await query(
        `select graphile_worker.add_job('${job}', '${payload}', job_key => 'neighbour:${job}')`,
      )
    }
    const left = () => query(`select key from graphile_worker.jobs where key like 'neighbour:%'`)
    await expect.poll(left, POLL_OPTIONS).toEqual([])

    for (const progress of waiting) {
      expect(await progress()).toMatchObject({ state: 'running', published: 0, failed: 0 })
    }
    const held = `select task_identifier as job from graphile_worker.jobs j
      join graphile_worker._private_jobs p using (id)
      where j.locked_at is not null and p.payload ->> 'conference_id' = '${throttled.conference}'`
    expect(await query(held)).toEqual([{ job: 'align_promotion_codes' }])
  })
})
