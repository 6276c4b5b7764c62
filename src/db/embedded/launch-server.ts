import { setTimeout as sleep } from 'node:timers/promises'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { findServer, SERVER_WAIT_MS } from './find-server.ts'
import { freePort } from './free-port.ts'
import { advice } from './inspect-data-folder.ts'
import { endOrphanedBackends } from './orphaned-backends.ts'
import type { PostmasterPid } from './postmaster-pid.ts'
import type { ServerAddress } from './server-address.ts'
import { logTail, rotateLog } from './server-log.ts'
import { type ServerOptions, settingArguments } from './server-settings.ts'
import { makeSocketFolder, removeSocketFolder, SOCKET_PORT } from './socket-folder.ts'
import {
  type ServerProgram,
  type SpawnedServer,
  spawnServer,
  spawnServerThroughPgCtl,
} from './spawn-server.ts'

export type LaunchOptions = ServerOptions & {
  log: (message: string) => void
  /** How the platform wants it; tests try the other way. */
  transport: 'socket' | 'tcp'
  through: 'postgres' | 'pg_ctl'
}

const POLL_MS = 15
const ATTEMPTS = 8
const PAUSE_MS = 500

/** How this platform's server is started and reached. */
export const PLATFORM_LAUNCH: Pick<LaunchOptions, 'transport' | 'through'> =
  process.platform === 'win32'
    ? { transport: 'tcp', through: 'pg_ctl' }
    : { transport: 'socket', through: 'postgres' }

/**
 * Starts the server on a usable data folder and waits until it takes connections. Recovers from
 * what a killed predecessor left; otherwise throws with the last lines of the server's log.
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
    if (remedy === 'none' || attempt === ATTEMPTS) {
      await removeSocketFolder(address.host)
      throw notStarted(program, output)
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

// Nothing when the server ended instead. A server that another start has won is as good as ours.
async function whenReady(
  { folders }: ServerProgram,
  spawned: SpawnedServer,
): Promise<PostmasterPid | undefined> {
  const deadline = Date.now() + SERVER_WAIT_MS
  while (Date.now() < deadline) {
    const ended = spawned.hasEnded()
    const server = await findServer(folders.data)
    if (server?.status === 'ready') return server
    if (ended && server === undefined) return undefined
    await sleep(POLL_MS)
  }
  throw new EmbeddedPostgresError(
    `The database server in ${folders.data} is not ready after ${SERVER_WAIT_MS / 1000} seconds, ` +
      `probably because it recovers from a crash. It goes on; see ${folders.log} and start again.`,
  )
}

function remedyFor(output: string): 'tcp' | 'wait' | 'none' {
  if (/could not create any Unix-domain sockets|Unix-domain socket path .* too long/.test(output)) {
    return 'tcp'
  }
  // Taken between our look and the server's: another port is tried.
  if (/could not create any TCP\/IP sockets/.test(output)) return 'wait'
  return /shared memory block .* still in use|lock file "postmaster.pid" already exists/.test(
    output,
  )
    ? 'wait'
    : 'none'
}

// The first pause is for those that end by themselves; later ones end what computes on.
async function waitForPredecessor(
  { folders }: ServerProgram,
  { log }: LaunchOptions,
  attempt: number,
): Promise<void> {
  await sleep(PAUSE_MS)
  if (attempt === 1) return
  const ended = await endOrphanedBackends(folders.data)
  if (ended.length > 0) log(`ended processes ${ended.join(', ')} of a killed database server`)
}

function notStarted({ folders }: ServerProgram, output: string): EmbeddedPostgresError {
  const orphans = /shared memory block .* still in use/.test(output)
    ? `Processes of a killed server still use it; end them ("ps ax | grep postgres") and start again. `
    : ''
  return new EmbeddedPostgresError(
    `The embedded database in ${folders.data} did not start. ${orphans}${advice(folders.data)} ` +
      `The end of ${folders.log}:\n${output || '(nothing was written)'}`,
  )
}
