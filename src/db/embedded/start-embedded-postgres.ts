import { rm } from 'node:fs/promises'
import {
  addressOf,
  checkServer,
  connectionUrl,
  ensureDatabase,
  type Fault,
} from './admin-session.ts'
import { chooseRunner, type Runner, runCommand } from './choose-runner.ts'
import {
  checkOwner,
  initCluster,
  inspectDataFolder,
  recoveryAdvice,
  SUPERUSER,
} from './data-folder.ts'
import {
  EmbeddedPostgresError,
  errorMessage,
  OR_SET_DATABASE_URL,
  unlessMissing,
} from './embedded-postgres-error.ts'
import { liveOwners, registerOwner, withFolderLock } from './folder-lock.ts'
import {
  type LaunchOptions,
  launchServer,
  PLATFORM_LAUNCH,
  type ServerProgram,
} from './launch-server.ts'
import { type Binaries, locateBinaries, repairSymlinks } from './postgres-binaries.ts'
import {
  findReadyServer,
  findServer,
  type PostmasterPid,
  SERVER_TIMEOUT_MS,
  stopServer,
} from './running-server.ts'
import {
  type EmbeddedFolders,
  loadPasswords,
  openFolders,
  type Passwords,
} from './server-folder.ts'

export type EmbeddedPostgres = {
  /** For the role `sponsor_vouchers`, which owns its database. Row security applies to it. */
  connectionString: string
  /** For the superuser, on the database `postgres`. For tests that clone databases. */
  adminConnectionString: string
  dataFolder: string
  /** Whether a server was already running on the folder. */
  reused: boolean
  /** Releases the server. The last user of the folder stops it. May be called again. */
  stop(): Promise<void>
}

export type EmbeddedOptions = {
  /** All files of the server, e.g. `<cwd>/.data/postgres`. Created with mode 0700. */
  folder: string
  /** Default `sponsor_vouchers`. */
  database?: string
  /** Default true. False is faster, but not safe after a power failure. Only for tests. */
  durable?: boolean
  /** For all clients of the server together. Default 100. */
  maxConnections?: number
  /** Logs repairs and take-overs, without secrets. */
  log?: (message: string) => void
}

/**
 * Starts PostgreSQL on the folder, or joins the server that runs on it: that of another process, or one
 * that a killed process left. Takes about 1.5 s the first time and 0.1 s later.
 *
 * It installs no signal handler and does not keep the process alive. Call `stop()` on SIGINT and
 * SIGTERM after this promise has settled. Without `stop()`, the server keeps running for the next start.
 *
 * @throws EmbeddedPostgresError whose message names the folder and the repair.
 */
export function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  return startWithin(options, {})
}

/** Like {@link startEmbeddedPostgres}, with other programs, users or transport. For tests. */
export async function startWithin(
  options: EmbeddedOptions,
  surroundings: Surroundings & Partial<typeof PLATFORM_LAUNCH>,
): Promise<EmbeddedPostgres> {
  const folders = await openFolders(options.folder)
  const launch = {
    ...PLATFORM_LAUNCH,
    ...surroundings,
    durable: options.durable ?? true,
    maxConnections: options.maxConnections ?? 100,
    log: options.log ?? (() => {}),
  }
  const starting = withFolderLock(folders.lock, LOCK_TIMEOUT_MS, async () => {
    const obtained = await obtainServer(folders, launch, surroundings)
    return toHandle(folders, obtained, options.database ?? 'sponsor_vouchers')
  })
  return starting.catch((error: unknown) => {
    throw withAdvice(error, folders)
  })
}

// The message of a full disk, a closed folder or a refused statement is not enough.
function withAdvice(error: unknown, { root, log }: EmbeddedFolders): EmbeddedPostgresError {
  if (error instanceof EmbeddedPostgresError) return error
  return new EmbeddedPostgresError(
    `The embedded database in ${root} cannot be started: ${errorMessage(error)}. Check that this user ` +
      `may read and write that folder and that there is free space, and check ${log}, ${OR_SET_DATABASE_URL}.`,
    { cause: error },
  )
}

// Longer than any start or stop of another process.
const LOCK_TIMEOUT_MS = SERVER_TIMEOUT_MS + 60_000

async function toHandle(
  folders: EmbeddedFolders,
  { server, passwords, reused }: Obtained,
  database: string,
): Promise<EmbeddedPostgres> {
  const address = addressOf(server)
  try {
    const connectionString = await ensureDatabase(address, passwords, database)
    const admin = { user: SUPERUSER, password: passwords.admin, database: 'postgres' }
    const adminConnectionString = connectionUrl(address, admin)
    const owner = await registerOwner(folders.root)
    const stop = once(() => releaseServer(folders, owner, server))
    return { connectionString, adminConnectionString, dataFolder: folders.data, reused, stop }
  } catch (error) {
    if ((await liveOwners(folders.root)).length === 0) await stopServer(folders.data, server)
    throw error
  }
}

async function releaseServer(
  folders: EmbeddedFolders,
  owner: string,
  server: PostmasterPid,
): Promise<void> {
  const underLock = withFolderLock(folders.lock, LOCK_TIMEOUT_MS, async () => {
    await rm(owner, { force: true })
    if ((await liveOwners(folders.root)).length > 0) return true
    const running = await findServer(folders.data)
    if (running !== undefined) await stopServer(folders.data, running)
    return true
  })
  // The folder of the running server was deleted, so the server must stop.
  if ((await unlessMissing(underLock)) === undefined) await stopServer(folders.data, server)
}

function once(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  return () => {
    running ??= work()
    return running
  }
}

/** Other programs and runners, for tests. */
export type Surroundings = { binaries?: Binaries; runners?: Runner[] }

type Obtained = { server: PostmasterPid; passwords: Passwords; reused: boolean }

/**
 * A server on this folder that accepts our password: the running one or a new one. Hold the lock.
 */
async function obtainServer(
  folders: EmbeddedFolders,
  options: LaunchOptions,
  surroundings: Surroundings,
): Promise<Obtained> {
  await checkOwner(folders.data)
  const running = await findReadyServer(folders.data)
  if (running === undefined) return launch(folders, options, surroundings)
  const passwords = await loadPasswords(folders.passwords)
  const fault = await checkServer(addressOf(running), passwords.admin, folders.data, options)
  if (fault === undefined) return { server: running, passwords, reused: true }
  if (await mustReuse(folders, running, fault)) {
    options.log(`using the database server of another process, although ${fault.detail}`)
    return { server: running, passwords, reused: true }
  }
  options.log(`restarting the database server of a killed process, because ${fault.detail}`)
  await stopServer(folders.data, running)
  return launch(folders, options, surroundings)
}

// Other processes use the server as it is.
async function mustReuse(
  folders: EmbeddedFolders,
  server: PostmasterPid,
  fault: Fault,
): Promise<boolean> {
  const owners = await liveOwners(folders.root)
  if (owners.length === 0) return false
  if (fault.kind === 'settings') return true
  throw new EmbeddedPostgresError(
    `The database server in ${folders.data} (process ${server.pid}) is in use by process ` +
      `${owners.join(', ')}, but this process cannot use it: ${fault.detail}. Stop those ` +
      `processes and start again.`,
  )
}

async function launch(
  folders: EmbeddedFolders,
  options: LaunchOptions,
  surroundings: Surroundings,
): Promise<Obtained> {
  const binaries = surroundings.binaries ?? (await locateBinaries())
  await repairSymlinks(binaries)
  const { runner, major } = await chooseRunner(folders, binaries, surroundings.runners)
  const state = await inspectDataFolder(folders.data, major)
  const passwords = await loadPasswords(folders.passwords, runner.owner)
  if (state === 'absent') {
    const { durable } = options
    await initCluster({ folders, binaries, runner, password: passwords.admin, durable })
  }
  const program = { folders, binaries, runner }
  const server = await launchServer(program, options)
  return {
    server: await withOurPassword(program, options, passwords, server),
    passwords,
    reused: false,
  }
}

async function withOurPassword(
  program: ServerProgram,
  options: LaunchOptions,
  passwords: Passwords,
  server: PostmasterPid,
): Promise<PostmasterPid> {
  const { folders } = program
  const examine = (at: PostmasterPid) =>
    checkServer(addressOf(at), passwords.admin, folders.data, options)
  const fault = await examine(server)
  if (fault?.kind !== 'password') return unlessUnreachable(folders, server, fault)
  options.log(
    `resetting the superuser's password, because ${folders.passwords} does not match the data`,
  )
  await stopServer(folders.data, server)
  await resetPassword(program, passwords.admin)
  const again = await launchServer(program, options)
  return unlessUnreachable(folders, again, await examine(again))
}

async function unlessUnreachable(
  folders: EmbeddedFolders,
  server: PostmasterPid,
  fault: Fault | undefined,
): Promise<PostmasterPid> {
  if (fault === undefined || fault.kind === 'settings') return server
  await stopServer(folders.data, server)
  throw new EmbeddedPostgresError(
    `The database server in ${folders.data} started but cannot be used: ${fault.detail}. ` +
      `See ${folders.log} and pg_hba.conf in the data folder.`,
  )
}

/**
 * Sets the superuser's password without the old one, after passwords.json was lost. PostgreSQL allows it
 * to the owner of the files while no server is running.
 */
async function resetPassword(program: ServerProgram, password: string): Promise<void> {
  const { folders, binaries, runner } = program
  const { command, args, options } = runner.command(binaries.postgres, [
    '--single',
    '-D',
    folders.data,
    'postgres',
  ])
  const result = await runCommand(
    { command, args, options: { ...options, cwd: folders.root } },
    // One statement per line. The password has no character that needs quoting.
    `alter role ${SUPERUSER} password '${password}'\n`,
  )
  // A single-user server reports a failed statement only in its output.
  if (result.ok && !/ERROR|FATAL|PANIC/.test(result.output)) return
  throw new EmbeddedPostgresError(
    `The passwords in ${folders.passwords} do not match the data in ${folders.data} and could not ` +
      `be reset. ${recoveryAdvice(folders.data)} PostgreSQL reported:\n${result.output}`,
  )
}
