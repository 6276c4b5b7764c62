import { Gauge, type Registry } from 'prom-client'
import { countRejectedKeys } from './conferences/unusable-key.ts'
import type { Db, Tx } from './db/connect.ts'
import { withSystem } from './db/tenant-scope.ts'
import { countProcesses } from './jobs/heartbeat.ts'
import { countJobs } from './jobs/job-queue.ts'
import { countFlaggedPurchases } from './purchases/purchase-flags.ts'
import { countEventsByLane } from './stripe-events/event-inbox.ts'

// Several Prometheus servers and people may read the metrics at the same time.
const MAX_AGE_MS = 5_000
const STATEMENT_TIMEOUT_MS = 2_000

/**
 * Metrics that come from the database and hold for all processes: queues, lags and flags. They are
 * read on request, at most every five seconds.
 *
 * @param db a pool that requests do not use.
 */
export function createDatabaseGauges(registry: Registry, db: Db): { refresh(): Promise<void> } {
  const gauge = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Gauge({ name: `sponsor_vouchers_${name}`, help, labelNames, registers: [registry] })
  const laneGauges = (prefix: string, what: string) => ({
    events: gauge(`${prefix}_events`, `${what} that are pending, retrying or failed.`, ['state']),
    lag: gauge(`${prefix}_event_lag_seconds`, `${what}: age of the oldest pending event.`, []),
  })
  const up = gauge('database_up', 'Whether the database answered.', [])
  // Separate gauges: mirror events wait for the rate limit of Stripe, purchase events do not.
  const lanes = {
    purchase: laneGauges('stripe', 'Stripe events'),
    mirror: laneGauges('mirror', 'Stripe events that only update the mirror'),
  }
  const jobs = gauge('jobs', 'Jobs by state.', ['job_name', 'state'])
  const flags = gauge('flagged_purchases', 'Purchases with an open flag.', ['code'])
  const rejectedKeys = gauge(
    'rejected_stripe_keys',
    'Conferences whose Stripe key was rejected in the last 30 minutes.',
    [],
  )
  const processes = gauge('processes', 'Processes with a heartbeat.', ['role'])
  const perLane = Object.values(lanes).flatMap(({ events, lag }) => [events, lag])
  const perQuery = [...perLane, jobs, flags, rejectedKeys, processes]

  async function read(): Promise<void> {
    const counts = await withSystem(db, 'metrics', readCounts).catch(() => null)
    up.set(counts === null ? 0 : 1)
    // A gauge must not keep an old number when its row disappears or cannot be read.
    for (const each of perQuery) each.reset()
    if (counts === null) return
    for (const { lane, lag, ...byState } of counts.lanes) {
      lanes[lane].events.set({ state: 'pending' }, byState.pending)
      lanes[lane].events.set({ state: 'retrying' }, byState.retrying)
      lanes[lane].events.set({ state: 'failed' }, byState.failed)
      lanes[lane].lag.set(lag)
    }
    for (const { job, state, count } of counts.jobs) jobs.set({ job_name: job, state }, count)
    for (const { code, count } of counts.flags) flags.set({ code }, count)
    rejectedKeys.set(counts.rejectedKeys)
    for (const { role, count } of counts.processes) processes.set({ role }, count)
  }

  let reading: Promise<void> | null = null
  let readAt = Number.NEGATIVE_INFINITY
  return {
    refresh() {
      if (performance.now() - readAt > MAX_AGE_MS) {
        readAt = performance.now()
        reading = read()
      }
      return reading ?? Promise.resolve()
    },
  }
}

async function readCounts(trx: Tx) {
  await trx.raw(`set local statement_timeout = ${STATEMENT_TIMEOUT_MS}`)
  return {
    lanes: await countEventsByLane(trx),
    jobs: await countJobs(trx),
    flags: await countFlaggedPurchases(trx),
    rejectedKeys: await countRejectedKeys(trx),
    processes: await countProcesses(trx),
  }
}
