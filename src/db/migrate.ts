import { runMigrations } from 'graphile-worker'
import type { Knex } from 'knex'
import { connect } from './connect.ts'
import { migrationSource } from './migration-source.ts'

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
