import { readdir } from 'node:fs/promises'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Knex } from 'knex'

const FOLDER = new URL('../../migrations/', import.meta.url)

/**
 * Finds migrations beside the code that runs, `.ts` in the checkout and `.js` in `dist`, and names
 * them without the extension: knex's own source stores it, and a database migrated from the one
 * then refuses the other.
 */
export const migrationSource: Knex.MigrationSource<string> = {
  async getMigrations() {
    const files = await readdir(fileURLToPath(FOLDER))
    return files.filter((file) => /^\d{4}_.*\.(ts|js)$/.test(file)).toSorted()
  },
  getMigrationName: (file) => file.slice(0, -extname(file).length),
  getMigration: (file) => import(new URL(file, FOLDER).href) as Promise<Knex.Migration>,
}
