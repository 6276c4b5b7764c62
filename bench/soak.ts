import { setTimeout as sleep } from 'node:timers/promises'
import { type Column, renderTable } from '../src/cli/table.ts'
import { createPaint } from '../src/cli/terminal.ts'
import { inParallel } from '../src/shared/in-parallel.ts'
import { type Buyer, createBuyer } from './buyer.ts'
import { watchDatabase } from './database-watch.ts'
import { ROOT } from './other-version.ts'
import { type ServiceProcess, startFakeStripeProcess, startServiceProcess } from './processes.ts'

export type SoakOptions = {
  /** A migrated database of its own. */
  connectionString: string
  adminConnectionString: string
  print: (line: string) => void
  /** Gets what must be undone, newest first, also after an interrupt. */
  onEnd: (undo: () => Promise<unknown>) => void
  minutes?: number
}

const IN_FLIGHT = 16
/** Purchases that warm up, and those that measure the maximum. */
const WARM_UP = 100
const AT_MOST = 300

/** What one minute showed. */
type Minute = {
  minute: number
  purchases: number
  p50: number
  p95: number
  delayMs: number
  residentMb: number
  heapMb: number
}

/**
 * Whole purchases at half of the rate that was measured just before, for some minutes: is anything
 * growing? Purchases start at their time, also when earlier ones are not done, so a service that gets
 * slower shows it.
 *
 * @returns the last third of the minutes divided by the first third.
 */
export async function soak(options: SoakOptions): Promise<{ latency: number; heap: number }> {
  const { connectionString, adminConnectionString, print, onEnd, minutes = 10 } = options
  const stripe = await startFakeStripeProcess('sk_test_soak')
  onEnd(() => stripe.stop())
  const settings = { DATABASE_URL: connectionString, STRIPE_API_BASE: stripe.url }
  const service = await startServiceProcess(ROOT, settings, onEnd)
  const administrator = new URL(adminConnectionString)
  administrator.pathname = new URL(connectionString).pathname
  const watch = await watchDatabase(administrator.href)
  onEnd(() => watch.close())
  const buyer = await createBuyer(service, stripe.url, watch)

  await buyMany(buyer, WARM_UP)
  const most = await buyMany(buyer, AT_MOST)
  print(
    `  at most ${most.toFixed(1)} purchases/s; ${minutes} minutes at ${(most / 2).toFixed(1)}/s`,
  )
  const seen: Minute[] = []
  for (let minute = 1; minute <= minutes; minute += 1) {
    seen.push(await oneMinute(minute, most / 2, buyer, service))
  }
  await buyer.rest()
  print(renderTable(seen, COLUMNS, createPaint(false)).trimEnd())
  const third = Math.ceil(minutes / 3)
  const growth = (get: (minute: Minute) => number) =>
    mean(seen.slice(-third).map(get)) / mean(seen.slice(0, third).map(get))
  const latency = growth(({ p50 }) => p50)
  const heap = growth(({ heapMb }) => heapMb)
  print(`last third / first third: p50 ${latency.toFixed(2)}, heap ${heap.toFixed(2)}`)
  return { latency, heap }
}

/** Purchases a second, with as many in flight as the machine can use. */
async function buyMany(buyer: Buyer, purchases: number): Promise<number> {
  const begun = performance.now()
  await inParallel(Array.from({ length: purchases }), IN_FLIGHT, () => buyer.buy())
  await buyer.rest()
  return purchases / ((performance.now() - begun) / 1000)
}

async function oneMinute(
  minute: number,
  rate: number,
  buyer: Buyer,
  service: ServiceProcess,
): Promise<Minute> {
  const begun = performance.now()
  const purchases = Math.round(rate * 60)
  await service.usage() // the delay is measured from here on
  const bought = Array.from({ length: purchases }, async (_, index) => {
    await sleep((index / rate) * 1000)
    const started = performance.now()
    await buyer.buy()
    return performance.now() - started
  })
  const latencies = (await Promise.all(bought)).toSorted((a, b) => a - b)
  await sleep(Math.max(0, 60_000 - (performance.now() - begun)))
  const { delayMs, residentMb } = await service.usage()
  const at = (share: number) => latencies[Math.floor((purchases - 1) * share)] ?? Number.NaN
  const heapMb = await service.heapMb()
  return { minute, purchases, p50: at(0.5), p95: at(0.95), delayMs, residentMb, heapMb }
}

const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length

const number = (head: string, get: (minute: Minute) => number, digits = 0): Column<Minute> => ({
  head,
  cell: (minute) => get(minute).toFixed(digits),
  align: 'right',
})

const COLUMNS: Column<Minute>[] = [
  number('minute', ({ minute }) => minute),
  number('purchases', ({ purchases }) => purchases),
  number('p50 ms', ({ p50 }) => p50),
  number('p95 ms', ({ p95 }) => p95),
  number('event loop delay p99 ms', ({ delayMs }) => delayMs),
  number('resident MB', ({ residentMb }) => residentMb),
  number('heap MB', ({ heapMb }) => heapMb, 1),
]
