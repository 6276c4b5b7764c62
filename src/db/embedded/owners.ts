import { randomBytes } from 'node:crypto'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { unlessMissing } from './error-text.ts'
import { isAlive, ownIdentity, type ProcessIdentity } from './process-identity.ts'

const NAME = /^owner-[0-9a-f]+\.json$/

/** Notes that this process uses the server. Returns the file that says so. Hold the lock. */
export async function registerOwner(root: string): Promise<string> {
  const path = join(root, `owner-${randomBytes(8).toString('hex')}.json`)
  await writeFile(path, JSON.stringify(await ownIdentity()))
  return path
}

/** Ids of the living processes that use the server; forgets the dead ones. Hold the lock. */
export async function liveOwners(root: string): Promise<number[]> {
  const files = (await readdir(root)).filter((name) => NAME.test(name)).map((n) => join(root, n))
  const pids = await Promise.all(files.map(livePid))
  return pids.filter((pid) => pid !== undefined)
}

async function livePid(path: string): Promise<number | undefined> {
  const owner = await readOwner(path)
  if (owner !== undefined && (await isAlive(owner))) return owner.pid
  await rm(path, { force: true })
  return undefined
}

async function readOwner(path: string): Promise<ProcessIdentity | undefined> {
  const text = await unlessMissing(readFile(path, 'utf8'))
  try {
    // We wrote it ourselves; what is not an identity is treated as a dead owner.
    const owner = JSON.parse(text ?? '') as Partial<ProcessIdentity>
    const { pid, started } = owner
    return pid === undefined || started === undefined ? undefined : { pid, started }
  } catch {
    return undefined
  }
}
