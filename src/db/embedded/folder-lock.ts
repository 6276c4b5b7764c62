import { randomBytes } from 'node:crypto'
import { link, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { codeOf, unlessMissing } from './error-text.ts'
import { isAlive, ownIdentity, type ProcessIdentity } from './process-identity.ts'

type Holder = ProcessIdentity & { token: string }

const POLL_MS = 20

/**
 * Runs `work` while this process alone holds the lock file. A lock whose holder died is taken over
 * at once. Throws an {@link EmbeddedPostgresError} after `waitMs` milliseconds of a living holder.
 */
export async function withFolderLock<T>(
  path: string,
  waitMs: number,
  work: () => Promise<T>,
): Promise<T> {
  const me: Holder = { ...(await ownIdentity()), token: randomBytes(8).toString('hex') }
  const deadline = Date.now() + waitMs
  while (!(await tryLock(path, me))) {
    if (Date.now() > deadline) throw await stillHeld(path, waitMs)
    await sleep(POLL_MS)
  }
  try {
    await removeOldDrafts(path)
    return await work()
  } finally {
    await release(path, me)
  }
}

// A draft lives for less than a millisecond, unless its process was killed within it.
const OLD_DRAFT_MS = 60_000

async function removeOldDrafts(path: string): Promise<void> {
  const prefix = `${basename(path)}.`
  const names = await readdir(dirname(path))
  for (const name of names.filter((n) => n.startsWith(prefix) && n.endsWith('.draft'))) {
    const draft = join(dirname(path), name)
    const found = await unlessMissing(stat(draft))
    if (found !== undefined && Date.now() - found.mtimeMs > OLD_DRAFT_MS) {
      await rm(draft, { force: true })
    }
  }
}

async function tryLock(path: string, me: Holder): Promise<boolean> {
  if (await create(path, me)) return true
  const holder = await readHolder(path)
  if (holder === undefined || (await isAlive(holder))) return false
  return takeOver(path, holder, me)
}

// Two heirs of one dead holder must not remove each other's lock. So the right to replace the lock
// of holder H is itself a lock, named after H; whoever has it looks again before replacing. Should
// that heir die too, the same rule applies to its lock, one level down.
async function takeOver(path: string, dead: Holder, me: Holder): Promise<boolean> {
  const succession = `${path}.${dead.token}`
  if (!(await tryLock(succession, me))) return false
  try {
    if ((await readHolder(path))?.token !== dead.token) return false
    const draft = await writeDraft(path, me)
    await rename(draft, path)
    return true
  } finally {
    await release(succession, me)
  }
}

// `link` creates the lock together with its content, so nobody ever reads a half-written one.
async function create(path: string, me: Holder): Promise<boolean> {
  const draft = await writeDraft(path, me)
  try {
    await link(draft, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  } finally {
    await rm(draft, { force: true })
  }
}

async function writeDraft(path: string, me: Holder): Promise<string> {
  const draft = `${path}.${me.token}.draft`
  await writeFile(draft, JSON.stringify(me))
  return draft
}

async function release(path: string, me: Holder): Promise<void> {
  if ((await readHolder(path))?.token === me.token) await rm(path, { force: true })
}

async function readHolder(path: string): Promise<Holder | undefined> {
  const text = await unlessMissing(readFile(path, 'utf8'))
  return text === undefined ? undefined : parseHolder(text)
}

// After a power cut the file may be empty; no process that wrote it can still be alive then.
function parseHolder(text: string): Holder {
  try {
    // We wrote it ourselves, and a wrong type only makes the holder look dead.
    const { pid, started, token } = JSON.parse(text) as Partial<Holder>
    if (pid !== undefined && started !== undefined && token !== undefined) {
      return { pid, started, token }
    }
  } catch {
    // Falls through to the dead holder.
  }
  return { pid: 2 ** 31 - 1, started: 'never', token: 'unreadable' }
}

async function stillHeld(path: string, waitMs: number): Promise<EmbeddedPostgresError> {
  const holder = await readHolder(path)
  return new EmbeddedPostgresError(
    `Process ${holder?.pid ?? '?'} has been starting or stopping the embedded database for more ` +
      `than ${Math.round(waitMs / 1000)} seconds (lock file ${path}). End that process and try again.`,
  )
}
