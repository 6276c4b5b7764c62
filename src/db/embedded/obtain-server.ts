import { chooseRunner } from './choose-runner.ts'
import type { EmbeddedFolders } from './embedded-folders.ts'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { examineServer, type Fault } from './examine-server.ts'
import { findReadyServer } from './find-server.ts'
import { initCluster } from './init-cluster.ts'
import { checkOwner, inspectDataFolder } from './inspect-data-folder.ts'
import { type LaunchOptions, launchServer } from './launch-server.ts'
import { type Binaries, locateBinaries } from './locate-binaries.ts'
import { liveOwners } from './owners.ts'
import { loadPasswords, type Passwords } from './passwords.ts'
import type { PostmasterPid } from './postmaster-pid.ts'
import { repairSymlinks } from './repair-symlinks.ts'
import { resetPassword } from './reset-password.ts'
import type { Runner } from './runner.ts'
import { addressOf } from './server-address.ts'
import type { ServerProgram } from './spawn-server.ts'
import { stopServer } from './stop-server.ts'

/** Where the programs come from and who may run them; tests put in others. */
export type Surroundings = { binaries?: Binaries; runners?: Runner[] }

export type Obtained = { server: PostmasterPid; passwords: Passwords; reused: boolean }

/**
 * A server on this folder that answers with our password: the one that runs already, or a new one.
 * Hold the lock.
 */
export async function obtainServer(
  folders: EmbeddedFolders,
  options: LaunchOptions,
  surroundings: Surroundings,
): Promise<Obtained> {
  await checkOwner(folders.data)
  const running = await findReadyServer(folders.data)
  if (running === undefined) return launch(folders, options, surroundings)
  const passwords = await loadPasswords(folders.passwords)
  const fault = await examineServer(addressOf(running), passwords.admin, folders.data, options)
  if (fault === undefined) return { server: running, passwords, reused: true }
  if (await mustReuse(folders, running, fault)) {
    options.log(`using a database server that others started, although ${fault.detail}`)
    return { server: running, passwords, reused: true }
  }
  options.log(`restarting the database server that a killed process left, since ${fault.detail}`)
  await stopServer(folders.data, running)
  return launch(folders, options, surroundings)
}

// Other living processes need the server as it is.
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
      `${owners.join(', ')}, but cannot be reached from here: ${fault.detail}. Stop those ` +
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
    examineServer(addressOf(at), passwords.admin, folders.data, options)
  const fault = await examine(server)
  if (fault?.kind !== 'password') return unlessUnreachable(folders, server, fault)
  options.log(`resetting the superuser's password: ${folders.passwords} does not fit the data`)
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
