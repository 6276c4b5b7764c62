import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { SUPERUSER } from './data-folder.ts'
import { errorCode, errorMessage } from './embedded-postgres-error.ts'
import type { PostmasterPid } from './running-server.ts'
import type { Passwords, ServerOptions } from './server-folder.ts'

/** The reason why a running server cannot be used as it is. */
export type Fault =
  | { kind: 'settings'; detail: string }
  | { kind: 'password'; detail: string }
  | { kind: 'unreachable'; detail: string }

const MAX_ATTEMPTS = 100
const RETRY_DELAY_MS = 50

/** Logs in to a running server and compares its settings with `wanted`. Undefined if all match. */
export async function checkServer(
  address: ServerAddress,
  password: string,
  dataFolder: string,
  wanted: ServerOptions,
): Promise<Fault | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      const found = await readSettings(address, password)
      return compare(found, dataFolder, wanted)
    } catch (error) {
      const code = errorCode(error)
      if (code === '28P01' || code === '28000')
        return { kind: 'password', detail: errorMessage(error) }
      // cannot_connect_now: "starting up" or "in recovery", for a moment after a session crashed.
      const passing = code === '57P03'
      if (!passing || attempt === MAX_ATTEMPTS)
        return { kind: 'unreachable', detail: errorMessage(error) }
      await sleep(RETRY_DELAY_MS)
    }
  }
}

type Settings = { data_directory: string; fsync: string; max_connections: string }

function readSettings(address: ServerAddress, password: string): Promise<Settings | undefined> {
  return withAdminSession(address, password, async (client) => {
    const { rows } = await client.query<Settings>(
      `select current_setting('data_directory') as data_directory,
              current_setting('fsync') as fsync,
              current_setting('max_connections') as max_connections`,
    )
    return rows[0]
  })
}

function compare(
  found: Settings | undefined,
  dataFolder: string,
  wanted: ServerOptions,
): Fault | undefined {
  // PostgreSQL writes paths with slashes, also on Windows.
  if (found?.data_directory !== dataFolder.replaceAll('\\', '/')) {
    return {
      kind: 'unreachable',
      detail: `the server of another data folder answers: ${found?.data_directory}`,
    }
  }
  const fsync = wanted.durable ? 'on' : 'off'
  if (found.fsync !== fsync)
    return { kind: 'settings', detail: `it runs with fsync=${found.fsync}` }
  if (Number(found.max_connections) !== wanted.maxConnections) {
    return { kind: 'settings', detail: `it allows ${found.max_connections} connections` }
  }
  return undefined
}

/** The role of the service. Row security applies to it, but not to a superuser. */
const APPLICATION_ROLE = 'sponsor_vouchers'

const ATTRIBUTES = 'login nosuperuser nobypassrls nocreatedb nocreaterole noreplication'

/**
 * Creates or repairs the service's role and its database. Returns the role's connection string, after a
 * successful login.
 */
export async function ensureDatabase(
  address: ServerAddress,
  passwords: Passwords,
  database: string,
): Promise<string> {
  const password = passwords.application
  const url = connectionUrl(address, { user: APPLICATION_ROLE, password, database })
  await withAdminSession(address, passwords.admin, async (client) => {
    await ensureRole(client, password)
    await ensureOwnedDatabase(client, database)
    if (await logsIn(url)) return
    await setPassword(client, password)
    await withSession(url, (session) => session.query('select 1'))
  })
  return url
}

async function ensureRole(client: pg.Client, password: string): Promise<void> {
  const { rows } = await client.query<{ ordinary: boolean }>(
    `select rolcanlogin and not (rolsuper or rolbypassrls or rolcreatedb or rolcreaterole
       or rolreplication) as ordinary
     from pg_roles where rolname = $1`,
    [APPLICATION_ROLE],
  )
  if (rows[0]?.ordinary === true) return
  if (rows.length > 0) {
    await client.query(`alter role ${APPLICATION_ROLE} ${ATTRIBUTES}`)
    return
  }
  await client.query(`create role ${APPLICATION_ROLE} ${ATTRIBUTES}`)
  await setPassword(client, password)
  // The server's log must not contain voucher codes and addresses. PostgreSQL would log them as the
  // statement and the detail of each violated constraint.
  await client.query(`alter role ${APPLICATION_ROLE} set log_error_verbosity = terse`)
  await client.query(`alter role ${APPLICATION_ROLE} set log_min_error_statement = panic`)
}

async function setPassword(client: pg.Client, password: string): Promise<void> {
  await client.query(`alter role ${APPLICATION_ROLE} password ${pg.escapeLiteral(password)}`)
}

async function ensureOwnedDatabase(client: pg.Client, database: string): Promise<void> {
  const name = pg.escapeIdentifier(database)
  const { rows } = await client.query<{ owner: string }>(
    `select pg_get_userbyid(datdba) as owner from pg_database where datname = $1`,
    [database],
  )
  if (rows.length === 0) await client.query(`create database ${name} owner ${APPLICATION_ROLE}`)
  else if (rows[0]?.owner !== APPLICATION_ROLE) {
    await client.query(`alter database ${name} owner to ${APPLICATION_ROLE}`)
  }
}

// False if only the password is wrong, for example after passwords.json was lost.
async function logsIn(url: string): Promise<boolean> {
  try {
    await withSession(url, (client) => client.query('select 1'))
    return true
  } catch (error) {
    if (errorCode(error) === '28P01') return false
    throw error
  }
}

/** Runs `work` in a superuser's session and closes it. */
async function withAdminSession<T>(
  address: ServerAddress,
  password: string,
  work: (client: pg.Client) => Promise<T>,
  database = 'postgres',
): Promise<T> {
  const connectionString = connectionUrl(address, { user: SUPERUSER, password, database })
  return withSession(connectionString, work)
}

/** Runs `work` in a session and closes it. Connecting times out after five seconds. */
async function withSession<T>(
  connectionString: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 5_000 })
  // Without a listener, a server that dies during an idle session would end this process.
  client.on('error', () => {})
  try {
    await client.connect()
    return await work(client)
  } finally {
    await client.end().catch(() => {})
  }
}

/** The address of a server. `host` is the folder of its unix socket, or 127.0.0.1. */
export type ServerAddress = { host: string; port: number }

export type Login = { user: string; password: string; database: string }

export function addressOf(server: PostmasterPid): ServerAddress {
  return { host: server.socketFolder || '127.0.0.1', port: server.port }
}

/**
 * A connection URL for `pg`, knex and all URL parsers. The socket's folder is a parameter, because an
 * empty host is not valid in a URL. `sslmode=disable` overrides PGSSLMODE, because the server has no
 * certificate.
 */
export function connectionUrl(address: ServerAddress, login: Login): string {
  const url = new URL('postgresql://localhost')
  url.username = login.user
  url.password = login.password
  url.pathname = encodeURIComponent(login.database)
  url.searchParams.set('sslmode', 'disable')
  if (address.host.startsWith('/')) url.searchParams.set('host', address.host)
  else url.hostname = address.host
  url.port = String(address.port)
  return url.href
}
