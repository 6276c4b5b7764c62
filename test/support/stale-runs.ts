import type pg from 'pg'

/** Names of databases and roles: this, the run's id of eight hex digits, and a part for each file. */
export const PREFIX = 'sv_test_'

// First half of the advisory lock that a run holds while it lives; the second is its id.
const RUN_LOCK = 1_905_271

// Held while dropping, so that two runs that start together do not drop the same things.
const DROP_LOCK = 1_905_272

const RUN_NAME = `^${PREFIX}[0-9a-f]{8}`

/** Marks the run with this id as alive until the session ends. */
export async function lockRun(client: pg.Client, id: string): Promise<void> {
  // As the signed 32-bit number that an advisory lock takes.
  const key = Number.parseInt(id, 16) | 0
  await client.query('select pg_advisory_lock($1, $2)', [RUN_LOCK, key])
}

/** Drops databases and roles of runs that no longer hold their lock, i.e. whose process died. */
export async function dropStaleRuns(client: pg.Client): Promise<void> {
  await client.query('select pg_advisory_lock($1)', [DROP_LOCK])
  try {
    for (const name of await staleRuns(client)) await dropRun(client, name)
  } finally {
    await client.query('select pg_advisory_unlock($1)', [DROP_LOCK])
  }
}

/** Drops all databases and roles of one run, and ends whoever is connected to them. */
export async function dropRun(client: pg.Client, name: string): Promise<void> {
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
