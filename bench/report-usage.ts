import { subscribe } from 'node:diagnostics_channel'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import pg from 'pg'

// Loaded into a process before its program, of this or another version: it counts what the process uses
// and sends the sums whenever the bench asks.

export type Usage = {
  /** Of this process, user and system. */
  cpuMs: number
  /** Round trips to Postgres: one may carry several statements. */
  roundTrips: number
  stripeRequests: number
  /** What the process holds, with what its collector has not freed yet. */
  residentMb: number
  /** Of the event loop since the last report, 99th percentile. */
  delayMs: number
}

/** What the bench sends to ask for a report. `heap` frees what can be freed before, for a soak. */
export type UsageRequest = 'usage' | 'heap'

const stripe = process.env['STRIPE_API_BASE']
const stripeHost = stripe === undefined ? null : new URL(stripe).host
let roundTrips = 0
let stripeRequests = 0

const query: unknown = Reflect.get(pg.Client.prototype, 'query')
if (typeof query !== 'function') throw new TypeError('pg.Client has no method query')
Object.defineProperty(pg.Client.prototype, 'query', {
  configurable: true,
  writable: true,
  value(this: pg.Client & { readyForQuery?: boolean }, ...message: unknown[]): unknown {
    // What is sent while the connection waits for an answer shares its round trip.
    if (this.readyForQuery === true) roundTrips += 1
    return Reflect.apply(query, this, message)
  },
})

subscribe('http.client.request.start', (message) => {
  const { request } = message as { request: { getHeader(name: string): unknown } }
  if (request.getHeader('host') === stripeHost) stripeRequests += 1
})

const RESOLUTION_MS = 20
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
delay.enable()

function usage(): Usage {
  const { user, system } = process.cpuUsage()
  // The histogram holds the time between two samples, so the wait that was asked for too.
  const delayMs = Math.max(0, delay.percentile(99) / 1e6 - RESOLUTION_MS)
  delay.reset()
  const residentMb = process.memoryUsage.rss() / 2 ** 20
  return { cpuMs: (user + system) / 1000, roundTrips, stripeRequests, residentMb, delayMs }
}

function heapMb(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed / 2 ** 20
}

process.on('message', (request: UsageRequest) => {
  process.send?.(request === 'heap' ? heapMb() : usage())
})
// Neither keep the process alive nor outlive the bench, also if it was killed.
process.channel?.unref()
process.once('disconnect', () => process.exit())
