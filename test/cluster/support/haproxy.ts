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

export type Haproxy = {
  url: string
  /** In the order of their ports. */
  servers(): Promise<{ isHealthy: boolean; requestsInFlight: number }[]>
}

/** A port on which nothing listens at the moment, for a program that needs a fixed one. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('The port is unknown')
  return address.port
}

/** A function that starts HAProxy with the example's configuration in front of ports. It ends after the tests. */
export function useHaproxy(): (ports: readonly number[]) => Promise<Haproxy> {
  const ends: (() => Promise<void>)[] = []
  afterAll(async () => {
    for (const end of ends) await end()
  })
  return (ports) => startHaproxy(ports, ends)
}

async function startHaproxy(
  ports: readonly number[],
  ends: (() => Promise<void>)[],
): Promise<Haproxy> {
  const folder = await makeScratchFolder()
  const port = await freePort()
  const socket = join(folder, 'stats.sock')
  const file = join(folder, 'haproxy.cfg')
  await writeFile(file, configOf(await readFile(EXAMPLE, 'utf8'), { port, ports, socket }))

  const child = spawn(programPath('haproxy'), ['-db', '-f', file], { stdio: 'pipe' })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  ends.push(async () => {
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
    async servers() {
      const table = (await ask(socket, 'show stat')).split('\n').map((line) => line.split(','))
      const [names = [], ...rows] = table
      return rows
        .filter(([backend, server]) => backend === 'vouchers' && server !== 'BACKEND')
        .map((row) => ({
          isHealthy: row[names.indexOf('status')]?.startsWith('UP') === true,
          requestsInFlight: Number(row[names.indexOf('scur')]),
        }))
    },
  }
}

/** The example with the addresses of this test. */
function configOf(
  example: string,
  { port, ports, socket }: { port: number; ports: readonly number[]; socket: string },
): string {
  let binds = 0
  const servers = new Set<number>()
  const lines = example.split('\n').map((line) => {
    if (line.trim() === 'global') return `global\n    stats socket ${socket} mode 600`
    if (line.trim().startsWith('bind ')) {
      binds += 1
      return `    bind 127.0.0.1:${port}`
    }
    return line.replace(/^(\s+server vouchers(\d+)) \S+/, (_, start: string, number: string) => {
      servers.add(Number(number))
      return `${start} 127.0.0.1:${ports[Number(number) - 1]}`
    })
  })
  if (binds !== 1 || servers.size !== ports.length) {
    throw new Error(`haproxy.cfg has ${binds} addresses and ${servers.size} servers`)
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
