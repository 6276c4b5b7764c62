import { randomInt } from 'node:crypto'
import pg from 'pg'
import type { Tx } from './connect.ts'

// The first of the two keys of the advisory lock. Any constant.
const LOCK_CLASS = 730_195

/** A lock that shows that this process is alive. */
export type LivenessLock = {
  /** The number by which rows refer to this process. */
  readonly owner: number
  /** False as soon as the owner's process has ended, for any reason. */
  isAlive(trx: Tx, owner: number): Promise<boolean>
  close(): Promise<void>
}

/**
 * Holds a session advisory lock on its own connection while this process lives. Postgres frees the lock
 * when the process dies, also by `kill -9`. So other processes notice it immediately, without waiting
 * for a heartbeat. If only the connection is lost, this process looks dead for a moment. Then another
 * process may resume a request that still runs, which is harmless: each step is safe in parallel.
 */
export function holdLivenessLock(
  connectionString: string,
  onError: (error: unknown) => void,
): LivenessLock {
  const owner = randomInt(1, 2 ** 31 - 1)
  let client: pg.Client | null = null
  let closed = false
  let retry: NodeJS.Timeout | undefined

  async function hold(): Promise<void> {
    const next = new pg.Client({
      connectionString,
      application_name: 'sponsor-vouchers liveness',
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
    })
    next.on('error', (error) => {
      onError(error)
      again()
    })
    try {
      await next.connect()
      await next.query('select pg_advisory_lock($1::int, $2::int)', [LOCK_CLASS, owner])
      client = next
    } catch (error) {
      onError(error)
      again()
    }
  }

  function again(): void {
    client = null
    if (closed) return
    clearTimeout(retry)
    retry = setTimeout(() => void hold(), 1_000).unref()
  }

  const first = hold()
  return {
    owner,
    async isAlive(trx, other) {
      if (other === owner) return true
      const { rows } = await trx.raw<{ rows: { free: boolean }[] }>(
        'select pg_try_advisory_xact_lock_shared(?::int, ?::int) as free',
        [LOCK_CLASS, other],
      )
      return rows[0]?.free !== true
    },
    async close() {
      closed = true
      clearTimeout(retry)
      await first
      await client?.end().catch(onError)
    },
  }
}
