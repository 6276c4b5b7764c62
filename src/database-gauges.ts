import { Gauge, type Registry } from 'prom-client'
import type { Db, Tx } from './db/connect.ts'
import { withSystem } from './db/tenant-scope.ts'

// Several Prometheus servers, and people, may ask at the same time.
const MAX_AGE_MS = 5_000
const STATEMENT_TIMEOUT_MS = 2_000

/**
 * What only the database knows, for all processes together: queues, lags and flags. Read when
 * somebody asks, at most every five seconds.
 *
 * @param db a pool that busy requests do not share.
 */
export function createDatabaseGauges(registry: Registry, db: Db): { refresh(): Promise<void> } {
  const gauge = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Gauge({ name: `sponsor_vouchers_${name}`, help, labelNames, registers: [registry] })
  const laneGauges = (prefix: string, what: string) => ({
    events: gauge(`${prefix}_events`, `${what} that wait, wait for another try, failed.`, [
      'state',
    ]),
    lag: gauge(
      `${prefix}_event_lag_seconds`,
      `${what}: age of the oldest that is not handled yet.`,
      [],
    ),
  })
  const up = gauge('database_up', 'Whether the database answered.', [])
  // Apart: readings for the mirror wait for their turn at Stripe, and no purchase waits for them.
  const lanes = {
    purchase: laneGauges('stripe', 'Stripe events'),
    mirror: laneGauges('mirror', 'Stripe events that only the mirror waits for'),
  }
  const jobs = gauge('jobs', 'Jobs by state.', ['job', 'state'])
  const flags = gauge('flagged_purchases', 'Purchases with an open flag.', ['code'])
  const processes = gauge('processes', 'Processes with a heartbeat.', ['role'])
  const perLane = Object.values(lanes).flatMap(({ events, lag }) => [events, lag])
  const perQuery = [...perLane, jobs, flags, processes]

  async function read(): Promise<void> {
    const seen = await withSystem(db, 'metrics', readAll).catch(() => null)
    up.set(seen === null ? 0 : 1)
    // What is gone must not stay at its last number, and neither must what cannot be read.
    for (const each of perQuery) each.reset()
    if (seen === null) return
    for (const { lane, lag, ...counts } of seen.lanes) {
      lanes[lane].events.set({ state: 'pending' }, counts.pending)
      lanes[lane].events.set({ state: 'retrying' }, counts.retrying)
      lanes[lane].events.set({ state: 'failed' }, counts.failed)
      lanes[lane].lag.set(lag)
    }
    for (const { job, state, count } of seen.jobs) jobs.set({ job, state }, count)
    for (const { code, count } of seen.flags) flags.set({ code }, count)
    for (const { role, count } of seen.processes) processes.set({ role }, count)
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

type LaneRow = {
  lane: 'purchase' | 'mirror'
  pending: number
  retrying: number
  failed: number
  /** Seconds. */
  lag: number
}

async function readAll(trx: Tx) {
  await trx.raw(`set local statement_timeout = ${STATEMENT_TIMEOUT_MS}`)
  const rows = async <Row>(sql: string) => (await trx.raw<{ rows: Row[] }>(sql)).rows
  return {
    lanes: await rows<LaneRow>(`
      select lane,
        count(*) filter (where status = 'pending') as pending,
        count(*) filter (where status = 'pending' and last_error is not null) as retrying,
        count(*) filter (where status = 'failed') as failed,
        coalesce(greatest(extract(epoch from
          now() - min(received_at) filter (where status = 'pending')), 0), 0)::float8 as lag
      from (
        select lane, status, last_error, received_at from stripe_events where status = 'pending'
        union all
        select lane, status, last_error, received_at from stripe_events where status = 'failed'
        union all
        select lane, null, null, null from unnest(array['purchase', 'mirror']) as lane
      ) as open
      group by lane`),
    // Without a reason, a job at its last try was replaced while a worker that died was running it.
    jobs: await rows<{ job: string; state: string; count: number }>(`
      select task_identifier as job, count(*),
        case when locked_at is not null then 'running'
             when attempts >= max_attempts then 'failed'
             when run_at > now() then 'scheduled'
             else 'ready' end as state
      from graphile_worker.jobs
      where locked_at is not null or attempts < max_attempts or last_error is not null
      group by job, state`),
    flags: await rows<{ code: string; count: number }>(`
      select code, count(distinct (conference_id, purchase_id)) as count
      from purchase_flags where resolved_at is null group by code`),
    processes: await rows<{ role: string; count: number }>(
      'select role, count(*) from processes group by role',
    ),
  }
}
