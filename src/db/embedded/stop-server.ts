import { setTimeout as sleep } from 'node:timers/promises'
import { EmbeddedPostgresError } from './embedded-postgres-error.ts'
import { codeOf } from './error-text.ts'
import { locateBinaries } from './locate-binaries.ts'
import type { PostmasterPid } from './postmaster-pid.ts'
import { isAlive, type ProcessIdentity, processStart } from './process-identity.ts'
import { runCommand } from './run-command.ts'
import { asMyself } from './runner.ts'
import { removeSocketFolder } from './socket-folder.ts'

const POLL_MS = 10

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
    await send(dataFolder, server.pid, step)
    if (await hasEnded(identity, step.waitMs)) return removeSocketFolder(server.socketFolder)
  }
  throw new EmbeddedPostgresError(
    `The database server in ${dataFolder} (process ${server.pid}) does not stop.`,
  )
}

async function send(dataFolder: string, pid: number, step: (typeof STEPS)[number]): Promise<void> {
  if (process.platform === 'win32') return stopThroughPgCtl(dataFolder, step.mode)
  try {
    process.kill(pid, step.signal)
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return
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
    await sleep(POLL_MS)
  }
  return true
}
