import { beforeAll, expect, it } from 'vitest'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { useFakeStripe } from '../support/shop.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { type Buyers, startBuyers } from './support/buyers.ts'
import { freePort, type Haproxy, startHaproxy } from './support/haproxy.ts'
import { describeWith } from './support/programs.ts'

const PROCESSES = 4

describeWith('haproxy')('four processes behind HAProxy, while sponsors buy', () => {
  useServiceProcesses()
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
      PORT: String(ports[index]),
      TRUST_PROXY: '1',
      DATABASE_POOL: '8',
    })
    await process.ready()
    processes[index] = process
  }

  beforeAll(async () => {
    ports = await Promise.all(Array.from({ length: PROCESSES }, freePort))
    await Promise.all(ports.map((_, index) => start(index)))
    haproxy = await startHaproxy(ports)
    buyers = await startBuyers({ url: haproxy.url, stripe: stripe.fake, count: 6 })
  })

  it('share requests, events and jobs', async () => {
    await buyers.untilBought(60)
    const counts = await Promise.all(processes.map(readWork))
    for (const kind of ['requests', 'events', 'jobs'] as const) {
      const done = counts.map((each) => each[kind])
      const all = done.reduce((sum, count) => sum + count, 0)
      expect(Math.min(...done), `${kind}: ${done.join(', ')}`).toBeGreaterThan(0)
      expect(Math.max(...done) / all, `${kind}: ${done.join(', ')}`).toBeLessThan(0.6)
    }
    expect(buyers.failures()).toEqual([])
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
