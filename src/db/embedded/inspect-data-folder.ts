import { chmod, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { EmbeddedPostgresError, WAY_OUT } from './embedded-postgres-error.ts'
import { unlessMissing } from './error-text.ts'

// Fixed by PostgreSQL (PG_CONTROL_FILE_SIZE), whatever the block size.
const PG_CONTROL_BYTES = 8192

/** What a person can do about a data folder that does not start; nothing is ever deleted for them. */
export function advice(dataFolder: string): string {
  return (
    `Nothing was changed or deleted. Restore ${dataFolder} from a backup, or move it away ` +
    `(mv '${dataFolder}' '${dataFolder}.broken') to begin with an empty database, ${WAY_OUT}.`
  )
}

/**
 * Looks whether the folder holds a cluster of this major version. Throws, naming the folder and
 * what to do, when it holds anything else.
 */
export async function inspectDataFolder(
  dataFolder: string,
  major: string,
): Promise<'absent' | 'usable'> {
  const found = await unlessMissing(stat(dataFolder))
  if (found === undefined) return 'absent'
  if (!found.isDirectory()) throw broken(dataFolder, 'it is not a folder')
  if ((await readdir(dataFolder)).length === 0) return 'absent'
  await checkVersion(dataFolder, major)
  const control = await unlessMissing(stat(join(dataFolder, 'global', 'pg_control')))
  if (control === undefined) throw broken(dataFolder, 'global/pg_control is missing')
  if (control.size !== PG_CONTROL_BYTES) {
    throw broken(dataFolder, `global/pg_control has ${control.size} bytes, not ${PG_CONTROL_BYTES}`)
  }
  // PostgreSQL refuses a folder that others can read, e.g. one that was copied.
  if ((found.mode & 0o077) !== 0 && process.platform !== 'win32') await chmod(dataFolder, 0o700)
  return 'usable'
}

/** Throws when an ordinary user meets another user's data. Root may use anybody's. */
export async function checkOwner(dataFolder: string): Promise<void> {
  const me = process.getuid?.()
  const owner = (await unlessMissing(stat(dataFolder)))?.uid
  if (me === undefined || me === 0 || owner === undefined || me === owner) return
  throw new EmbeddedPostgresError(
    `The data folder ${dataFolder} belongs to user ${owner}, but this process runs as user ${me}. ` +
      `Start it as that user, or give the folder away ` +
      `(sudo chown -R ${me} '${dataFolder}'), ${WAY_OUT}.`,
  )
}

async function checkVersion(dataFolder: string, major: string): Promise<void> {
  const version = (await unlessMissing(readFile(join(dataFolder, 'PG_VERSION'), 'utf8')))?.trim()
  if (version === major) return
  if (version === undefined) throw broken(dataFolder, 'PG_VERSION is missing')
  if (version === '') throw broken(dataFolder, 'PG_VERSION is empty')
  throw broken(
    dataFolder,
    `it was made by PostgreSQL ${version}, and this is PostgreSQL ${major}; ` +
      `take a dump with PostgreSQL ${version} first if you need what is in it`,
  )
}

function broken(dataFolder: string, reason: string): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `The data folder ${dataFolder} of the embedded database cannot be used: ${reason}. ` +
      advice(dataFolder),
  )
}
