import { rm } from 'node:fs/promises'
import { type EmbeddedFolders, openFolders } from './embedded-folders.ts'
import { EmbeddedPostgresError, WAY_OUT } from './embedded-postgres-error.ts'
import { ensureDatabase } from './ensure-database.ts'
import { messageOf, unlessMissing } from './error-text.ts'
import { findServer, SERVER_WAIT_MS } from './find-server.ts'
import { withFolderLock } from './folder-lock.ts'
import { SUPERUSER } from './init-cluster.ts'
import { PLATFORM_LAUNCH } from './launch-server.ts'
import { type Obtained, obtainServer, type Surroundings } from './obtain-server.ts'
import { liveOwners, registerOwner } from './owners.ts'
import type { PostmasterPid } from './postmaster-pid.ts'
import { addressOf, connectionUrl } from './server-address.ts'
import { stopServer } from './stop-server.ts'

export type EmbeddedPostgres = {
  /** Of the ordinary role `sponsor_vouchers`, which owns its database; row security applies to it. */
  connectionString: string
  /** Of the superuser, on the database `postgres`; for tests that clone databases. */
  adminConnectionString: string
  dataFolder: string
  /** True when a server was running on the folder already. */
  reused: boolean
  /** Gives the server up; the last user of the folder stops it. May be called again. */
  stop(): Promise<void>
}

export type EmbeddedOptions = {
  /** Everything the server keeps, e.g. `<cwd>/.data/postgres`; created with mode 0700. */
  folder: string
  /** Default `sponsor_vouchers`. */
  database?: string
  /** Default true. False trades safety at a power cut for speed: for tests only. */
  durable?: boolean
  /** All clients of the server together, default 100. */
  maxConnections?: number
  /** Told about repairs and take-overs, never about secrets. */
  log?: (message: string) => void
}

/**
 * Starts PostgreSQL on the folder, or joins the server that runs on it: another process's, or one
 * that a killed process left. Takes about 1.5 s the first time and 0.1 s afterwards.
 *
 * Installs no signal handler and does not keep the process alive: call `stop()` on SIGINT and
 * SIGTERM, after this promise settled. Without `stop()` the server stays for the next start.
 *
 * Throws an `EmbeddedPostgresError` whose message names the folder and what to do.
 */
export function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  return startWithin(options, {})
}

/** As {@link startEmbeddedPostgres}, with other programs, users or transport than this machine's. */
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
  const starting = withFolderLock(folders.lock, LOCK_WAIT_MS, async () => {
    const obtained = await obtainServer(folders, launch, surroundings)
    return asHandle(folders, obtained, options.database ?? 'sponsor_vouchers')
  })
  return starting.catch((error: unknown) => {
    throw explained(error, folders)
  })
}

// A full disk, a closed folder, a refused statement: the bare message says too little.
function explained(error: unknown, { root, log }: EmbeddedFolders): EmbeddedPostgresError {
  if (error instanceof EmbeddedPostgresError) return error
  return new EmbeddedPostgresError(
    `The embedded database in ${root} cannot be started: ${messageOf(error)}. Check that this user ` +
      `may read and write that folder and that there is free space, and look into ${log}, ${WAY_OUT}.`,
    { cause: error },
  )
}

// Longer than any single start or stop may take, which is what the other process is doing.
const LOCK_WAIT_MS = SERVER_WAIT_MS + 60_000

async function asHandle(
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
    const stop = once(() => giveUp(folders, owner, server))
    return { connectionString, adminConnectionString, dataFolder: folders.data, reused, stop }
  } catch (error) {
    if ((await liveOwners(folders.root)).length === 0) await stopServer(folders.data, server)
    throw error
  }
}

async function giveUp(
  folders: EmbeddedFolders,
  owner: string,
  server: PostmasterPid,
): Promise<void> {
  const underLock = withFolderLock(folders.lock, LOCK_WAIT_MS, async () => {
    await rm(owner, { force: true })
    if ((await liveOwners(folders.root)).length > 0) return true
    const running = await findServer(folders.data)
    if (running !== undefined) await stopServer(folders.data, running)
    return true
  })
  // Somebody deleted the folder under the running server; it must not go on without it.
  if ((await unlessMissing(underLock)) === undefined) await stopServer(folders.data, server)
}

function once(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  return () => {
    running ??= work()
    return running
  }
}
