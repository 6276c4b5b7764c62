import { chmod, mkdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { EmbeddedPostgresError, WAY_OUT } from './embedded-postgres-error.ts'
import { messageOf } from './error-text.ts'

/** Everything that one embedded server keeps, under one private folder. */
export type EmbeddedFolders = {
  root: string
  /** PostgreSQL's own data folder; appears by a rename, so it is complete or absent. */
  data: string
  log: string
  passwords: string
  lock: string
}

/**
 * Creates the folder (0700) and names what lies in it. The path is the real one: two launchers that
 * reach one folder through different symlinks must agree on the lock, the hash and `-D`.
 */
export async function openFolders(folder: string): Promise<EmbeddedFolders> {
  try {
    const created = await mkdir(folder, { recursive: true, mode: 0o700 })
    // `mode` applies to every folder made on the way, but only the last one holds secrets.
    if (created !== undefined) await chmod(folder, 0o700)
    const root = await realpath(folder)
    return {
      root,
      data: join(root, 'data'),
      log: join(root, 'server.log'),
      passwords: join(root, 'passwords.json'),
      lock: join(root, 'launch.lock'),
    }
  } catch (error) {
    throw new EmbeddedPostgresError(
      `The folder ${folder} for the embedded database cannot be used: ${messageOf(error)}. ` +
        `Make it writable for this user, ${WAY_OUT}.`,
      { cause: error },
    )
  }
}
