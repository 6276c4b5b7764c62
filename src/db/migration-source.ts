import { readdir } from 'node:fs/promises'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Knex } from 'knex'

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
