import { randomInt } from 'node:crypto'
import pg from 'pg'
import type { Tx } from './connect.ts'

// The first of the two keys of an advisory lock; any constant of our own.
const LOCK_CLASS = 730_195

/** This process's proof of life. */
export type LivenessLock = {
  /** The number that rows name as their owner. */
  readonly owner: number
  /** False as soon as the owner's process is gone, however it went. */
  isAlive(trx: Tx, owner: number): Promise<boolean>
  close(): Promise<void>
}

/**
 * Holds a session advisory lock on a connection of its own for as long as this process lives.
 * Postgres frees it when the process dies, `kill -9` included, so others learn it at once, without
 * a heartbeat to wait for. If only the connection dies, we look dead for a moment; what that allows
 * (resuming a request that still runs) is harmless, since each step is safe under parallel calls.
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
      application_name: 'sponsor-vouchers presence',
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
