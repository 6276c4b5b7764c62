import type { Db, Tx } from './connect.ts'

/**
 * Work that belongs to no single tenant. The name goes into the session, so that row security lets
 * it pass and `pg_stat_activity`-style debugging shows who asked.
 */
export type SystemTask =
  | 'authenticate'
  | 'resolve-conference'
  | 'manage-conferences'
  | 'store-events'
  | 'claim-events'
  | 'timers'
  | 'metrics'
  | 'prune'
  | 'migrate'

/**
 * Runs `work` in a transaction that sees only one conference's rows. Row security in Postgres does
 * the separation (docs/decisions/0004), so a store function that forgets its `where` shows nothing
 * of another tenant. All tenant SQL goes through here.
 */
export function withTenant<T>(
  db: Db,
  tenant: { conferenceId: string },
  work: (trx: Tx) => Promise<T>,
): Promise<T> {
  return db.transaction(async (trx) => {
    await trx.raw(`select set_config('app.conference_id', ?, true)`, [tenant.conferenceId])
    return work(trx)
  })
}

/** Runs `work` in a transaction that sees the rows of every tenant, under the name of its task. */
export function withSystem<T>(db: Db, task: SystemTask, work: (trx: Tx) => Promise<T>): Promise<T> {
  return db.transaction(async (trx) => {
    await trx.raw(`select set_config('app.system_task', ?, true)`, [task])
    return work(trx)
  })
}
