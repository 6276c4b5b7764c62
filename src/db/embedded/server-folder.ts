import { randomBytes } from 'node:crypto'
import { chmod, chown, mkdir, readFile, realpath, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  EmbeddedPostgresError,
  errorMessage,
  OR_SET_DATABASE_URL,
  unlessMissing,
} from './embedded-postgres-error.ts'

/** The private folder of one embedded server. */
export type EmbeddedFolders = {
  root: string
  /** PostgreSQL's data folder. A rename creates it, so it is complete or absent. */
  data: string
  log: string
  passwords: string
  lock: string
}

/**
 * Creates the folder (0700). Its path is the real one, because launchers that use different symlinks
 * to one folder must agree on the lock, the hash and `-D`.
 */
export async function openFolders(folder: string): Promise<EmbeddedFolders> {
  try {
    const created = await mkdir(folder, { recursive: true, mode: 0o700 })
    // `mode` applies to every created folder, but only the last one contains secrets.
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
      `The folder ${folder} for the embedded database cannot be used: ${errorMessage(error)}. ` +
        `Make it writable for this user, ${OR_SET_DATABASE_URL}.`,
      { cause: error },
    )
  }
}

/** Random passwords of the superuser and of the service's role. Letters, digits, - and _. */
export type Passwords = { admin: string; application: string }

/** The passwords in the file. Without a file, creates them and writes it with mode 0600. */
export async function loadPasswords(path: string, owner?: FileOwner): Promise<Passwords> {
  const kept = parse((await unlessMissing(readFile(path, 'utf8'))) ?? '')
  if (kept !== undefined) return kept
  const fresh = { admin: secret(), application: secret() }
  await writePrivateFile(path, `${JSON.stringify(fresh, null, 2)}\n`, owner)
  return fresh
}

// base64url needs no quoting in SQL or in a URL.
function secret(): string {
  return randomBytes(24).toString('base64url')
}

// A damaged file is replaced. The launcher then resets the superuser's password in the data folder, so
// no data is lost.
function parse(text: string): Passwords | undefined {
  try {
    // We wrote it. Every field is checked below.
    const { admin, application } = JSON.parse(text) as Partial<Passwords>
    const usable = [admin, application].every((word) => /^[\w-]{16,}$/.test(word ?? ''))
    return usable && admin && application ? { admin, application } : undefined
  } catch {
    return undefined
  }
}

/** The numeric ids of the user who owns the data folder on the host. */
export type FileOwner = { uid: number; gid: number }

/** Writes a file with mode 0600, completely or not at all. Root gives it to `owner`. */
export async function writePrivateFile(
  path: string,
  content: string,
  owner: FileOwner | undefined,
): Promise<void> {
  const draft = `${path}.draft`
  await writeFile(draft, content, { mode: 0o600 })
  if (owner !== undefined) await chown(draft, owner.uid, owner.gid)
  await rename(draft, path)
}

/** What the caller may choose. `maxConnections` counts all clients together. */
export type ServerOptions = { durable: boolean; maxConnections: number }
