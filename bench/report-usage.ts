import { subscribe } from 'node:diagnostics_channel'
import pg from 'pg'

// Loaded into a process before its program, of this or another version: it counts what the process uses
// and sends the sums whenever the bench asks.

export type Usage = {
  /** Of this process, user and system. */
  cpuMs: number
  /** Round trips to Postgres: one may carry several statements. */
  roundTrips: number
  stripeRequests: number
}

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

process.on('message', () => {
  const { user, system } = process.cpuUsage()
  const usage: Usage = { cpuMs: (user + system) / 1000, roundTrips, stripeRequests }
  process.send?.(usage)
})
// Neither keep the process alive nor outlive the bench, also if it was killed.
process.channel?.unref()
process.once('disconnect', () => process.exit())
