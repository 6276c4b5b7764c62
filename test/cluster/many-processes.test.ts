import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { useFakeStripe } from '../support/shop.ts'
import { adminQuery } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { type Buyers, startBuyers } from './support/buyers.ts'
import { freePort, type Haproxy, useHaproxy } from './support/haproxy.ts'
import { describeWith } from './support/programs.ts'

const PROCESSES = 4
/** Enough that a process has several requests in flight, and a laptop is not overloaded. */
const BUYERS = 8

describeWith('haproxy')('four processes behind HAProxy, while sponsors buy', () => {
  useServiceProcesses()
  const startHaproxy = useHaproxy()
  const database = useTestDatabase()
  const stripe = useFakeStripe()
  const processes: ServiceProcess[] = []
  let ports: number[] = []
  let haproxy: Haproxy
  let buyers: Buyers

  const start = async (index: number) => {
    const process = await startServiceProcess({
      DATABASE_URL: database.connectionString,
      STRIPE_API_BASE: stripe.fake.url,
      STRIPE_REQUESTS_PER_SECOND: '0',
      PORT: String(ports[index]),
      TRUST_PROXY: '1',
      DATABASE_POOL: '8',
      DRAIN_SECONDS: '3',
      LEASE_SECONDS: '6',
    })
    await process.ready()
    processes[index] = process
  }

  const untilAllHealthy = () => {
    const healthy = async () => (await haproxy.servers()).filter(({ isHealthy }) => isHealthy)
    return expect.poll(healthy, POLL_OPTIONS).toHaveLength(PROCESSES)
  }

  const rows = <Row extends object>(sql: string) =>
    adminQuery<Row & Record<string, unknown>>(database.adminConnectionString, sql)

  beforeAll(async () => {
    ports = await Promise.all(Array.from({ length: PROCESSES }, freePort))
    await Promise.all(ports.map((_, index) => start(index)))
    haproxy = await startHaproxy(ports)
    buyers = await startBuyers({ url: haproxy.url, stripe: stripe.fake, count: BUYERS })
  })

  // Undefined where the preparation failed.
  afterAll(() => (buyers as Buyers | undefined)?.stop())

  it('share requests, events and jobs', async () => {
    await buyers.untilBought(30)
    const counts = await Promise.all(processes.map(readWork))
    for (const kind of ['requests', 'events', 'jobs'] as const) {
      const done = counts.map((each) => each[kind])
      const all = done.reduce((sum, count) => sum + count, 0)
      expect(Math.min(...done), `${kind}: ${done.join(', ')}`).toBeGreaterThan(0)
      expect(Math.max(...done) / all, `${kind}: ${done.join(', ')}`).toBeLessThan(0.6)
    }
    expect(buyers.failures()).toEqual([])
  })

  it('are restarted one after the other, and no request fails', async () => {
    for (const [index, process] of processes.entries()) {
      expect(await process.terminate()).toBe(0)
      await start(index)
      await untilAllHealthy()
    }
    await buyers.untilBought(10)
    expect(buyers.failures()).toEqual([])
  })

  it('lose one by kill -9: only requests fail that it had received and that must not be repeated', async () => {
    // Every sponsor waits for Stripe, so that it is known which process has which request.
    const action = { kind: 'slow', ms: 5_000 } as const
    stripe.fake.control.injectFault({ path: '/v1/checkout/sessions', times: 'always', action })
    const inFlight = async () =>
      (await haproxy.servers()).map(({ requestsInFlight }) => requestsInFlight)
    const atCheckout = async () => {
      const all = (await inFlight()).reduce((sum, count) => sum + count, 0)
      return buyers.waitingFor('checkout') === BUYERS && all === BUYERS
    }
    await expect.poll(atCheckout, POLL_OPTIONS).toBe(true)
    const [ofKilled] = await inFlight()
    await processes[0]?.kill()
    stripe.fake.control.clearFaults()

    await buyers.untilBought(20)
    const failures = buyers.failures()
    // The load balancer repeats the others at once. A repeat is asked to come again while Stripe works on the
    // first request (503), or while Postgres has not seen that the process of the first has ended (409).
    const repeated = failures.filter(({ isRepeatable }) => isRepeatable)
    const again = /"code":"(stripe_unavailable|idempotency_in_progress)"/
    expect(repeated.filter(({ answer }) => !again.test(answer))).toEqual([])
    expect(ofKilled).toBeGreaterThan(0)
    expect(failures.length).toBeLessThanOrEqual(ofKilled ?? 0)
  })

  it('lose no event and no code', async () => {
    await buyers.stop()
    // The killed process held events until the end of their lease.
    const unfinished = () =>
      rows(
        `select id, status, last_error from stripe_events where status not in ('done', 'ignored')`,
      )
    await expect.poll(unfinished, POLL_OPTIONS).toEqual([])
    const stored = await rows<{ id: string }>('select id from stripe_events')
    const sent = stripe.fake.control.deliveries()
    expect(sent.filter(({ state }) => state !== 'delivered')).toEqual([])
    expect(new Set(stored.map(({ id }) => id))).toEqual(new Set(sent.map(({ event }) => event)))

    const payments = stripe.fake.control.events({ type: 'checkout.session.completed' })
    const purchases = await rows<{ status: string; quantity: number; codes: string }>(
      `select p.id, p.status, p.quantity, count(distinct v.code_key) as codes
       from bulk_purchases p
       join voucher_batches b on b.conference_id = p.conference_id and b.purchase_id = p.id
       join vouchers v on v.conference_id = b.conference_id and v.batch_id = b.id
       group by p.id, p.status, p.quantity`,
    )
    expect(purchases).toHaveLength(payments.length)
    expect(purchases.length).toBeGreaterThanOrEqual(buyers.bought().length)
    for (const { status, quantity, codes } of purchases) {
      expect({ status, codes: Number(codes) }).toEqual({ status: 'PAID', codes: quantity })
    }
  })
})

/** What a process has done since its start, by its metrics. */
async function readWork({ url }: ServiceProcess) {
  const text = await (await fetch(`${url}/metrics`)).text()
  const sum = (sample: RegExp) =>
    Array.from(text.matchAll(sample), ([, value]) => Number(value)).reduce((a, b) => a + b, 0)
  return {
    requests: sum(
      /^sponsor_vouchers_http_request_duration_seconds_count{.*route="\/v1.*} (\d+)$/gm,
    ),
    events: sum(/^sponsor_vouchers_stripe_events_handled_total{outcome="done"} (\d+)$/gm),
    jobs: sum(/^sponsor_vouchers_job_duration_seconds_count{.*} (\d+)$/gm),
  }
}
