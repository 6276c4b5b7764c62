import { type ChildProcess, spawn } from 'node:child_process'
import { chown, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { vi } from 'vitest'
import { asMyself, asUser, runCommand } from '../../../src/db/embedded/choose-runner.ts'
import { migrateToLatest } from '../../../src/db/migrations.ts'
import { adminQuery, closeAdminSessions } from '../../support/test-connections.ts'
import { discardScratchFolder, makeScratchFolder } from '../../support/test-servers.ts'
import { POLL_OPTIONS } from '../../support/timeouts.ts'
import { atEnd } from './at-end.ts'
import { freePort } from './haproxy.ts'
import { programPath } from './programs.ts'

/** A server of Debian's Postgres: unlike the embedded one, it can be copied with pg_basebackup. */
export type PostgresServer = {
  port: number
  data: string
  /** Of the ordinary role that owns the database of the service. */
  connectionString: string
  /** One statement as the superuser, in the database of the service. */
  query: <Row extends pg.QueryResultRow>(sql: string, parameters?: unknown[]) => Promise<Row[]>
  /** Starts it again after `kill`, `stop` or its own end. */
  start(): Promise<void>
  isRunning(): boolean
  /** `kill -9` of the whole server. */
  kill(): Promise<void>
  /** Ends its sessions and stops. */
  stop(): Promise<void>
}

/** Postgres refuses to run as root. */
const runner = process.getuid?.() === 0 ? asUser() : asMyself

/** A folder of the user who runs the servers. It is removed after the tests of the file. */
export async function makeServerFolder(): Promise<string> {
  const folder = await makeScratchFolder()
  await giveToServerUser(folder)
  atEnd(() => discardScratchFolder(folder))
  return folder
}

export async function giveToServerUser(path: string): Promise<void> {
  if (runner.owner !== undefined) await chown(path, runner.owner.uid, runner.owner.gid)
}

/** Writes a file into a data folder. */
export async function writeAsServerUser(path: string, text: string): Promise<void> {
  await writeFile(path, text)
  await giveToServerUser(path)
}

/** The process of the server on a data folder, or null if none has started. */
export async function postmasterPid(data: string): Promise<number | null> {
  const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')
  return Number.parseInt(text, 10) || null
}

/** Runs a program of Postgres to its end, as the user of the servers. @throws Error with its output. */
export async function runProgram(
  name: Parameters<typeof programPath>[0],
  args: string[],
): Promise<string> {
  const { ok, output } = await runCommand(asServerUser(programPath(name), args))
  if (!ok) throw new Error(`${name}: ${output}`)
  return output
}

/** A command as the user of the servers. */
export function asServerUser(program: string, args: string[]) {
  const command = runner.command(program, args)
  // The other user may not have access to our working folder.
  return { ...command, options: { cwd: '/', ...command.options } }
}

const ROLE = 'vouchers'

/**
 * A primary with the schema of the service in the database `vouchers`.
 *
 * @param folder of the user who runs the servers. Absent: a new one.
 */
export async function startPrimary(
  settings: Record<string, string> = {},
  folder?: string,
): Promise<PostgresServer> {
  const data = join(folder ?? (await makeServerFolder()), 'data')
  const options = ['--auth=trust', '--no-sync', '--wal-segsize=4', '-E', 'UTF8']
  await runProgram('initdb', ['-D', data, '-U', 'postgres', ...options])
  const server = serverAt(data, await freePort(), settings)
  await server.start()
  await createServiceDatabase(server.port)
  return server
}

/** Creates the role and the database of the service, with its schema. */
export async function createServiceDatabase(port: number): Promise<void> {
  const admin = `postgres://postgres@127.0.0.1:${port}/postgres`
  await adminQuery(admin, `create role ${ROLE} login password '${ROLE}'`)
  await adminQuery(admin, `create database ${ROLE} owner ${ROLE}`)
  await closeAdminSessions(admin)
  await migrateToLatest(connectionStringAt(port))
}

/** The role of the service in its database. */
export const connectionStringAt = (port: number): string =>
  `postgres://${ROLE}:${ROLE}@127.0.0.1:${port}/${ROLE}`

/** A streaming replica of a server. */
export async function startReplica(
  { port: ofPort }: PostgresServer,
  settings: Record<string, string> = {},
): Promise<PostgresServer> {
  const data = join(await makeServerFolder(), 'data')
  const source = `host=127.0.0.1 port=${ofPort} user=postgres`
  const args = ['-d', source, '-D', data, '-R', '-X', 'stream', '-c', 'fast', '--no-sync']
  await runProgram('pg_basebackup', args)
  const server = serverAt(data, await freePort(), settings)
  await server.start()
  return server
}

/** A server on an existing data folder, which does not run yet. It ends after the tests of the file. */
export function serverAt(
  data: string,
  port: number,
  settings: Record<string, string>,
): PostgresServer {
  const admin = `postgres://postgres@127.0.0.1:${port}/${ROLE}`
  const all = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    fsync: 'off',
    max_connections: '200',
    shared_buffers: '32MB',
    ...settings,
  }
  const options = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  let child: ChildProcess | null = null

  const isRunning = () => child !== null && child.exitCode === null && child.signalCode === null

  async function end(signal: NodeJS.Signals): Promise<void> {
    await closeAdminSessions(admin)
    const ending = child
    if (ending === null || !isRunning()) return
    const ended = new Promise((resolve) => ending.once('exit', resolve))
    ending.kill(signal)
    await ended
  }

  /** @throws Error also if processes of a killed server still use its memory. */
  async function startOnce(): Promise<void> {
    let output = ''
    const program = asServerUser(programPath('postgres'), ['-D', data, ...options])
    const started = spawn(program.command, program.args, { ...program.options, stdio: 'pipe' })
    child = started
    const collect = (chunk: Buffer) => {
      output += chunk.toString()
    }
    started.stdout.on('data', collect)
    started.stderr.on('data', collect)
    await vi.waitUntil(() => started.exitCode !== null || answers(port), POLL_OPTIONS)
    if (started.exitCode !== null) throw new Error(`Postgres has ended:\n${output}`)
  }

  atEnd(() => end('SIGQUIT'))
  return {
    port,
    data,
    connectionString: connectionStringAt(port),
    query: (sql, parameters) => adminQuery(admin, sql, parameters),
    async start() {
      if (!isRunning()) await vi.waitFor(startOnce, POLL_OPTIONS)
    },
    isRunning,
    kill: () => end('SIGKILL'),
    stop: () => end('SIGINT'),
  }
}

/** Whether the server accepts sessions. */
async function answers(port: number): Promise<boolean> {
  const client = new pg.Client(`postgres://postgres@127.0.0.1:${port}/postgres`)
  try {
    await client.connect()
    await client.end()
    return true
  } catch {
    return false
  }
}
