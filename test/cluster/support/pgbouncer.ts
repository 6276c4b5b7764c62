import { spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { asMyself, throughUserNamespace } from '../../../src/db/embedded/choose-runner.ts'
import { discardScratchFolder, makeScratchFolder } from '../../support/test-servers.ts'
import { freePort } from './haproxy.ts'
import { programPath } from './programs.ts'

/** The file that operators copy. */
const EXAMPLE = new URL('../../../docs/deploy/pgbouncer.ini', import.meta.url)

export type Pgbouncer = {
  /** The address of the server through PgBouncer, with the login of its administrator. */
  connectionString: string
  stop(): Promise<void>
}

/**
 * Starts PgBouncer with the example's configuration in front of a server, for all its databases and roles.
 *
 * @param adminConnectionString of the server: PgBouncer looks up the passwords of roles with it.
 * @param options.inTurn uses the sessions of a pool in turn, instead of the newest free one.
 */
export async function startPgbouncer(
  adminConnectionString: string,
  {
    poolMode = 'transaction',
    inTurn = false,
  }: { poolMode?: 'transaction' | 'session'; inTurn?: boolean } = {},
): Promise<Pgbouncer> {
  const folder = await makeScratchFolder()
  const port = await freePort()
  const admin = new URL(adminConnectionString)
  const users = join(folder, 'userlist.txt')
  await writeFile(users, `"${admin.username}" "${decodeURIComponent(admin.password)}"\n`)
  const file = join(folder, 'pgbouncer.ini')
  const own = { admin, port, users, poolMode, inTurn }
  await writeFile(file, configOf(await readFile(EXAMPLE, 'utf8'), own))

  // It refuses to run as root, like Postgres.
  const runner = process.getuid?.() === 0 ? throughUserNamespace : asMyself
  const { command, args, options } = runner.command(programPath('pgbouncer'), [file])
  const child = spawn(command, args, { ...options, stdio: 'pipe' })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))

  const url = new URL(admin)
  url.searchParams.delete('host')
  url.host = `127.0.0.1:${port}`
  const stop = async () => {
    // At once: nobody waits for the clients of a test.
    child.kill('SIGKILL')
    await ended
    await discardScratchFolder(folder)
  }
  while (!(await accepts(url.href))) {
    if (child.exitCode === null) continue
    await stop()
    throw new Error(`PgBouncer has ended:\n${output}`)
  }
  return { connectionString: url.href, stop }
}

/** The example with the addresses of this test, and with more connections: whole runs go through it. */
function configOf(
  example: string,
  {
    admin,
    port,
    users,
    poolMode,
    inTurn,
  }: { admin: URL; port: number; users: string; poolMode: string; inTurn: boolean },
): string {
  const host = admin.searchParams.get('host') ?? admin.hostname
  const settings: Record<string, string> = {
    '\\*': `host=${host} port=${admin.port || 5432}`,
    listen_addr: '127.0.0.1',
    listen_port: String(port),
    pool_mode: poolMode,
    auth_file: users,
    max_client_conn: '2000',
    default_pool_size: '100',
  }
  let config = example
  for (const [name, value] of Object.entries(settings)) {
    const line = new RegExp(`^(${name}) = .*$`, 'm')
    if (!line.test(config)) throw new Error(`pgbouncer.ini has no setting ${name}`)
    config = config.replace(line, `$1 = ${value}`)
  }
  // The roles of tests come and go. A user namespace has no folder for sockets.
  const more = [
    `auth_user = ${admin.username}`,
    'unix_socket_dir =',
    `server_round_robin = ${inTurn ? 1 : 0}`,
  ]
  return [config, ...more, ''].join('\n')
}

async function accepts(connectionString: string): Promise<boolean> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 1_000 })
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}
