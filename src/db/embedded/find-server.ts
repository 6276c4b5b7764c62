import { execFile } from 'node:child_process'
import { readFile, readlink, rename } from 'node:fs/promises'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { EmbeddedPostgresError, WAY_OUT } from './embedded-postgres-error.ts'
import { type PostmasterPid, postmasterPidPath, readPostmasterPid } from './postmaster-pid.ts'
import { processStart } from './process-identity.ts'

const run = promisify(execFile)
const POLL_MS = 20

// A start replays the log written since the last checkpoint; with default settings (1 GB) that is
// well below a minute even on slow disks.
export const SERVER_WAIT_MS = 120_000

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
    await sleep(POLL_MS)
  }
}

/** As {@link findServer}, but waits until a server that is starting or stopping has done so. */
export async function findReadyServer(dataFolder: string): Promise<PostmasterPid | undefined> {
  const deadline = Date.now() + SERVER_WAIT_MS
  for (;;) {
    const server = await findServer(dataFolder)
    if (server === undefined || server.status === 'ready') return server
    if (Date.now() > deadline) throw undecided(dataFolder, server)
    await sleep(POLL_MS)
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

function undecided(dataFolder: string, server: PostmasterPid): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    `The database server in ${dataFolder} (process ${server.pid}) has been ${server.status} for ` +
      `${SERVER_WAIT_MS / 1000} seconds. Look into server.log beside it, end that process if it ` +
      `makes no progress (kill -QUIT ${server.pid}; nothing committed is lost), ${WAY_OUT}.`,
  )
}
