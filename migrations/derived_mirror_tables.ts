import type { Knex } from 'knex'
import {
  dropMirrorTable,
  migrateMirrorTable,
  shapeName,
} from '../src/mirror/migrate-mirror-table.ts'
import { ALL_RESOURCES } from '../src/mirror/resource-registry.ts'

/**
 * A migration for each table of the mirror, derived from the resource's definition and named after its
 * shape. So a new resource is one file, a new column is one line, and `isSchemaCompatible` checks both.
 */
export const migrations: readonly (Knex.Migration & { name: string })[] = ALL_RESOURCES.map(
  (resource) => ({
    name: `derived_mirror_${shapeName(resource)}`,
    up: (knex) => migrateMirrorTable(knex, resource),
    down: (knex) => dropMirrorTable(knex, resource),
  }),
)
