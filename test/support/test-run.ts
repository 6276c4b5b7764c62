import { randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import pg from 'pg'
import { migrateToLatest } from '../../src/db/migrate.ts'
import { withLogin } from './connection-string.ts'
import { dropRun, dropStaleRuns, lockRun, PREFIX } from './stale-runs.ts'

/** What a worker needs to make databases. Plain data: it crosses a process boundary. */
export type TestRun = {
  adminConnectionString: string
  /** All names of this run begin with it, e.g. `sv_test_1f2e3d4c`; also the name of its role. */
  name: string
  password: string
  template: string
}

export type OpenTestRun = { details: TestRun; close(): Promise<void> }

/**
 * Drops what killed runs left, makes this run's ordinary role and migrates its template database.
 * Several runs may share a server: each holds a lock for as long as it lives.
 */
export async function openTestRun(adminConnectionString: string): Promise<OpenTestRun> {
  const id = randomBytes(4).toString('hex')
  const name = `${PREFIX}${id}`
  const details = {
    adminConnectionString,
    name,
    password: randomBytes(12).toString('hex'),
    template: `${name}_template`,
  }
  const client = new pg.Client({ connectionString: adminConnectionString })
  client.on('error', () => {})
  await client.connect()
  const close = async () => {
    try {
      await dropRun(client, name)
    } finally {
      await client.end()
    }
  }
  try {
    await requirePrivileges(client)
    await lockRun(client, id)
    await dropStaleRuns(client)
    await makeRole(client, details)
    await makeTemplate(client, details)
    return { details, close }
  } catch (error) {
    // What went wrong first tells more than what then cannot be undone.
    await close().catch(() => {})
    throw error
  }
}

async function requirePrivileges(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ fit: boolean }>(
    `select rolsuper or (rolcreatedb and rolcreaterole and rolbypassrls) as fit
     from pg_roles where rolname = current_user`,
  )
  if (rows[0]?.fit === true) return
  throw new Error(
    'TEST_DATABASE_URL (or DATABASE_URL) must name a superuser, or a role with CREATEDB, ' +
      'CREATEROLE and BYPASSRLS: the tests make databases and look behind row security.',
  )
}

async function makeRole(client: pg.Client, { name, password }: TestRun): Promise<void> {
  await client.query(
    `create role ${name} login nosuperuser nobypassrls nocreatedb nocreaterole password '${password}'`,
  )
  // Membership lets an administrator who is no superuser make and drop databases in its name.
  await client.query(`grant ${name} to current_user`)
}

async function makeTemplate(client: pg.Client, run: TestRun): Promise<void> {
  const { template, name, password } = run
  await client.query(`create database ${template} owner ${name}`)
  const login = { user: name, password, database: template }
  await migrateToLatest(withLogin(run.adminConnectionString, login))
  // A database can be cloned only while nobody is connected to it.
  await client.query(`alter database ${template} with allow_connections false`)
  await untilLeft(client, template)
}

/**
 * The migrations' pools close their connections a moment after they say so. Terminating one that is
 * closing is an error that nobody handles.
 */
async function untilLeft(client: pg.Client, database: string): Promise<void> {
  const connected = 'select 1 from pg_stat_activity where datname = $1'
  while ((await client.query(connected, [database])).rows.length > 0) await setTimeout(10)
}
