import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, vi } from 'vitest'
import { builtProgram } from './built-programs.ts'
import type { Answer, Body, RequestOptions } from './test-app.ts'
import { OPERATOR_KEY } from './test-app.ts'
import { databaseSettings } from './test-connections.ts'
import { POLL_OPTIONS } from './timeouts.ts'

/** A real process of the service, which can be killed. */
export type ServiceProcess = {
  /** Where it listens; known once it is ready, and only for a process that serves. */
  readonly url: string
  /** Everything that it logged. */
  output(): string
  request<T = Body>(method: string, path: string, options?: RequestOptions): Promise<Answer<T>>
  /** Resolves when it serves or works. @throws Error when it ended before. */
  ready(): Promise<void>
  /** `kill -9`; resolves when it is gone. */
  kill(): Promise<void>
  /** SIGTERM; resolves with the exit code. */
  terminate(): Promise<number | null>
}

const runningProcesses = new Set<ChildProcess>()

/** Ends what a failed test left running; call it at the top of a file that starts processes. */
export function useServiceProcesses(): void {
  afterAll(() => {
    for (const child of runningProcesses) child.kill('SIGKILL')
  })
}

/**
 * Starts `src/main.ts` as a process of its own on the given database.
 *
 * @param program the bundled file of it, for another release than ours.
 */
export async function startServiceProcess(
  env: NodeJS.ProcessEnv,
  program: string = builtProgram('src/main.ts'),
): Promise<ServiceProcess> {
  const child = spawn(process.execPath, [program], {
    env: {
      PATH: process.env['PATH'],
      HOST: '127.0.0.1',
      PORT: '0',
      ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
      OPERATOR_API_KEY: OPERATOR_KEY,
      MIGRATE_ON_START: 'false',
      ...env,
      ...databaseSettings(String(env['DATABASE_URL'])),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  runningProcesses.add(child)
  const lines: string[] = []
  child.stdout.on('data', (chunk: Buffer) => lines.push(chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => lines.push(chunk.toString()))
  const exited = once(child, 'exit').then(([code]) => {
    runningProcesses.delete(child)
    return code as number | null
  })
  const output = () => lines.join('')
  const address = () => {
    const found = /"address":"([^"]+)"/.exec(output())?.[1]
    if (found === undefined) throw new Error(`The process does not listen yet:\n${output()}`)
    return found
  }

  const hasEnded = () => child.exitCode !== null || child.signalCode !== null

  return {
    get url() {
      return address()
    },
    output,
    async ready() {
      const isReady = () => output().includes('"msg":"ready"')
      // A timeout would not say what it waits for.
      await vi.waitUntil(() => isReady() || hasEnded(), POLL_OPTIONS).catch(() => {})
      if (!isReady()) throw new Error(`The process is not ready, or has ended:\n${output()}`)
    },
    async request<T>(
      method: string,
      path: string,
      { as = OPERATOR_KEY, body, headers }: RequestOptions = {},
    ) {
      const response = await fetch(`${address()}${path}`, {
        method,
        headers: {
          ...(as === null ? {} : { authorization: `Bearer ${as}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }).catch((cause: unknown) => {
        // "fetch failed" does not say that the process has ended, or why.
        const state = hasEnded() ? `has ended (${child.signalCode ?? child.exitCode})` : 'runs'
        throw new Error(`${method} ${path}: no answer; the process ${state}:\n${output()}`, {
          cause,
        })
      })
      const text = await response.text()
      return {
        status: response.status,
        // The caller says what it expects; its assertions would fail on anything else.
        body: (text === '' ? null : JSON.parse(text)) as T,
        headers: Object.fromEntries(response.headers),
      }
    },
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
    async terminate() {
      child.kill('SIGTERM')
      return exited
    },
  }
}
