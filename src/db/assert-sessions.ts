import { randomInt } from 'node:crypto'
import pg from 'pg'
import { StartupError } from '../shared/errors.ts'
import type { Db } from './connect.ts'

/**
 * Checks what the liveness lock, notifications and migrations need: sessions that last, on the database that
 * the other statements use. A pooler in transaction mode, such as PgBouncer, gives each transaction another
 * session. With `prepareStatements`, it must keep those of each client.
 *
 * @param db a pool of connections to DATABASE_URL.
 * @throws StartupError that names the setting.
 */
export async function assertSessions(
  db: Db,
  settings: {
    connectionString: string
    directConnectionString: string
    prepareStatements?: boolean
  },
): Promise<void> {
  const { connectionString, directConnectionString: direct, prepareStatements = false } = settings
  if (direct === connectionString) {
    if ((await isPooled(db)) && (await changesSessions(direct))) {
      throw new StartupError(
        'DATABASE_URL leads to a connection pooler in transaction mode, which keeps no sessions. ' +
          'Set DATABASE_DIRECT_URL to the address of Postgres itself. Notifications, the liveness lock and migrations use it.',
      )
    }
    return
  }
  if (await changesSessions(direct)) {
    throw new StartupError(
      'DATABASE_DIRECT_URL leads to a connection pooler in transaction mode. Set it to the address of Postgres itself.',
    )
  }
  if (!(await isSameDatabase(db, direct))) {
    throw new StartupError(
      'DATABASE_DIRECT_URL is not the database of DATABASE_URL: a lock that is taken through one is not visible through the other.',
    )
  }
  if (prepareStatements && (await isPooled(db)) && (await mixesStatements(connectionString))) {
    throw new StartupError(
      'PREPARE_STATEMENTS is true, and the pooler of DATABASE_URL gives a client the prepared statements of another. ' +
        'Remove the setting, or use PgBouncer 1.21 or newer with max_prepared_statements.',
    )
  }
}

const PID = 'select pg_backend_pid() as pid'

/** A pooler sends a key of its own when a connection begins, Postgres the number of the session's process. */
async function isPooled(db: Db): Promise<boolean> {
  const connection = await db.client.acquireConnection()
  try {
    const { rows } = await connection.query(PID)
    return connection.processID !== rows[0].pid
  } finally {
    await db.client.releaseConnection(connection)
  }
}

/** How often two connections are compared. One comparison may miss a pooler that has many idle sessions. */
const COMPARISONS = 10

/** Whether a connection gets the session of another one, or another session for its next transaction. */
async function changesSessions(connectionString: string): Promise<boolean> {
  return withClient(connectionString, (one) =>
    withClient(connectionString, async (other) => {
      const pid = await pidOf(one)
      for (let compared = 0; compared < COMPARISONS; compared += 1) {
        await other.query('begin')
        const isTaken = (await pidOf(other)) === pid
        // A pooler with a single session would let the first connection wait for this transaction.
        const hasChanged = isTaken || (await pidOf(one)) !== pid
        await other.query('rollback')
        if (hasChanged) return true
      }
      return false
    }),
  )
}

/** Errors of Postgres: the name is known to the session, or unknown. */
const MIXED = new Set(['42P05', '26000'])

/** Whether two connections that prepare statements under one name meet in a session. */
async function mixesStatements(connectionString: string): Promise<boolean> {
  const prepared = `start_${randomInt(2 ** 47)}`
  return withClient(connectionString, (one) =>
    withClient(connectionString, async (other) => {
      try {
        for (let compared = 0; compared < COMPARISONS; compared += 1) {
          const name = `${prepared}_${compared}`
          // Not in turn: a pooler may use its sessions in turn, too.
          const steps = [
            [one, 1],
            [other, 2],
            [other, 2],
            [one, 1],
          ] as const
          for (const [client, number] of steps) {
            if ((await numberOf(client, { name, number })) !== number) return true
          }
        }
        return false
      } catch (error) {
        if (error instanceof pg.DatabaseError && MIXED.has(error.code ?? '')) return true
        throw error
      }
    }),
  )
}

/** What a prepared statement of this name returns: another number if it is that of another client. */
async function numberOf(
  client: pg.Client,
  { name, number }: { name: string; number: number },
): Promise<number | undefined> {
  const text = `select ${number} as number`
  return (await client.query<{ number: number }>({ name, text })).rows[0]?.number
}

const pidOf = async (client: pg.Client) => (await client.query<{ pid: number }>(PID)).rows[0]?.pid

// Any constant, another one than that of the liveness lock.
const LOCK_CLASS = 730_196

/** Advisory locks are seen within one database of one server. */
function isSameDatabase(db: Db, direct: string): Promise<boolean> {
  const key = [LOCK_CLASS, randomInt(1, 2 ** 31 - 1)]
  return withClient(direct, async (client) => {
    await client.query('select pg_advisory_lock($1::int, $2::int)', key)
    const { rows } = await db.raw<{ rows: { free: boolean }[] }>(
      'select pg_try_advisory_xact_lock(?::int, ?::int) as free',
      key,
    )
    return rows[0]?.free === false
  })
}

async function withClient<T>(
  connectionString: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    connectionString,
    application_name: 'sponsor-vouchers start',
    connectionTimeoutMillis: 5_000,
  })
  // The statement that needs the connection fails too.
  client.on('error', () => {})
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
