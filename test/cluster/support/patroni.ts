import { type ChildProcess, spawn } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { vi } from 'vitest'
import { parse, stringify } from 'yaml'
import { POLL_OPTIONS } from '../../support/timeouts.ts'
import { atEnd } from './at-end.ts'
import { freePort } from './haproxy.ts'
import {
  asServerUser,
  connectionStringAt,
  createServiceDatabase,
  giveToServerUser,
  makeServerFolder,
  postmasterPid,
} from './postgres.ts'
import { programPath } from './programs.ts'

/** The files that operators copy. */
const example = (name: string) =>
  readFile(new URL(`../../../docs/deploy/${name}`, import.meta.url), 'utf8')

export type PatroniNode = {
  name: string
  /** What Patroni's REST API says of the node; null without an answer. */
  state(): Promise<NodeState | null>
  /** `kill -9` of Patroni and its Postgres, as when the machine loses its power. */
  kill(): Promise<void>
  start(): void
  /** What Patroni and Postgres have printed. */
  output(): string
}

export type NodeState = { role: string; state: string; sync_standby?: boolean; timeline?: number }

export type PatroniCluster = {
  nodes: PatroniNode[]
  /** HAProxy's port that leads to the primary. */
  primaryPort: number
  /** HAProxy's port that leads to the replicas. */
  replicaPort: number
  /** The primary and its synchronous standby, as soon as there are both. */
  roles(): Promise<{ primary: PatroniNode; standby: PatroniNode }>
}

type Ports = { sql: number; rest: number }

/**
 * Three nodes of Patroni with synchronous replication, one etcd, and HAProxy in front, with the configuration of
 * docs/deploy, and a primary with the schema of the service. All of it ends after the tests of the file.
 */
export async function startPatroniCluster(): Promise<PatroniCluster> {
  const folder = await makeServerFolder()
  const etcd = await startEtcd(folder)
  const ports: Ports[] = []
  for (let index = 0; index < 3; index += 1) {
    ports.push({ sql: await freePort(), rest: await freePort() })
  }
  const nodes: PatroniNode[] = []
  for (const [index, each] of ports.entries()) {
    nodes.push(await createNode(join(folder, `node${index + 1}`), `node${index + 1}`, each, etcd))
  }
  const proxy = await startProxy(folder, ports)
  // The first one initialises the cluster, the others copy it.
  nodes[0]?.start()
  await vi.waitFor(async () => {
    const state = await nodes[0]?.state()
    if (state?.role !== 'master') throw new Error(`No primary yet:\n${nodes[0]?.output()}`)
  }, POLL_OPTIONS)
  for (const node of nodes.slice(1)) node.start()

  const roles = async () => {
    const states = await Promise.all(nodes.map((node) => node.state()))
    const primary = nodes.find((_, index) => states[index]?.role === 'master')
    const standby = nodes.find((_, index) => states[index]?.sync_standby === true)
    return primary === undefined || standby === undefined ? undefined : { primary, standby }
  }
  const untilRoles = async () => (await vi.waitUntil(roles, POLL_OPTIONS)) ?? Promise.reject()
  await untilRoles()
  await vi.waitFor(() => createServiceDatabase(proxy.primaryPort), POLL_OPTIONS)
  return { nodes, ...proxy, roles: untilRoles }
}

/** The service's database behind a port of the proxy. */
export const serviceDatabaseAt = connectionStringAt

function run(program: { command: string; args: string[]; options: object }) {
  const child: ChildProcess = spawn(program.command, program.args, {
    ...program.options,
    stdio: 'pipe',
  })
  let output = ''
  const collect = (chunk: Buffer) => {
    output += chunk.toString()
  }
  child.stdout?.on('data', collect)
  child.stderr?.on('data', collect)
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }
  return { kill, output: () => output }
}

async function startEtcd(folder: string): Promise<string> {
  const address = `http://127.0.0.1:${await freePort()}`
  const peers = `http://127.0.0.1:${await freePort()}`
  const etcd = run(
    asServerUser(programPath('etcd'), [
      `--data-dir=${join(folder, 'etcd')}`,
      `--listen-client-urls=${address}`,
      `--advertise-client-urls=${address}`,
      `--listen-peer-urls=${peers}`,
      `--initial-advertise-peer-urls=${peers}`,
      `--initial-cluster=default=${peers}`,
      '--log-level=error',
      '--unsafe-no-fsync',
    ]),
  )
  atEnd(() => etcd.kill())
  await vi.waitUntil(() => answers(`${address}/health`), POLL_OPTIONS)
  return new URL(address).host
}

async function createNode(
  folder: string,
  name: string,
  { sql, rest }: Ports,
  etcd: string,
): Promise<PatroniNode> {
  await mkdir(folder)
  await giveToServerUser(folder)
  const file = join(folder, 'patroni.yml')
  const data = join(folder, 'data')
  await writeFile(
    file,
    stringify(configOf(parse(await example('patroni.yml')), { name, sql, rest, etcd, data })),
  )
  // The server's user reads it, whatever the umask is.
  await chmod(file, 0o644)
  let patroni: ReturnType<typeof run> | null = null
  const kill = async () => {
    const postmaster = await postmasterPid(data)
    // Patroni first: it would start Postgres again.
    await patroni?.kill()
    if (postmaster !== null) process.kill(postmaster, 'SIGKILL')
  }
  atEnd(kill)
  return {
    name,
    kill,
    start() {
      patroni = run(asServerUser(programPath('patroni'), [file]))
    },
    output: () => patroni?.output() ?? '',
    async state() {
      const response = await fetch(`http://127.0.0.1:${rest}/patroni`).catch(() => null)
      return response === null ? null : ((await response.json()) as NodeState)
    },
  }
}

type Node = Ports & { name: string; etcd: string; data: string }

/** The example with the addresses of a test, and faster: it ends the lease of a dead leader after seven seconds. */
// oxlint-disable-next-line typescript/no-explicit-any -- a configuration file
function configOf(config: any, { name, sql, rest, etcd, data }: Node): object {
  const address = `127.0.0.1:${sql}`
  const { dcs } = config.bootstrap
  const folder = dirname(data)
  return {
    ...config,
    name,
    etcd3: { hosts: etcd },
    restapi: { listen: `127.0.0.1:${rest}`, connect_address: `127.0.0.1:${rest}` },
    bootstrap: { ...config.bootstrap, dcs: { ...dcs, ttl: 7, loop_wait: 1, retry_timeout: 3 } },
    postgresql: {
      ...config.postgresql,
      listen: address,
      connect_address: address,
      data_dir: data,
      // Patroni needs all programs, and the path may lead through a link to one.
      bin_dir: dirname(realpathSync(programPath('postgres'))),
      pgpass: join(folder, 'pgpass'),
      pg_hba: ['host replication all 127.0.0.1/32 trust', 'host all all 127.0.0.1/32 trust'],
      parameters: { unix_socket_directories: '', fsync: 'off', shared_buffers: '32MB' },
    },
  }
}

async function startProxy(folder: string, nodes: readonly Ports[]) {
  const primaryPort = await freePort()
  const replicaPort = await freePort()
  const lines = (await example('haproxy-postgres.cfg'))
    .replace('127.0.0.1:5432', `127.0.0.1:${primaryPort}`)
    .replace('127.0.0.1:5433', `127.0.0.1:${replicaPort}`)
    .replaceAll(/server node(\d) 10\.\S+ check port 8008/g, (_, number: string) => {
      const { sql, rest } = nodes[Number(number) - 1] ?? { sql: 0, rest: 0 }
      return `server node${number} 127.0.0.1:${sql} check port ${rest}`
    })
  const file = join(folder, 'haproxy.cfg')
  await writeFile(file, lines)
  const haproxy = run({ command: programPath('haproxy'), args: ['-db', '-f', file], options: {} })
  atEnd(() => haproxy.kill())
  return { primaryPort, replicaPort }
}

const answers = (url: string) =>
  fetch(url).then(
    ({ ok }) => ok,
    () => false,
  )
