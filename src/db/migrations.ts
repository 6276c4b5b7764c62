import { readdir } from 'node:fs/promises'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runMigrations } from 'graphile-worker'
import type { Knex } from 'knex'
import { connect, type Db } from './connect.ts'

const FOLDER = new URL('../../migrations/', import.meta.url)

type NamedMigration = Knex.Migration & { name: string }

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

/** Those that are made from definitions in the code; see migrations/derived_*.ts. */
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

/**
 * Finds migrations beside the code that runs, `.ts` in the checkout and `.js` in `dist`, and names
 * them without the extension: knex's own source stores it, and a database migrated from the one
 * then refuses the other. Numbered ones come first, in their order.
 */
export const migrationSource: Knex.MigrationSource<NamedMigration> = {
  getMigrations: async () => [...(await numbered()), ...(await derived())],
  getMigrationName: ({ name }) => name,
  getMigration: async (migration) => migration,
}

// Any constant of our own; advisory locks share one number space for the whole database.
const MIGRATION_LOCK = 7_301_950_001

const CONFIG: Knex.MigratorConfig = {
  migrationSource,
  tableName: 'knex_migrations',
  // An old process may start beside a newer schema; `schema_version` says until when that is fine.
  disableMigrationsListValidation: true,
}

/**
 * Brings the schema, and graphile-worker's own, up to date. Safe when several processes start at
 * once: the others wait for the first. Safe after a crash: each migration is one transaction, and
 * knex's lock row, which a killed process leaves behind, is freed under our advisory lock.
 */
export async function migrateToLatest(connectionString: string): Promise<void> {
  await underMigrationLock(connectionString, async (db) => {
    await db.migrate.latest(CONFIG)
    await runMigrations({ connectionString })
  })
}

/** Undoes all migrations of ours, newest first. For tests and for emptying a development database. */
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
  const db = connect(connectionString, { max: 2 })
  try {
    await lockHolder.transaction(async (trx) => {
      // The server may have a statement timeout; waiting for another migrator is not an error.
      await trx.raw(`set local statement_timeout = 0`)
      await trx.raw(`select pg_advisory_xact_lock(?)`, [MIGRATION_LOCK])
      await db.migrate.forceFreeMigrationsLock(CONFIG)
      await work(db)
    })
  } finally {
    await db.destroy()
    await lockHolder.destroy()
  }
}

/** This service's schema generation. Raised by the release that a breaking migration belongs to. */
const SERVICE_SCHEMA = 1

const UNDEFINED_TABLE = '42P01'

/**
 * True when the database's schema serves this version: every migration that we know is applied, and
 * the recorded minimum is not above ours. A newer schema is fine until that minimum says otherwise.
 */
export async function isSchemaCompatible(db: Db): Promise<boolean> {
  try {
    const files = await migrationSource.getMigrations([])
    const names = files.map((file) => migrationSource.getMigrationName(file))
    const applied = await db('knex_migrations').whereIn('name', names).count<{ count: number }[]>()
    const row = await db('schema_version').first<{ minimum_service_schema: number }>()
    return applied[0]?.count === names.length && row.minimum_service_schema <= SERVICE_SCHEMA
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === UNDEFINED_TABLE) return false
    throw error
  }
}
