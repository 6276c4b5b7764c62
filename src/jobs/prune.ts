import type { Db } from '../db/connect.ts'
import { withSystem } from '../db/tenant-scope.ts'

// Idempotency keys answer a repeat for 24 hours; see IDEMPOTENCY_KEY_LIFETIME in http/idempotency.ts.
const KEY_HOURS = 24
// Long enough for staff to look at what failed.
const FAILED_JOB_DAYS = 14
// As webhook-delivery-routes.ts tells its readers.
const DELIVERY_DAYS = 30
// A transaction that deletes a day's keys at once would hold its locks and its snapshot for long.
const BATCH = 5_000

/** How many rows went, by kind. */
export type Pruned = { keys: number; limits: number; jobs: number; deliveries: number }

/** Deletes what nobody needs any more. May run twice, and beside itself. */
export async function prune(db: Db): Promise<Pruned> {
  return {
    keys: await inBatches(db, 'idempotency_keys', `created_at < now() - interval '${KEY_HOURS} h'`),
    // rate-limiter-flexible keeps the end of a window in milliseconds.
    limits: await inBatches(db, 'rate_limits', `expire < extract(epoch from now()) * 1000`),
    jobs: await pruneFailedJobs(db),
    deliveries: await inBatches(
      db,
      'webhook_deliveries',
      `finished_at < now() - interval '${DELIVERY_DAYS} days'`,
    ),
  }
}

async function inBatches(db: Db, table: string, isOld: string): Promise<number> {
  let total = 0
  let deleted = BATCH
  while (deleted === BATCH) {
    deleted = await withSystem(db, 'prune', (trx) =>
      trx(table)
        .whereRaw(`ctid = any(array(select ctid from ?? where ${isOld} limit ?))`, [table, BATCH])
        .delete(),
    )
    total += deleted
  }
  return total
}

async function pruneFailedJobs(db: Db): Promise<number> {
  const { rows } = await db.raw<{ rows: unknown[] }>(
    `select from graphile_worker.complete_jobs(array(
       select id from graphile_worker.jobs
       where attempts >= max_attempts and locked_at is null
         and updated_at < now() - make_interval(days => ?)
       limit ?))`,
    [FAILED_JOB_DAYS, BATCH],
  )
  return rows.length
}
