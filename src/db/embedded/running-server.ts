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

// A start replays the log since the last checkpoint. With the default settings (1 GB), that takes much
// less than a minute even on slow disks.
export const SERVER_TIMEOUT_MS = 120_000

// PostgreSQL writes the file within milliseconds, so an older unreadable one was left by a crash.
const HALF_WRITTEN_MS = 2_000

/** The running server of this data folder in any state, or undefined if there is none. */
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
  // The file of a dead server stays, because PostgreSQL uses it to find orphans with its shared memory.
  if ((await processStart(server.pid)) === undefined) return false
  if (await servesFolder(server.pid, dataFolder)) return true
  // Another process has this id, after a reboot or in a restarted container. PostgreSQL would refuse to
  // start while that process is alive.
  await setAside(dataFolder)
  return false
}

async function setAside(dataFolder: string): Promise<undefined> {
  const path = postmasterPidPath(dataFolder)
  await rename(path, `${path}.stale`)
  return undefined
}

/** Whether the process is a PostgreSQL server on the folder. True if that cannot be checked. */
async function servesFolder(pid: number, dataFolder: string): Promise<boolean> {
  if (process.platform === 'linux') return servesOnLinux(pid, dataFolder)
  // On Windows, PostgreSQL itself distinguishes its servers from other processes.
  if (process.platform === 'win32') return true
  const line = await run('/bin/ps', ['-o', 'command=', '-p', String(pid)]).catch(() => undefined)
  if (line === undefined) return true
  const relative = /postgres/.test(line.stdout) && !/ -D \//.test(line.stdout)
  return relative || line.stdout.includes(dataFolder)
}

async function servesOnLinux(pid: number, dataFolder: string): Promise<boolean> {
  // The working folder of a server is always its data folder. That of another user cannot be read.
  if ((await readlink(`/proc/${pid}/cwd`).catch(() => '')) === dataFolder) return true
  const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined)
  if (line === undefined) return true
  const [program = '', ...args] = line.split('\0')
  return basename(program).startsWith('postgres') && args.includes(dataFolder)
}

function serverBusyError(dataFolder: string, server: PostmasterPid): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `The database server in ${dataFolder} (process ${server.pid}) has been ${server.status} for ` +
      `${SERVER_TIMEOUT_MS / 1000} seconds. Check server.log next to it, and end that process if it ` +
      `makes no progress (kill -QUIT ${server.pid}; nothing committed is lost), ${OR_SET_DATABASE_URL}.`,
  )
}

/** The content of postmaster.pid, which a running server writes into its data folder. */
export type PostmasterPid = {
  pid: number
  port: number
  /** Folder of the unix socket; empty if the server listens only on TCP. */
  socketFolder: string
  status: 'starting' | 'stopping' | 'ready'
}

export type PostmasterPidFile =
  | { kind: 'absent' }
  /** Incomplete, or emptied by a power failure. `ageMs` tells which. */
  | { kind: 'unreadable'; ageMs: number }
  | { kind: 'present'; content: PostmasterPid }

function postmasterPidPath(dataFolder: string): string {
  return join(dataFolder, 'postmaster.pid')
}

/** Reads postmaster.pid of the data folder. Its process may be dead. */
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

// The status is written last, so an incomplete file has none.
function parseStatus(word: string): PostmasterPid['status'] {
  return word === 'ready' || word === 'stopping' ? word : 'starting'
}

const EXIT_POLL_MS = 10

// A fast shutdown ends all sessions and writes a checkpoint. An immediate one leaves recovery to the next
// start; PostgreSQL kills processes that do not end within five seconds.
const STEPS = [
  { signal: 'SIGINT', mode: 'fast', waitMs: 20_000 },
  { signal: 'SIGQUIT', mode: 'immediate', waitMs: 10_000 },
  { signal: 'SIGKILL', mode: 'immediate', waitMs: 2_000 },
] as const

/** Stops a server and waits for its end, about half a minute at most. Committed data is never lost. */
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

// Windows has no signals. pg_ctl uses PostgreSQL's replacement for them.
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

/** Only a part of the socket's file name. Each server has its own folder, so it never collides. */
export const SOCKET_PORT = 5432

// sockaddr_un has 108 bytes on Linux and 104 on macOS, including the final zero.
const MAX_SOCKET_PATH_BYTES = 103

const PREFIX = 'sponsor-vouchers-'

/**
 * Creates a private folder (0700) with a short path for the server's unix socket, because the path of a
 * project may be too long for a socket. Its name is derived from the data folder; if another user has
 * that folder, it gets a random name. Returns undefined if no path is short enough.
 */
export async function makeSocketFolder(
  dataFolder: string,
  owner: FileOwner | undefined,
): Promise<string | undefined> {
  const hash = createHash('sha256').update(dataFolder).digest('hex').slice(0, 12)
  for (const parent of new Set([tmpdir(), '/tmp'])) {
    const folder = join(parent, `${PREFIX}${hash}`)
    // The length of the random name below.
    const longest = join(`${folder}-XXXXXX`, `.s.PGSQL.${SOCKET_PORT}`)
    if (Buffer.byteLength(longest) > MAX_SOCKET_PATH_BYTES) continue
    const made = await makePrivate(folder, owner).catch(() => undefined)
    if (made !== undefined) return made
  }
  return undefined
}

/** Removes a folder of makeSocketFolder if the server has removed its socket. */
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

// The name can be guessed, so another user of this machine may have created the folder first.
async function isPrivate(folder: string, owner: FileOwner | undefined): Promise<boolean> {
  const found = await unlessMissing(lstat(folder))
  if (found === undefined || !found.isDirectory() || (found.mode & 0o077) !== 0) return false
  return found.uid === process.getuid?.() || found.uid === owner?.uid
}
