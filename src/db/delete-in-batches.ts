import type { Db } from './connect.ts'
import { withSystem } from './tenant-scope.ts'

/** One transaction for a day's rows would hold its locks and its snapshot for too long. */
export const DELETE_BATCH_SIZE = 5_000

/**
 * Deletes the rows of all conferences that match, except those that others have locked, in short transactions.
 * Several callers may run it at the same time.
 *
 * @param table without partitions: rows are found by their place, which partitions share.
 * @param condition SQL without values from outside.
 * @returns the number of deleted rows.
 */
export async function deleteInBatches(db: Db, table: string, condition: string): Promise<number> {
  let total = 0
  let deleted = DELETE_BATCH_SIZE
  while (deleted === DELETE_BATCH_SIZE) {
    deleted = await withSystem(db, 'prune', (trx) =>
      trx(table)
        // Rows that somebody else has locked stay for the next call: to wait for them, in an order that is not theirs, could
        // end in a deadlock.
        .whereRaw(
          `ctid = any(array(select ctid from ?? where ${condition} limit ? for update skip locked))`,
          [table, DELETE_BATCH_SIZE],
        )
        .delete(),
    )
    total += deleted
  }
  return total
}
