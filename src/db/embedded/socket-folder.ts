import { createHash } from 'node:crypto'
import { chown, lstat, mkdir, mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { codeOf, unlessMissing } from './error-text.ts'
import type { FileOwner } from './private-file.ts'

/** Only names the socket's file; the folder is the server's own, so the number never collides. */
export const SOCKET_PORT = 5432

// sockaddr_un holds 108 bytes on Linux and 104 on macOS, with the closing zero.
const LONGEST_SOCKET_PATH = 103

const PREFIX = 'sponsor-vouchers-'

/**
 * A private folder (0700) with a short path for the server's unix socket, since project paths may
 * be longer than a socket's may. The name follows from the data folder; if somebody else occupies
 * it, a random one is made. Nothing when no path is short enough.
 */
export async function makeSocketFolder(
  dataFolder: string,
  owner: FileOwner | undefined,
): Promise<string | undefined> {
  const hash = createHash('sha256').update(dataFolder).digest('hex').slice(0, 12)
  for (const parent of new Set([tmpdir(), '/tmp'])) {
    const folder = join(parent, `${PREFIX}${hash}`)
    // The random name below is the longer one.
    const longest = join(`${folder}-XXXXXX`, `.s.PGSQL.${SOCKET_PORT}`)
    if (Buffer.byteLength(longest) > LONGEST_SOCKET_PATH) continue
    const made = await makePrivate(folder, owner).catch(() => undefined)
    if (made !== undefined) return made
  }
  return undefined
}

/** Removes a folder made here, once the server has taken its socket away; else leaves it. */
export async function removeSocketFolder(folder: string): Promise<void> {
  if (basename(folder).startsWith(PREFIX)) await rmdir(folder).catch(() => {})
}

async function makePrivate(folder: string, owner: FileOwner | undefined): Promise<string> {
  try {
    await mkdir(folder, { mode: 0o700 })
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  }
  const usable = (await isPrivate(folder, owner)) ? folder : await mkdtemp(`${folder}-`)
  if (owner !== undefined) await chown(usable, owner.uid, owner.gid)
  return usable
}

// The name can be guessed, so anybody on this machine may have made it first.
async function isPrivate(folder: string, owner: FileOwner | undefined): Promise<boolean> {
  const found = await unlessMissing(lstat(folder))
  if (found === undefined || !found.isDirectory() || (found.mode & 0o077) !== 0) return false
  return found.uid === process.getuid?.() || found.uid === owner?.uid
}
