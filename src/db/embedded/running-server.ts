import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readlink,
  rename,
  rmdir,
  stat,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { asMyself, runCommand } from './choose-runner.ts'
import {
  EmbeddedPostgresError,
  errorCode,
  OR_SET_DATABASE_URL,
  unlessMissing,
} from './embedded-postgres-error.ts'
import { isAlive, type ProcessIdentity, processStart } from './folder-lock.ts'
import { locateBinaries } from './postgres-binaries.ts'
import type { FileOwner } from './server-folder.ts'

const run = promisify(execFile)
const STATUS_POLL_MS = 20

// A start replays the log written since the last checkpoint; with default settings (1 GB) that is
// well below a minute even on slow disks.
export const SERVER_TIMEOUT_MS = 120_000

// PostgreSQL fills the file within milliseconds, so an older unreadable one is what a crash left.
const HALF_WRITTEN_MS = 2_000

/** The living server of this data folder, in whatever state it is; nothing when there is none. */
export async function findServer(dataFolder: string): Promise<PostmasterPid | undefined> {
  for (;;) {
    const file = await readPostmasterPid(dataFolder)
    if (file.kind === 'absent') return undefined
    if (file.kind === 'present')
      return (await isServerOf(dataFolder, file.content)) ? file.content : undefined
    if (file.ageMs > HALF_WRITTEN_MS) return setAside(dataFolder)
    await sleep(STATUS_POLL_MS)
  }
}

/** As {@link findServer}, but waits until a server that is starting or stopping has done so. */
export async function findReadyServer(dataFolder: string): Promise<PostmasterPid | undefined> {
  const deadline = Date.now() + SERVER_TIMEOUT_MS
  for (;;) {
    const server = await findServer(dataFolder)
    if (server === undefined || server.status === 'ready') return server
    if (Date.now() > deadline) throw serverBusyError(dataFolder, server)
    await sleep(STATUS_POLL_MS)
  }
}

async function isServerOf(dataFolder: string, server: PostmasterPid): Promise<boolean> {
  // The file of a dead server stays: PostgreSQL needs it to find orphans that use its memory.
  if ((await processStart(server.pid)) === undefined) return false
  if (await servesFolder(server.pid, dataFolder)) return true
  // The id went to another process, after a reboot or in a restarted container. PostgreSQL would
  // refuse to start for as long as that one lives.
  await setAside(dataFolder)
  return false
}

async function setAside(dataFolder: string): Promise<undefined> {
  const path = postmasterPidPath(dataFolder)
  await rename(path, `${path}.stale`)
  return undefined
}

/** Whether the living process is a PostgreSQL server on the folder. In doubt it is. */
async function servesFolder(pid: number, dataFolder: string): Promise<boolean> {
  if (process.platform === 'linux') return servesOnLinux(pid, dataFolder)
  // On Windows PostgreSQL itself tells its servers from other processes.
  if (process.platform === 'win32') return true
  const line = await run('/bin/ps', ['-o', 'command=', '-p', String(pid)]).catch(() => undefined)
  if (line === undefined) return true
  const relative = /postgres/.test(line.stdout) && !/ -D \//.test(line.stdout)
  return relative || line.stdout.includes(dataFolder)
}

async function servesOnLinux(pid: number, dataFolder: string): Promise<boolean> {
  // A server lives in its data folder, however it was started; another user's may not be looked at.
  if ((await readlink(`/proc/${pid}/cwd`).catch(() => '')) === dataFolder) return true
  const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined)
  if (line === undefined) return true
  const [program = '', ...args] = line.split('\0')
  return basename(program).startsWith('postgres') && args.includes(dataFolder)
}

function serverBusyError(dataFolder: string, server: PostmasterPid): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `The database server in ${dataFolder} (process ${server.pid}) has been ${server.status} for ` +
      `${SERVER_TIMEOUT_MS / 1000} seconds. Look into server.log beside it, end that process if it ` +
      `makes no progress (kill -QUIT ${server.pid}; nothing committed is lost), ${OR_SET_DATABASE_URL}.`,
  )
}

/** What a running server writes into its data folder: postmaster.pid, line by line. */
export type PostmasterPid = {
  pid: number
  port: number
  /** Folder of the unix socket; empty when it listens on TCP only. */
  socketFolder: string
  status: 'starting' | 'stopping' | 'ready'
}

export type PostmasterPidFile =
  | { kind: 'absent' }
  /** Half-written, or emptied by a power cut. `ageMs` tells which. */
  | { kind: 'unreadable'; ageMs: number }
  | { kind: 'present'; content: PostmasterPid }

function postmasterPidPath(dataFolder: string): string {
  return join(dataFolder, 'postmaster.pid')
}

/** Reads the data folder's postmaster.pid; it says nothing about whether that process still lives. */
export async function readPostmasterPid(dataFolder: string): Promise<PostmasterPidFile> {
  const path = postmasterPidPath(dataFolder)
  const text = await unlessMissing(readFile(path, 'utf8'))
  if (text === undefined) return { kind: 'absent' }
  const content = parsePostmasterPid(text)
  if (content !== undefined) return { kind: 'present', content }
  const file = await unlessMissing(stat(path))
  return file === undefined
    ? { kind: 'absent' }
    : { kind: 'unreadable', ageMs: Date.now() - file.mtimeMs }
}

// Lines: pid, data folder, start time, port, socket folder, listen address, shared memory, status.
// https://www.postgresql.org/docs/18/storage-file-layout.html
function parsePostmasterPid(text: string): PostmasterPid | undefined {
  const [pid = '', , , port = '', socketFolder = '', , , status = ''] = text.split('\n')
  if (!/^\d+$/.test(pid.trim())) return undefined
  return {
    pid: Number(pid),
    port: Number(port),
    socketFolder: socketFolder.trim(),
    status: parseStatus(status.trim()),
  }
}

// The status comes last; while the file is being filled there is none.
function parseStatus(word: string): PostmasterPid['status'] {
  return word === 'ready' || word === 'stopping' ? word : 'starting'
}

const EXIT_POLL_MS = 10

// Fast shutdown ends all sessions and writes a checkpoint; immediate leaves recovery to the next
// start, and within it PostgreSQL kills after five seconds what does not end.
const STEPS = [
  { signal: 'SIGINT', mode: 'fast', waitMs: 20_000 },
  { signal: 'SIGQUIT', mode: 'immediate', waitMs: 10_000 },
  { signal: 'SIGKILL', mode: 'immediate', waitMs: 2_000 },
] as const

/** Stops a server and waits for its end, at most about half a minute. Committed data is never lost. */
export async function stopServer(dataFolder: string, server: PostmasterPid): Promise<void> {
  const started = await processStart(server.pid)
  if (started === undefined) return
  const identity = { pid: server.pid, started }
  for (const step of STEPS) {
    await sendStop(dataFolder, server.pid, step)
    if (await hasEnded(identity, step.waitMs)) return removeSocketFolder(server.socketFolder)
  }
  throw new EmbeddedPostgresError(
    `The database server in ${dataFolder} (process ${server.pid}) does not stop.`,
  )
}

async function sendStop(
  dataFolder: string,
  pid: number,
  step: (typeof STEPS)[number],
): Promise<void> {
  if (process.platform === 'win32') return stopThroughPgCtl(dataFolder, step.mode)
  try {
    process.kill(pid, step.signal)
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return
    throw new EmbeddedPostgresError(
      `The database server in ${dataFolder} (process ${pid}) was started by another user and ` +
        `cannot be stopped by this one.`,
      { cause: error },
    )
  }
}

// Windows has no signals; pg_ctl speaks PostgreSQL's replacement for them.
async function stopThroughPgCtl(dataFolder: string, mode: string): Promise<void> {
  const { pgCtl } = await locateBinaries()
  await runCommand(asMyself.command(pgCtl, ['stop', '-D', dataFolder, '-m', mode, '--no-wait']))
}

async function hasEnded(identity: ProcessIdentity, waitMs: number): Promise<boolean> {
  const deadline = Date.now() + waitMs
  while (await isAlive(identity)) {
    if (Date.now() > deadline) return false
    await sleep(EXIT_POLL_MS)
  }
  return true
}

/** Only names the socket's file; the folder is the server's own, so the number never collides. */
export const SOCKET_PORT = 5432

// sockaddr_un holds 108 bytes on Linux and 104 on macOS, with the closing zero.
const MAX_SOCKET_PATH_BYTES = 103

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
    if (Buffer.byteLength(longest) > MAX_SOCKET_PATH_BYTES) continue
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
    if (errorCode(error) !== 'EEXIST') throw error
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
