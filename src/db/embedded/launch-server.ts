import { spawn } from 'node:child_process'
import { chown, open, readdir, readFile, readlink, rename, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerAddress } from './admin-session.ts'
import type { RunnableCommand, Runner } from './choose-runner.ts'
import { recoveryAdvice } from './data-folder.ts'
import { EmbeddedPostgresError, unlessMissing } from './embedded-postgres-error.ts'
import type { Binaries } from './postgres-binaries.ts'
import {
  findServer,
  makeSocketFolder,
  type PostmasterPid,
  removeSocketFolder,
  SERVER_TIMEOUT_MS,
  SOCKET_PORT,
} from './running-server.ts'
import type { EmbeddedFolders, ServerOptions } from './server-folder.ts'

export type LaunchOptions = ServerOptions & {
  log: (message: string) => void
  /** The default of the platform is PLATFORM_LAUNCH; tests use the others too. */
  transport: 'socket' | 'tcp'
  through: 'postgres' | 'pg_ctl'
}

const POLL_MS = 15
const MAX_ATTEMPTS = 8
const RETRY_DELAY_MS = 500

/** How the server is started and reached on this platform. */
export const PLATFORM_LAUNCH: Pick<LaunchOptions, 'transport' | 'through'> =
  process.platform === 'win32'
    ? { transport: 'tcp', through: 'pg_ctl' }
    : { transport: 'socket', through: 'postgres' }

/**
 * Starts the server on a usable data folder and waits until it accepts connections. It recovers from
 * the remains of a killed server. Otherwise it throws with the last lines of the server's log.
 */
export async function launchServer(
  program: ServerProgram,
  options: LaunchOptions,
): Promise<PostmasterPid> {
  let { transport } = options
  for (let attempt = 1; ; attempt++) {
    const logStart = await rotateLog(program.folders.log)
    const address = await chooseAddress(program, transport)
    const spawned = await spawnAt(program, address, options)
    const server = await whenReady(program, spawned)
    if (server !== undefined) return server
    const output = await logTail(program.folders.log, logStart)
    const remedy = remedyFor(output)
    if (remedy === 'none' || attempt === MAX_ATTEMPTS) {
      await removeSocketFolder(address.host)
      throw notStartedError(program, output)
    }
    if (remedy === 'tcp') transport = 'tcp'
    else await waitForPredecessor(program, options, attempt)
  }
}

function spawnAt(program: ServerProgram, address: ServerAddress, options: LaunchOptions) {
  const settings = settingArguments(address, options)
  return options.through === 'pg_ctl'
    ? spawnServerThroughPgCtl(program, settings)
    : spawnServer(program, settings)
}

async function chooseAddress(
  { folders, runner }: ServerProgram,
  transport: LaunchOptions['transport'],
): Promise<ServerAddress> {
  const folder =
    transport === 'socket' ? await makeSocketFolder(folders.data, runner.owner) : undefined
  return folder === undefined
    ? { host: '127.0.0.1', port: await freePort() }
    : { host: folder, port: SOCKET_PORT }
}

// Undefined if the server ended. A server that another process started meanwhile is fine too.
async function whenReady(
  { folders }: ServerProgram,
  spawned: SpawnedServer,
): Promise<PostmasterPid | undefined> {
  const deadline = Date.now() + SERVER_TIMEOUT_MS
  while (Date.now() < deadline) {
    const ended = spawned.hasEnded()
    const server = await findServer(folders.data)
    if (server?.status === 'ready') return server
    if (ended && server === undefined) return undefined
    await sleep(POLL_MS)
  }
  throw new EmbeddedPostgresError(
    `The database server in ${folders.data} is not ready after ${SERVER_TIMEOUT_MS / 1000} seconds, ` +
      `probably because it recovers from a crash. It is still running: check ${folders.log} and start again.`,
  )
}

function remedyFor(output: string): 'tcp' | 'wait' | 'none' {
  if (/could not create any Unix-domain sockets|Unix-domain socket path .* too long/.test(output)) {
    return 'tcp'
  }
  // Another process took the port meanwhile. The next attempt uses another port.
  if (/could not create any TCP\/IP sockets/.test(output)) return 'wait'
  return /shared memory block .* still in use|lock file "postmaster.pid" already exists/.test(
    output,
  )
    ? 'wait'
    : 'none'
}

// Most orphans end by themselves during the first pause. Later attempts kill the others.
async function waitForPredecessor(
  { folders }: ServerProgram,
  { log }: LaunchOptions,
  attempt: number,
): Promise<void> {
  await sleep(RETRY_DELAY_MS)
  if (attempt === 1) return
  const ended = await killOrphanedBackends(folders.data)
  if (ended.length > 0) log(`ended processes ${ended.join(', ')} of a killed database server`)
}

function notStartedError({ folders }: ServerProgram, output: string): EmbeddedPostgresError {
  const orphans = /shared memory block .* still in use/.test(output)
    ? `Processes of a killed server still use it; end them ("ps ax | grep postgres") and start again. `
    : ''
  return new EmbeddedPostgresError(
    `The embedded database in ${folders.data} did not start. ${orphans}${recoveryAdvice(folders.data)} ` +
      `The end of ${folders.log}:\n${output || '(nothing was written)'}`,
  )
}

export type ServerProgram = {
  folders: EmbeddedFolders
  binaries: Binaries
  runner: Runner
}

/** A server that was started. `hasEnded`: it is known to have ended or failed to start. */
type SpawnedServer = { hasEnded(): boolean }

/**
 * Starts the server in its own session. So Ctrl-C reaches only this process, and the server does not
 * keep this process alive. Its output goes to the log.
 */
async function spawnServer(program: ServerProgram, settings: string[]): Promise<SpawnedServer> {
  const { folders, binaries, runner } = program
  const log = await open(folders.log, 'a', 0o600)
  try {
    if (runner.owner !== undefined) await chown(folders.log, runner.owner.uid, runner.owner.gid)
    const { command, args, options } = runner.command(binaries.postgres, [
      '-D',
      folders.data,
      ...settings,
    ])
    const child = spawn(command, args, {
      ...options,
      cwd: folders.root,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    })
    let ended = false
    const end = () => {
      ended = true
    }
    child.once('exit', end)
    child.once('error', end)
    child.unref()
    return { hasEnded: () => ended }
  } finally {
    await log.close()
  }
}

/**
 * Starts the server with pg_ctl. Windows needs this: the server refuses to run with the rights of an
 * administrator, and pg_ctl drops them.
 */
async function spawnServerThroughPgCtl(
  program: ServerProgram,
  settings: string[],
): Promise<SpawnedServer> {
  const { folders, binaries, runner } = program
  const { command, args, options } = runner.command(binaries.pgCtl, [
    'start',
    '-D',
    folders.data,
    '-l',
    folders.log,
    '-o',
    settings.join(' '),
    // The server is not our child process, so pg_ctl must detect a failure.
    '--wait',
    `--timeout=${SERVER_TIMEOUT_MS / 1000}`,
  ])
  const ok = await succeeds({ command, args, options: { ...options, cwd: folders.root } })
  return { hasEnded: () => !ok }
}

// Not with `runCommand`: the server inherits the open files of pg_ctl, so a pipe would never close.
async function succeeds({ command, args, options }: RunnableCommand): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { ...options, stdio: 'ignore', windowsHide: true })
    child.once('error', () => resolve(false))
    child.once('exit', (code) => resolve(code === 0))
  })
}

/** `-c name=value` arguments. A value must not contain a space, because pg_ctl on Windows splits there. */
function settingArguments(address: ServerAddress, options: ServerOptions): string[] {
  const settings: Record<string, string | number> = {
    ...listening(address),
    port: address.port,
    timezone: 'UTC',
    log_timezone: 'UTC',
    max_connections: options.maxConnections,
    cluster_name: 'sponsor-vouchers',
    ...durability(options.durable),
  }
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
}

function listening(address: ServerAddress): Record<string, string> {
  if (!address.host.startsWith('/')) {
    return { listen_addresses: address.host, unix_socket_directories: '' }
  }
  return { listen_addresses: '', unix_socket_directories: address.host }
}

/**
 * A test server need not survive a power failure. Its databases live for seconds, so a vacuum of
 * hundreds of them is wasted.
 */
function durability(durable: boolean): Record<string, string | number> {
  if (durable) return { fsync: 'on' }
  return {
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
    wal_level: 'minimal',
    max_wal_senders: 0,
    autovacuum: 'off',
    jit: 'off',
  }
}

/** A TCP port of 127.0.0.1 that is free now. */
async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })
}

const ROTATE_AT_BYTES = 10 * 1024 * 1024
const TAIL_BYTES = 16 * 1024
const TAIL_LINES = 15

/** Rotates a large log (one old file is kept) and returns the size of the log in bytes. */
async function rotateLog(path: string): Promise<number> {
  const size = (await unlessMissing(stat(path)))?.size ?? 0
  if (size < ROTATE_AT_BYTES) return size
  await rename(path, `${path}.old`)
  return 0
}

/** The last lines of the log after byte `from`. */
async function logTail(path: string, from: number): Promise<string> {
  const file = await unlessMissing(open(path, 'r'))
  if (file === undefined) return ''
  try {
    const { size } = await file.stat()
    const start = Math.max(from, size - TAIL_BYTES)
    const buffer = Buffer.alloc(Math.max(0, size - start))
    await file.read(buffer, 0, buffer.length, start)
    return buffer.toString('utf8').trimEnd().split('\n').slice(-TAIL_LINES).join('\n')
  } finally {
    await file.close()
  }
}

/**
 * Kills them with SIGQUIT, as PostgreSQL does after a crash, and leaves recovery to the next start. Their
 * clients have already lost their connections.
 */
async function killOrphanedBackends(dataFolder: string): Promise<number[]> {
  const pids = await orphanedBackends(dataFolder)
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGQUIT')
    } catch {
      // It has ended meanwhile, or belongs to another user. The next start will show.
    }
  }
  return pids
}

/**
 * Processes of a server whose main process was killed. They end when they next wait for something. One
 * that computes keeps running, and PostgreSQL does not start meanwhile. Linux only; elsewhere the list
 * is empty.
 */
async function orphanedBackends(dataFolder: string): Promise<number[]> {
  if (process.platform !== 'linux') return []
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const pids = await Promise.all(names.map((name) => orphanPid(Number(name), dataFolder)))
  return pids.filter((pid) => pid !== undefined)
}

async function orphanPid(pid: number, dataFolder: string): Promise<number | undefined> {
  // Fails for processes of other users and for ended ones, which we must not kill.
  const folder = await readlink(`/proc/${pid}/cwd`).catch(() => '')
  if (folder !== dataFolder) return undefined
  const title = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  // PostgreSQL's child processes set this title. A shell in that folder does not have it.
  return title.startsWith('postgres: ') ? pid : undefined
}
