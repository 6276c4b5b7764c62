import { readdir } from 'node:fs/promises'
import { extname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { runMigrations } from 'graphile-worker'
import type { Knex } from 'knex'
import { StartupError } from '../shared/errors.ts'
import { assertSessions } from './assert-sessions.ts'
import { connect, type Db } from './connect.ts'
import { isDeadlock, isLockTimeout } from './pg-errors.ts'

const FOLDER = new URL('../../migrations/', import.meta.url)

type NamedMigration = Knex.Migration & { name: string }

/**
 * Finds the migrations next to the running code: `.ts` in the checkout, `.js` in `dist`. Their names
 * have no extension. The source of knex stores the extension, so a database that was migrated with
 * `.ts` files refuses `.js` files. Numbered migrations come first.
 */
export const migrationSource: Knex.MigrationSource<NamedMigration> = {
  getMigrations: async () => [...(await numbered()), ...(await derived())],
  getMigrationName: ({ name }) => name,
  getMigration: async (migration) => migration,
}

/** Migrations that are derived from definitions in the code; see migrations/derived_*.ts. */
async function derived(): Promise<NamedMigration[]> {
  const files = await filesLike(/^derived_.*\.(ts|js)$/)
  const lists = await Promise.all(
    files.map(async (file) => {
      const module = (await import(new URL(file, FOLDER).href)) as {
        migrations: readonly NamedMigration[]
      }
      return module.migrations
    }),
  )
  return lists.flat()
}

async function filesLike(pattern: RegExp): Promise<string[]> {
  const files = await readdir(fileURLToPath(FOLDER))
  return files.filter((file) => pattern.test(file)).toSorted()
}

async function numbered(): Promise<NamedMigration[]> {
  const files = await filesLike(/^\d{4}_.*\.(ts|js)$/)
  return Promise.all(
    files.map(async (file) => {
      const migration = (await import(new URL(file, FOLDER).href)) as Knex.Migration
      return { ...migration, name: file.slice(0, -extname(file).length) }
    }),
  )
}

// Any constant. All advisory locks of a database share one number space.
const MIGRATION_LOCK = 7_301_950_001

const CONFIG: Knex.MigratorConfig = {
  migrationSource,
  tableName: 'knex_migrations',
  // An old process may start with a newer schema. `schema_version` says which ones may.
  disableMigrationsListValidation: true,
}

// While a migration waits for the lock of a table, every later request for that table waits behind it. So the migration
// fails after this time, lets these requests pass, and tries again. The time is less than Postgres' deadlock_timeout
// (1 s): when a request and a migration wait for each other, the migration ends first and the request goes on.
const LOCK_TIMEOUT_MS = 400
const PAUSE_MS = 1_000
const MAX_ATTEMPTS = 90

/**
 * Migrates the schema, including graphile-worker's, to the latest version. Several processes may call
 * it at the same time: the others wait for the first. It recovers from a crash: each migration is one
 * transaction or can be repeated, and the lock row of knex that a killed process leaves is freed under our
 * advisory lock.
 *
 * @param connectionString of Postgres itself, not of a pooler.
 * @throws StartupError when a transaction of somebody else keeps a table locked for two minutes.
 */
export async function migrateToLatest(connectionString: string): Promise<void> {
  await underMigrationLock(connectionString, async (db) => {
    // In a new database, no request waits for a lock. `latest` lists the migrations once, `up` before each of them.
    if ((await db.migrate.currentVersion(CONFIG)) === 'none') await db.migrate.latest(CONFIG)
    else while (await migrateNext(db));
    await runMigrations({ connectionString })
  })
}

/** Applies the next migration. One transaction for all of them would keep every lock until the last one ends. */
async function migrateNext(db: Knex): Promise<boolean> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const [, applied] = (await db.migrate.up(CONFIG)) as [number, string[]]
      return applied.length > 0
    } catch (error) {
      if (!isLockTimeout(error) && !isDeadlock(error)) throw error
      if (attempt === MAX_ATTEMPTS) throw new StartupError(LOCKED, { cause: error })
      await sleep(PAUSE_MS)
    }
  }
}

const LOCKED =
  'For two minutes, a transaction has locked a table that the next migration changes. End that transaction ' +
  '(pg_stat_activity shows it), then migrate again.'

/** Rolls back the migration that was applied last. @returns its name; null if there is none. */
export async function migrateBack(connectionString: string): Promise<string | null> {
  let undone: string | null = null
  await underMigrationLock(connectionString, async (db) => {
    // By its name: knex takes the last of the files, and a batch may have all migrations of a new database.
    const last = await db('knex_migrations')
      .orderBy('id', 'desc')
      .first<{ name: string } | undefined>()
    if (last === undefined) return
    await db.migrate.down({ ...CONFIG, name: last.name } as Knex.MigratorConfig)
    undone = last.name
  })
  return undone
}

/** Rolls back all our migrations, newest first. For tests and development databases. */
export async function migrateDown(connectionString: string): Promise<void> {
  await underMigrationLock(connectionString, async (db) => {
    await db.migrate.rollback(CONFIG, true)
  })
}

async function underMigrationLock(
  connectionString: string,
  work: (db: Knex) => Promise<void>,
): Promise<void> {
  const lockHolder = connect(connectionString, { max: 1 })
  const db = connect(connectionString, { max: 2, lockTimeoutMs: LOCK_TIMEOUT_MS })
  try {
    await assertSessions(lockHolder, { connectionString, directConnectionString: connectionString })
    await lockHolder.transaction(async (trx) => {
      // The server may end transactions that do nothing.
      await trx.raw(`set local idle_in_transaction_session_timeout = 0`)
      while (!(await takeMigrationLock(trx))) await sleep(POLL_MS)
      await db.migrate.forceFreeMigrationsLock(CONFIG)
      await work(db)
    })
  } finally {
    await db.destroy()
    await lockHolder.destroy()
  }
}

const POLL_MS = 250

/**
 * Keeps no snapshot, for which `create index concurrently` would wait: it does not wait itself, and has no
 * parameters, so it is sent by the protocol that closes a statement at its end.
 */
async function takeMigrationLock(trx: Knex): Promise<boolean> {
  const { rows } = await trx.raw<{ rows: { taken: boolean }[] }>(
    `select pg_try_advisory_xact_lock(${MIGRATION_LOCK}) as taken`,
  )
  return rows[0]?.taken === true
}

/** The schema generation of this release. Raise it with a breaking migration. */
const SERVICE_SCHEMA = 1

const UNDEFINED_TABLE = '42P01'

/**
 * Whether this release can use the database's schema: all its migrations are applied, and the recorded
 * minimum generation is not above its own. A newer schema is compatible until that minimum is raised.
 */
export async function isSchemaCompatible(db: Db): Promise<boolean> {
  try {
    const names = await migrationNames()
    const applied = await db('knex_migrations').whereIn('name', names).count<{ count: number }[]>()
    const row = await db('schema_version').first<{ minimum_service_schema: number }>()
    return applied[0]?.count === names.length && row.minimum_service_schema <= SERVICE_SCHEMA
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === UNDEFINED_TABLE) return false
    throw error
  }
}

let namesOnce: Promise<string[]> | undefined

/** The names of this release's migrations. Reads them once, because that imports every file. */
export function migrationNames(): Promise<string[]> {
  namesOnce ??= migrationSource
    .getMigrations([])
    .then((migrations) => migrations.map((each) => migrationSource.getMigrationName(each)))
  return namesOnce
}
