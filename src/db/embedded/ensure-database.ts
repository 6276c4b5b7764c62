import pg from 'pg'
import { withAdminSession, withSession } from './admin-session.ts'
import { codeOf } from './error-text.ts'
import type { Passwords } from './passwords.ts'
import { connectionUrl, type ServerAddress } from './server-address.ts'

/** The role as which the service connects: row security applies to it, unlike to a superuser. */
const APPLICATION_ROLE = 'sponsor_vouchers'

const ATTRIBUTES = 'login nosuperuser nobypassrls nocreatedb nocreaterole noreplication'

/**
 * Makes the ordinary role and the database that it owns, or puts right what is wrong with them.
 * Returns the role's connection string, tried out.
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
  // The server's log must not show voucher codes and addresses: PostgreSQL prints them as the
  // statement and the detail of every violated constraint.
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

// False when only the password is wrong, e.g. after passwords.json was lost.
async function logsIn(url: string): Promise<boolean> {
  try {
    await withSession(url, (client) => client.query('select 1'))
    return true
  } catch (error) {
    if (codeOf(error) === '28P01') return false
    throw error
  }
}
