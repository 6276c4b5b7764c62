import { randomBytes } from 'node:crypto'
import { open, readdir, rename, rm, rmdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { EmbeddedFolders } from './embedded-folders.ts'
import { EmbeddedPostgresError, WAY_OUT } from './embedded-postgres-error.ts'
import { unlessMissing } from './error-text.ts'
import type { Binaries } from './locate-binaries.ts'
import { writePrivateFile } from './private-file.ts'
import { runCommand } from './run-command.ts'
import type { Runner } from './runner.ts'

/** PostgreSQL's superuser; the service itself never connects as it. */
export const SUPERUSER = 'postgres'

export type NewCluster = {
  folders: EmbeddedFolders
  binaries: Binaries
  runner: Runner
  password: string
  durable: boolean
}

/**
 * Makes the data folder, about one second. initdb works in a sibling that is renamed at the end, so
 * whatever kills it leaves no folder that looks valid. Hold the lock.
 */
export async function initCluster(cluster: NewCluster): Promise<void> {
  const { data } = cluster.folders
  await removeUnfinished(data)
  const draft = `${data}.unfinished-${randomBytes(6).toString('hex')}`
  try {
    await runInitdb(cluster, draft)
    // An empty folder, which is all that can be there, must go first on Windows.
    await unlessMissing(rmdir(data))
    await rename(draft, data)
    if (cluster.durable) await syncFolder(dirname(data))
  } finally {
    await removeTree(draft)
  }
}

// Left by a killed initdb; no server ever ran on them, so no data can be lost.
async function removeUnfinished(data: string): Promise<void> {
  const prefix = `${basename(data)}.unfinished-`
  const names = await readdir(dirname(data))
  for (const name of names.filter((n) => n.startsWith(prefix))) {
    await removeTree(join(dirname(data), name))
  }
}

// Tries again, since an orphaned initdb may still be writing for a second.
async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}

async function runInitdb(cluster: NewCluster, draft: string): Promise<void> {
  const { binaries, runner, folders, password, durable } = cluster
  // A file: initdb cannot open our pipe by name when it runs as another user.
  const passwordFile = `${draft}.password`
  try {
    await writePrivateFile(passwordFile, `${password}\n`, runner.owner)
    const { command, args, options } = runner.command(binaries.initdb, [
      `--pgdata=${draft}`,
      `--username=${SUPERUSER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      // Sorts by code point and knows Unicode's upper and lower case, on every machine alike.
      '--locale=C',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--no-instructions',
      ...(durable ? [] : ['--no-sync']),
    ])
    const result = await runCommand({ command, args, options: { ...options, cwd: folders.root } })
    if (!result.ok) throw initFailed(folders.root, result.output)
  } finally {
    await rm(passwordFile, { force: true })
  }
}

async function syncFolder(path: string): Promise<void> {
  // Windows cannot open folders, and its file system journals the rename itself.
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

function initFailed(root: string, output: string): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `A database could not be made in ${root}. Check free space and rights there and start again, ` +
      `${WAY_OUT}. initdb said:\n${output.split('\n').slice(-10).join('\n')}`,
  )
}
