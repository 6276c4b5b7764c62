import type { Db } from '../../db/connect.ts'

// The first of the two keys of an advisory lock; any constant of our own.
const LOCK_CLASS = 730_196

/**
 * Runs `work` unless it runs for this conference already, here or in another process. The lock is
 * the session's and no transaction's, since the work talks to Stripe; Postgres frees it when the
 * process dies.
 *
 * @returns what `work` returned, or null when somebody else is at it.
 */
export async function withConferenceLock<T>(
  db: Db,
  conferenceId: string,
  work: () => Promise<T>,
): Promise<T | null> {
  const connection: unknown = await db.client.acquireConnection()
  const ask = async (statement: string): Promise<boolean> => {
    const { rows } = await db
      .raw<{ rows: { yes: boolean }[] }>(`select ${statement}(?, hashtext(?)) as yes`, [
        LOCK_CLASS,
        conferenceId,
      ])
      .connection(connection)
    return rows[0]?.yes === true
  }
  try {
    if (!(await ask('pg_try_advisory_lock'))) return null
    try {
      return await work()
    } finally {
      await ask('pg_advisory_unlock')
    }
  } finally {
    await db.client.releaseConnection(connection)
  }
}
