import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Binaries } from '../../../src/db/embedded/postgres-binaries.ts'
import { builtProgram } from '../../support/built-programs.ts'
import { afterThisTest } from './scratch.ts'

/** What a launcher in another process reports about its server. */
type Facts = {
  connectionString: string
  adminConnectionString: string
  dataFolder: string
  reused: boolean
  error?: string
}

export type LauncherProcess = {
  child: ChildProcess
  pid: number
  /** Settles with the process's one line of output. */
  started: Promise<Facts>
  /** Settles with exit code and signal. */
  ended: Promise<{ code: number | null; signal: string | null }>
}

export type LauncherOptions = {
  folder: string
  end?: 'wait' | 'finish' | 'abandon'
  /** Runs the launcher as another user, with PostgreSQL's programs in a place that the user may read. */
  user?: { uid: number; gid: number; binaries: Binaries }
}

const PROGRAM = fileURLToPath(new URL('launcher-program.mjs', import.meta.url))

/** Runs the launcher in its own process group, as a shell does. */
export function launcherProcess({ folder, end = 'wait', user }: LauncherOptions): LauncherProcess {
  const launcher = builtProgram('src/db/embedded/start-embedded-postgres.ts')
  const otherUser = user === undefined ? [] : [JSON.stringify(user)]
  const child = spawn(process.execPath, [PROGRAM, launcher, folder, end, ...otherUser], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exit = once(child, 'exit')
  afterThisTest(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await exit
  })
  const started = firstLine(child)
  // A test that kills the launcher early does not await this.
  started.catch(() => {})
  return {
    child,
    pid: child.pid ?? 0,
    started,
    ended: exit.then(([code, signal]) => ({ code, signal })),
  }
}

async function firstLine(child: ChildProcess): Promise<Facts> {
  if (child.stdout === null) throw new Error('no stdout')
  for await (const line of createInterface({ input: child.stdout })) {
    // The program above writes exactly this.
    return JSON.parse(line) as Facts
  }
  throw new Error('the launcher ended without a word')
}
