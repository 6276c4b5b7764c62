import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { afterAll, vi } from 'vitest'
import { builtProgram } from './built-programs.ts'
import type { Answer, Body, RequestOptions } from './test-app.ts'
import { OPERATOR_KEY } from './test-app.ts'

/** A real process of the service, which can be killed. */
export type ServiceProcess = {
  url: string
  /** Everything that it logged. */
  output(): string
  request<T = Body>(method: string, path: string, options?: RequestOptions): Promise<Answer<T>>
  /** Resolves when /readyz answers 200. Only for a process that serves. */
  ready(): Promise<void>
  /** `kill -9`; resolves when it is gone. */
  kill(): Promise<void>
  /** SIGTERM; resolves with the exit code. */
  terminate(): Promise<number | null>
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('No TCP port was given')
  return address.port
}

const runningProcesses = new Set<ChildProcess>()

/** Ends what a failed test left running; call it at the top of a file that starts processes. */
export function useServiceProcesses(): void {
  afterAll(() => {
    for (const child of runningProcesses) child.kill('SIGKILL')
  })
}

/** Starts `src/main.ts` as a process of its own on the given database. */
export async function startServiceProcess(env: NodeJS.ProcessEnv): Promise<ServiceProcess> {
  const port = await freePort()
  const child = spawn(process.execPath, [builtProgram('src/main.ts')], {
    env: {
      PATH: process.env['PATH'],
      HOST: '127.0.0.1',
      PORT: String(port),
      ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
      OPERATOR_API_KEY: OPERATOR_KEY,
      MIGRATE_ON_START: 'false',
      ...env,
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
  const url = `http://127.0.0.1:${port}`
  const output = () => lines.join('')

  return {
    url,
    output,
    async ready() {
      await vi.waitFor(
        async () => {
          const answer = await fetch(`${url}/readyz`).catch(() => null)
          if (child.exitCode !== null || answer?.status !== 200) {
            throw new Error(`The service is not ready:\n${output()}`)
          }
        },
        { timeout: 30_000, interval: 50 },
      )
    },
    async request<T>(
      method: string,
      path: string,
      { as = OPERATOR_KEY, body, headers }: RequestOptions = {},
    ) {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          ...(as === null ? {} : { authorization: `Bearer ${as}` }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
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
