import type { Knex } from 'knex'
import type { Db, Tx } from './connect.ts'
import { withSystem } from './tenant-scope.ts'

/** One transaction for a day's rows would hold its locks and its snapshot for too long. */
export const DELETE_BATCH_SIZE = 5_000

/**
 * Deletes the rows of all conferences that match, in short transactions. Several callers may run it at
 * the same time.
 *
 * @param condition SQL without values from outside.
 * @returns the number of deleted rows.
 */
export function deleteInBatches(db: Db, table: string, condition: string): Promise<number> {
  return inBatches(db, table, condition, (rows) => rows.delete())
}

/** Like `deleteInBatches`, for changes after which the rows no longer match. */
export function updateInBatches(
  db: Db,
  table: string,
  condition: string,
  changes: { [column: string]: null },
): Promise<number> {
  return inBatches(db, table, condition, (rows) => rows.update(changes))
}

async function inBatches(
  db: Db,
  table: string,
  condition: string,
  change: (rows: Knex.QueryBuilder) => PromiseLike<number>,
): Promise<number> {
  const changeBatch = (trx: Tx) =>
    change(
      trx(table).whereRaw(`ctid = any(array(select ctid from ?? where ${condition} limit ?))`, [
        table,
        DELETE_BATCH_SIZE,
      ]),
    )
  let total = 0
  let changed = DELETE_BATCH_SIZE
  while (changed === DELETE_BATCH_SIZE) {
    changed = await withSystem(db, 'prune', async (trx) => changeBatch(trx))
    total += changed
  }
  return total
}
