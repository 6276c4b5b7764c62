import pg from 'pg'
import { inject } from 'vitest'

/** One session that may do everything, for making and dropping databases; closed afterwards. */
export async function withAdminClient<T>(
  connectionString: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    connectionString,
    application_name: 'sponsor-vouchers-test-admin',
  })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

// A session costs Postgres and us 9 ms of work, more than most statements of tests.
const pools = new Map<string, pg.Pool>()

/**
 * Runs one statement as an administrator, on a session that stays open for the next one. It must not
 * change settings of the session.
 */
export async function adminQuery<Row extends pg.QueryResultRow>(
  connectionString: string,
  sql: string,
  parameters: unknown[] = [],
): Promise<Row[]> {
  let pool = pools.get(connectionString)
  if (pool === undefined) {
    pool = new pg.Pool({
      connectionString,
      application_name: 'sponsor-vouchers-test-admin',
      idleTimeoutMillis: 0,
      allowExitOnIdle: true,
    })
    // Tests end all sessions of a database; the next statement opens another one.
    pool.on('error', () => {})
    pools.set(connectionString, pool)
  }
  return (await pool.query<Row>(sql, parameters)).rows
}

/** Closes the sessions that `adminQuery` keeps open. */
export async function closeAdminSessions(connectionString: string): Promise<void> {
  const pool = pools.get(connectionString)
  pools.delete(connectionString)
  await pool?.end()
}

type Changes = { user?: string; password?: string; database?: string }

/** The same server with another login or database. */
export function withLogin(connectionString: string, changes: Changes): string {
  const url = new URL(connectionString)
  if (changes.user !== undefined) url.username = changes.user
  if (changes.password !== undefined) url.password = changes.password
  if (changes.database !== undefined) url.pathname = changes.database
  return url.href
}

/** Whether the run's pooler is between the tests and this database. */
export function isPooled(connectionString: string): boolean {
  const { pooledConnectionString: pooled } = inject('testRun')
  return pooled !== null && new URL(pooled).host === new URL(connectionString).host
}

/** The address of the same database without the pooler, for what needs a session. */
export function directUrl(connectionString: string): string {
  if (!isPooled(connectionString)) return connectionString
  const { username, password, pathname } = new URL(connectionString)
  const url = new URL(inject('testRun').adminConnectionString)
  return Object.assign(url, { username, password, pathname }).href
}

/** The settings of a process that uses this database. */
export function databaseSettings(connectionString: string): Record<string, string> {
  const direct = isPooled(connectionString)
    ? { DATABASE_DIRECT_URL: directUrl(connectionString) }
    : {}
  return { DATABASE_URL: connectionString, ...direct }
}
