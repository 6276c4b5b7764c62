import { type ChildProcess, spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { createConnection, createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, vi } from 'vitest'
import { discardScratchFolder, makeScratchFolder } from '../../support/test-servers.ts'
import { POLL_OPTIONS } from '../../support/timeouts.ts'
import { programPath } from './programs.ts'

/** The file that operators copy. */
const EXAMPLE = new URL('../../../docs/deploy/haproxy.cfg', import.meta.url)

/** A line of HAProxy's log: one request. */
type Logged = {
  /** The server that answered, or did not; `<NOSRV>`: none was found. */
  server: string
  status: number
  /** What ended the session: `----` an answer, `SH--` a server that ended before it answered. */
  termination: string
}

export type Haproxy = {
  url: string
  /** The requests that have ended, oldest first. */
  log(): Logged[]
  /** The servers whose health checks succeed. */
  healthy(): Promise<string[]>
}

/** A port on which nothing listens at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('The port is unknown')
  return address.port
}

const LINE = /vouchers\/(\S+) [-\d/+]+ (-?\d+) \S+ - - (\S{4}) /

/** Starts HAProxy with the example's configuration in front of these ports; it ends after the tests of the file. */
export async function startHaproxy(ports: readonly number[]): Promise<Haproxy> {
  const folder = await makeScratchFolder()
  const port = await freePort()
  const socket = join(folder, 'stats.sock')
  const file = join(folder, 'haproxy.cfg')
  await writeFile(file, configOf(await readFile(EXAMPLE, 'utf8'), { port, ports, socket }))

  const child = spawn(programPath('haproxy'), ['-db', '-f', file], { stdio: 'pipe' })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  afterAll(async () => {
    await end(child)
    await discardScratchFolder(folder)
  })

  const url = `http://127.0.0.1:${port}`
  const answers = () =>
    fetch(`${url}/livez`).then(
      () => true,
      () => false,
    )
  await vi.waitUntil(async () => child.exitCode !== null || (await answers()), POLL_OPTIONS)
  if (child.exitCode !== null) throw new Error(`HAProxy has ended:\n${output}`)
  return {
    url,
    log: () =>
      output.split('\n').flatMap((line) => {
        const [, server, status, termination] = LINE.exec(line) ?? []
        if (server === undefined || termination === undefined) return []
        return [{ server, status: Number(status), termination }]
      }),
    async healthy() {
      const rows = (await ask(socket, 'show stat')).split('\n').map((line) => line.split(','))
      return rows.flatMap(([backend, name, ...columns]) =>
        backend === 'vouchers' && name !== 'BACKEND' && columns[STATUS]?.startsWith('UP')
          ? [name ?? '']
          : [],
      )
    },
  }
}

/** The column of `show stat`, after the names of the backend and of the server. */
const STATUS = 15

/** The example with addresses of this test. */
function configOf(
  example: string,
  { port, ports, socket }: { port: number; ports: readonly number[]; socket: string },
): string {
  let [binds, servers] = [0, 0]
  const lines = example.split('\n').map((line) => {
    if (line.trim() === 'global') return `global\n    stats socket ${socket} mode 600`
    if (line.trim().startsWith('bind ')) {
      binds += 1
      return `    bind 127.0.0.1:${port}`
    }
    return line.replace(/^(\s+server \S+) \S+/, (_, start: string) => {
      const server = ports[servers]
      servers += 1
      return `${start} 127.0.0.1:${server}`
    })
  })
  if (binds !== 1 || servers !== ports.length) {
    throw new Error(`haproxy.cfg has ${binds} addresses and ${servers} servers`)
  }
  return lines.join('\n')
}

async function ask(socket: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const connection = createConnection(socket, () => connection.end(`${command}\n`))
    connection.on('data', (chunk: Buffer) => (answer += chunk.toString()))
    connection.on('error', reject)
    connection.on('close', () => resolve(answer))
  })
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}
