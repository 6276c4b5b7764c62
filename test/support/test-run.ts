import { randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import pg from 'pg'
import { migrateToLatest } from '../../src/db/migrations.ts'
import { withLogin } from './test-connections.ts'

/** What a worker needs to make databases. Plain data: it crosses a process boundary. */
export type TestRun = {
  adminConnectionString: string
  /** The same server through a pooler, which then carries the statements of the service. null: there is none. */
  pooledConnectionString: string | null
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
export async function openTestRun(
  adminConnectionString: string,
  pooledConnectionString: string | null = null,
): Promise<OpenTestRun> {
  const id = randomBytes(4).toString('hex')
  const name = `${PREFIX}${id}`
  const details = {
    adminConnectionString,
    pooledConnectionString,
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
  // Each login of the tests repeats these iterations, and there are thousands. Postgres 16 and later.
  await client.query(
    `select set_config('scram_iterations', '1', false) from pg_settings where name = 'scram_iterations'`,
  )
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
  await waitUntilUnused(client, template)
}

/**
 * The migrations' pools close their connections a moment after they say so. Terminating one that is
 * closing is an error that nobody handles.
 */
async function waitUntilUnused(client: pg.Client, database: string): Promise<void> {
  const connected = 'select 1 from pg_stat_activity where datname = $1'
  while ((await client.query(connected, [database])).rows.length > 0) await setTimeout(10)
}

/** Names of databases and roles: this, the run's id of eight hex digits, and a part for each file. */
const PREFIX = 'sv_test_'

// First half of the advisory lock that a run holds while it lives; the second is its id.
const RUN_LOCK = 1_905_271

// Held while dropping, so that two runs that start together do not drop the same things.
const DROP_LOCK = 1_905_272

const RUN_NAME = `^${PREFIX}[0-9a-f]{8}`

/** Marks the run with this id as alive until the session ends. */
async function lockRun(client: pg.Client, id: string): Promise<void> {
  // As the signed 32-bit number that an advisory lock takes.
  const key = Number.parseInt(id, 16) | 0
  await client.query('select pg_advisory_lock($1, $2)', [RUN_LOCK, key])
}

/** Drops databases and roles of runs that no longer hold their lock, i.e. whose process died. */
async function dropStaleRuns(client: pg.Client): Promise<void> {
  await client.query('select pg_advisory_lock($1)', [DROP_LOCK])
  try {
    for (const name of await staleRuns(client)) await dropRun(client, name)
  } finally {
    await client.query('select pg_advisory_unlock($1)', [DROP_LOCK])
  }
}

/** Drops all databases and roles of one run, and ends whoever is connected to them. */
async function dropRun(client: pg.Client, name: string): Promise<void> {
  const databases = await client.query<{ datname: string }>(
    `select datname from pg_database where starts_with(datname, $1)`,
    [`${name}_`],
  )
  for (const { datname } of databases.rows) {
    await client.query(`drop database if exists ${datname} with (force)`)
  }
  const roles = await client.query<{ rolname: string }>(
    `select rolname from pg_roles where rolname = $1 or starts_with(rolname, $1 || '_')`,
    [name],
  )
  for (const { rolname } of roles.rows) await client.query(`drop role if exists ${rolname}`)
}

async function staleRuns(client: pg.Client): Promise<string[]> {
  // A lock is held on the database of its session, so only runs through this same one are seen;
  // all runs of one connection string share it.
  const { rows } = await client.query<{ name: string }>(
    `with runs as (
       select substring(datname from $1) as name from pg_database
       union
       select substring(rolname from $1) from pg_roles
     )
     select name from runs
     where name is not null and not exists (
       select from pg_locks l
       where l.locktype = 'advisory' and l.classid = $2::bigint::oid
         and l.database = (select oid from pg_database where datname = current_database())
         and l.objid = ('x' || right(name, 8))::bit(32)::bigint::oid
     )`,
    [RUN_NAME, RUN_LOCK],
  )
  return rows.map((row) => row.name)
}
