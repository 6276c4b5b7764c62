import { randomBytes } from 'node:crypto'
import { chmod, open, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type Runner, runCommand } from './choose-runner.ts'
import {
  EmbeddedPostgresError,
  OR_SET_DATABASE_URL,
  unlessMissing,
} from './embedded-postgres-error.ts'
import type { Binaries } from './postgres-binaries.ts'
import { type EmbeddedFolders, writePrivateFile } from './server-folder.ts'

// PG_CONTROL_FILE_SIZE of PostgreSQL, which does not depend on the block size.
const PG_CONTROL_BYTES = 8192

/** How to repair a data folder that does not start. The launcher never deletes data. */
export function recoveryAdvice(dataFolder: string): string {
  return (
    `Nothing was changed or deleted. Restore ${dataFolder} from a backup, or move it away ` +
    `(mv '${dataFolder}' '${dataFolder}.broken') to start with an empty database, ${OR_SET_DATABASE_URL}.`
  )
}

/**
 * Checks whether the folder contains a cluster of this major version. If it contains anything else,
 * throws an error that names the folder and the repair.
 */
export async function inspectDataFolder(
  dataFolder: string,
  major: string,
): Promise<'absent' | 'usable'> {
  const found = await unlessMissing(stat(dataFolder))
  if (found === undefined) return 'absent'
  if (!found.isDirectory()) throw unusableFolderError(dataFolder, 'it is not a folder')
  if ((await readdir(dataFolder)).length === 0) return 'absent'
  await checkVersion(dataFolder, major)
  const control = await unlessMissing(stat(join(dataFolder, 'global', 'pg_control')))
  if (control === undefined) throw unusableFolderError(dataFolder, 'global/pg_control is missing')
  if (control.size !== PG_CONTROL_BYTES) {
    throw unusableFolderError(
      dataFolder,
      `global/pg_control has ${control.size} bytes, not ${PG_CONTROL_BYTES}`,
    )
  }
  // PostgreSQL refuses a folder that other users can read, for example a copied one.
  if ((found.mode & 0o077) !== 0 && process.platform !== 'win32') await chmod(dataFolder, 0o700)
  return 'usable'
}

/** Throws if the data belongs to another user. Root may use any data. */
export async function checkOwner(dataFolder: string): Promise<void> {
  const me = process.getuid?.()
  const owner = (await unlessMissing(stat(dataFolder)))?.uid
  if (me === undefined || me === 0 || owner === undefined || me === owner) return
  throw new EmbeddedPostgresError(
    `The data folder ${dataFolder} belongs to user ${owner}, but this process runs as user ${me}. ` +
      `Start it as that user, or change the owner ` +
      `(sudo chown -R ${me} '${dataFolder}'), ${OR_SET_DATABASE_URL}.`,
  )
}

async function checkVersion(dataFolder: string, major: string): Promise<void> {
  const version = (await unlessMissing(readFile(join(dataFolder, 'PG_VERSION'), 'utf8')))?.trim()
  if (version === major) return
  if (version === undefined) throw unusableFolderError(dataFolder, 'PG_VERSION is missing')
  if (version === '') throw unusableFolderError(dataFolder, 'PG_VERSION is empty')
  throw unusableFolderError(
    dataFolder,
    `it was created by PostgreSQL ${version}, and this is PostgreSQL ${major}; ` +
      `if you need its data, dump it with PostgreSQL ${version} first`,
  )
}

function unusableFolderError(dataFolder: string, reason: string): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `The data folder ${dataFolder} of the embedded database cannot be used: ${reason}. ` +
      recoveryAdvice(dataFolder),
  )
}

/** PostgreSQL's superuser. The service itself never connects as this role. */
export const SUPERUSER = 'postgres'

export type NewCluster = {
  folders: EmbeddedFolders
  binaries: Binaries
  runner: Runner
  password: string
  durable: boolean
}

/**
 * Creates the data folder in about one second. initdb works in a sibling folder, which is renamed at
 * the end. So an interrupted initdb leaves no folder that looks valid. Hold the lock.
 */
export async function initCluster(cluster: NewCluster): Promise<void> {
  const { data } = cluster.folders
  await removeUnfinished(data)
  const draft = `${data}.unfinished-${randomBytes(6).toString('hex')}`
  try {
    await runInitdb(cluster, draft)
    // On Windows, an existing empty folder must be removed before the rename.
    await unlessMissing(rmdir(data))
    await rename(draft, data)
    if (cluster.durable) await syncFolder(dirname(data))
  } finally {
    await removeTree(draft)
  }
}

// Left by a killed initdb. No server ever ran on them, so no data is lost.
async function removeUnfinished(data: string): Promise<void> {
  const prefix = `${basename(data)}.unfinished-`
  const names = await readdir(dirname(data))
  for (const name of names.filter((n) => n.startsWith(prefix))) {
    await removeTree(join(dirname(data), name))
  }
}

// With retries, because an orphaned initdb may write for another second.
async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}

async function runInitdb(cluster: NewCluster, draft: string): Promise<void> {
  const { binaries, runner, folders, password, durable } = cluster
  // A file, because initdb cannot open our pipe by name when it runs as another user.
  const passwordFile = `${draft}.password`
  try {
    await writePrivateFile(passwordFile, `${password}\n`, runner.owner)
    const { command, args, options } = runner.command(binaries.initdb, [
      `--pgdata=${draft}`,
      `--username=${SUPERUSER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      // Sorts by code point and knows Unicode's upper and lower case, identically on every machine.
      '--locale=C',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--no-instructions',
      ...(durable ? [] : ['--no-sync']),
    ])
    const result = await runCommand({ command, args, options: { ...options, cwd: folders.root } })
    if (!result.ok) throw initdbError(folders.root, result.output)
  } finally {
    await rm(passwordFile, { force: true })
  }
}

async function syncFolder(path: string): Promise<void> {
  // Windows cannot open folders, and its file system journals renames itself.
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

function initdbError(root: string, output: string): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `A database could not be created in ${root}. Check its free space and permissions and start again, ` +
      `${OR_SET_DATABASE_URL}. initdb reported:\n${output.split('\n').slice(-10).join('\n')}`,
  )
}
