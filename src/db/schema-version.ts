import type { Db } from './connect.ts'
import { migrationSource } from './migration-source.ts'

/** This service's schema generation. Raised by the release that a breaking migration belongs to. */
const SERVICE_SCHEMA = 1

const UNDEFINED_TABLE = '42P01'

/**
 * True when the database's schema serves this version: every migration that we know is applied, and
 * the recorded minimum is not above ours. A newer schema is fine until that minimum says otherwise.
 */
export async function schemaServesUs(db: Db): Promise<boolean> {
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
