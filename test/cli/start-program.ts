import { type ChildProcess, spawn } from 'node:child_process'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { builtProgram } from '../support/built-programs.ts'
import { makeScratchFolder } from '../support/test-servers.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

export type Program = {
  /** What it wrote so far. */
  readonly stdout: string
  readonly stderr: string
  /** Its exit code; null when a signal ended it. */
  readonly ended: Promise<number | null>
  kill(signal: NodeJS.Signals): void
}

/** Starts a program in a process of its own, without the settings of this one. */
export function startProgram(
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Program {
  const child: ChildProcess = spawn(process.execPath, [builtProgram(file), ...args], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], TMPDIR: process.env['TMPDIR'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const written = { stdout: '', stderr: '' }
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (written.stdout += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (written.stderr += text))
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  return {
    get stdout() {
      return written.stdout
    },
    get stderr() {
      return written.stderr
    },
    ended,
    kill: (signal) => void child.kill(signal),
  }
}

/**
 * A data folder whose embedded server is the one that `discardScratchFolder` looks for: the folder
 * itself is its `postgres`.
 */
export async function makeDataFolder(): Promise<string> {
  const folder = await makeScratchFolder()
  await symlink(folder, join(folder, 'postgres'))
  return folder
}
