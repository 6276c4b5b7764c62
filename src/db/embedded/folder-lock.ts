import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { link, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { EmbeddedPostgresError, errorCode, unlessMissing } from './embedded-postgres-error.ts'

type Holder = ProcessIdentity & { token: string }

const POLL_MS = 20

/**
 * Runs `work` while this process holds the lock file. It takes over the lock of a dead process
 * immediately. Throws an {@link EmbeddedPostgresError} if a living process holds it for `waitMs`.
 */
export async function withFolderLock<T>(
  path: string,
  waitMs: number,
  work: () => Promise<T>,
): Promise<T> {
  const me: Holder = { ...(await ownIdentity()), token: randomBytes(8).toString('hex') }
  const deadline = Date.now() + waitMs
  while (!(await tryLock(path, me))) {
    if (Date.now() > deadline) throw await lockTimeoutError(path, waitMs)
    await sleep(POLL_MS)
  }
  try {
    await removeOldDrafts(path)
    return await work()
  } finally {
    await release(path, me)
  }
}

// A draft exists for less than a millisecond, unless its process was killed.
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

// Two processes that take over from one dead holder must not remove each other's lock. So the right to
// replace the lock of holder H is a lock itself, named after H. Its holder checks again before it
// replaces. If that holder dies too, the same rule applies to its lock.
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

// `link` creates the lock with its content, so no process reads an incomplete lock.
async function create(path: string, me: Holder): Promise<boolean> {
  const draft = await writeDraft(path, me)
  try {
    await link(draft, path)
    return true
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
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

// After a power failure the file may be empty. The process that wrote it cannot be alive then.
function parseHolder(text: string): Holder {
  try {
    // We wrote it. A wrong type only makes the holder look dead.
    const { pid, started, token } = JSON.parse(text) as Partial<Holder>
    if (pid !== undefined && started !== undefined && token !== undefined) {
      return { pid, started, token }
    }
  } catch {
    // Treated as a dead holder below.
  }
  return { pid: 2 ** 31 - 1, started: 'never', token: 'unreadable' }
}

async function lockTimeoutError(path: string, waitMs: number): Promise<EmbeddedPostgresError> {
  const holder = await readHolder(path)
  return new EmbeddedPostgresError(
    `Process ${holder?.pid ?? '?'} has been starting or stopping the embedded database for more ` +
      `than ${Math.round(waitMs / 1000)} seconds (lock file ${path}). End that process and start again.`,
  )
}

const NAME = /^owner-[0-9a-f]+\.json$/

/** Registers this process as a user of the server. Returns its file. Hold the lock. */
export async function registerOwner(root: string): Promise<string> {
  const path = join(root, `owner-${randomBytes(8).toString('hex')}.json`)
  await writeFile(path, JSON.stringify(await ownIdentity()))
  return path
}

/** Ids of the living processes that use the server. Removes the dead ones. Hold the lock. */
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
    // We wrote it. Anything that is not an identity counts as a dead owner.
    const owner = JSON.parse(text ?? '') as Partial<ProcessIdentity>
    const { pid, started } = owner
    return pid === undefined || started === undefined ? undefined : { pid, started }
  } catch {
    return undefined
  }
}

const run = promisify(execFile)

/**
 * Identifies one process for ever. The process id is not enough: in a container, the restarted service
 * gets the same id that the killed one had.
 */
export type ProcessIdentity = { pid: number; started: string }

// Used where the start time cannot be read (Windows, /proc mounted with hidepid). Then only the id counts.
const UNKNOWN = 'unknown'

/** The start time of process `pid` as a text to compare, or undefined if it is dead or a zombie. */
export async function processStart(pid: number): Promise<string | undefined> {
  if (!answersSignals(pid)) return undefined
  if (process.platform === 'linux') return startOnLinux(pid)
  if (process.platform === 'win32') return UNKNOWN
  return startByPs(pid)
}

/** The identity of this process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  return { pid: process.pid, started: (await processStart(process.pid)) ?? UNKNOWN }
}

/** Whether this process is alive, and not another one with the same id. */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const started = await processStart(identity.pid)
  if (started === undefined) return false
  return started === identity.started || started === UNKNOWN || identity.started === UNKNOWN
}

function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // The process belongs to another user, so it cannot be signalled, but it is alive.
    return errorCode(error) === 'EPERM'
  }
}

async function startOnLinux(pid: number): Promise<string | undefined> {
  const stat = await unlessMissing(readFile(`/proc/${pid}/stat`, 'utf8'))
  if (stat === undefined) return answersSignals(pid) ? UNKNOWN : undefined
  // The name in parentheses may contain spaces and parentheses. The fields begin after the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  // A zombie accepts signals until its parent reaps it, which node as pid 1 of a container never does.
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined
  return `${await bootId()}/${fields[19]}`
}

async function bootId(): Promise<string> {
  const id = await unlessMissing(readFile('/proc/sys/kernel/random/boot_id', 'utf8'))
  return id?.trim() ?? ''
}

async function startByPs(pid: number): Promise<string | undefined> {
  try {
    // Fixed language and time zone, so that the text for a process never changes.
    const env = { LC_ALL: 'C', TZ: 'UTC' }
    const { stdout } = await run('/bin/ps', ['-o', 'state=,lstart=', '-p', String(pid)], { env })
    const [state = '', ...started] = stdout.trim().split(/\s+/)
    return state.startsWith('Z') ? undefined : started.join(' ')
  } catch {
    return answersSignals(pid) ? UNKNOWN : undefined
  }
}
