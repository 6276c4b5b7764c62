import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { DockerfileParser, type Instruction } from 'dockerfile-ast'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { parse } from 'yaml'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'

// Without Docker: each stage of the Dockerfile is a folder, and its instructions run there with the Node
// and the npm of this machine. It shows that the image has what it needs, not that Docker builds it.

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const run = promisify(execFile)
const database = useTestDatabase()

let folder = ''
let image: Image

type Image = {
  app: string
  bin: string
  env: Record<string, string>
  user: string | null
  command: string[]
  healthCheck: string[]
}

/** The files that .dockerignore lets through: it excludes all and names what is copied. */
async function buildContext(): Promise<string[]> {
  const lines = (await readFile(join(ROOT, '.dockerignore'), 'utf8')).split('\n')
  const rules = lines.filter((line) => line !== '' && !line.startsWith('#'))
  expect(rules[0]).toBe('*')
  expect(rules.slice(1).every((rule) => rule.startsWith('!'))).toBe(true)
  return rules.slice(1).map((rule) => rule.slice(1))
}

async function copy(from: string, to: string, context: readonly string[] | null): Promise<void> {
  const isSent = (path: string) =>
    context === null ||
    context.some(
      (name) =>
        path === '' ||
        path === name ||
        `${path}/`.startsWith(`${name}/`) ||
        name.startsWith(`${path}/`),
    )
  await mkdir(dirname(to), { recursive: true })
  await cp(from, to, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (each) => isSent(relative(from, each)),
  })
  // As in a checkout of somebody with umask 077, whatever that of this one is.
  if (context !== null) await run('chmod', ['-R', 'go=', to])
}

/** With the mode that Docker gives it, whatever the umask is. */
async function makeFolder(path: string): Promise<void> {
  await mkdir(path)
  await chmod(path, 0o755)
}

/** With its flags, in one line. */
function textOf(instruction: Instruction, lines: readonly string[]): string {
  const { start, end } = instruction.getRange()
  const parts = lines.slice(start.line, end.line + 1).map((line) => line.replace(/\\$/, '').trim())
  return parts.join(' ').replace(/^\w+\s+/, '')
}

/** Runs the instructions of all stages. @returns the last one. */
async function buildImage(): Promise<Image> {
  const dockerfile = await readFile(join(ROOT, 'Dockerfile'), 'utf8')
  const lines = dockerfile.split('\n')
  const context = await buildContext()
  const stages = new Map<string, Image>()
  let stage: Image | undefined
  for (const instruction of DockerfileParser.parse(dockerfile).getInstructions()) {
    const keyword = instruction.getKeyword()
    const text = textOf(instruction, lines)
    if (keyword === 'FROM') {
      const name = / AS (\w+)$/i.exec(text)?.[1] ?? 'final'
      const home = join(folder, name)
      const [app, bin] = [join(home, 'app'), join(home, 'bin')]
      stage = { app, bin, env: {}, user: null, command: [], healthCheck: [] }
      for (const each of [home, app, bin]) await makeFolder(each)
      stages.set(name, stage)
      continue
    }
    if (stage === undefined) throw new Error(`${keyword} stands before FROM`)
    await follow(stage, keyword, text, { context, stages })
  }
  if (stage === undefined) throw new Error('The Dockerfile has no stage')
  return stage
}

type Others = { context: readonly string[]; stages: ReadonlyMap<string, Image> }

async function follow(stage: Image, keyword: string, text: string, others: Others): Promise<void> {
  const words = text.split(/\s+/)
  switch (keyword) {
    case 'WORKDIR':
      expect(text).toBe('/app')
      return
    case 'COPY': {
      const from = /^--from=(\w+)/.exec(text)?.[1]
      const paths = words.filter((word) => !word.startsWith('--'))
      const to = paths.pop() ?? ''
      for (const path of paths) await copyOne(stage, path, to, from, others)
      return
    }
    case 'RUN':
      await shell(stage, text)
      return
    case 'ENV':
      for (const word of words) {
        const [name = '', value = ''] = word.split('=')
        stage.env[name] = value
      }
      return
    case 'USER':
      stage.user = text
      return
    case 'CMD':
      stage.command = JSON.parse(text) as string[] // the form that starts no shell
      return
    case 'HEALTHCHECK':
      stage.healthCheck = JSON.parse(text.replace(/^(--\S+ )*CMD /, '')) as string[]
      return
    case 'EXPOSE':
      return
    default:
      throw new Error(`This test does not know ${keyword}`)
  }
}

async function copyOne(
  stage: Image,
  path: string,
  to: string,
  from: string | undefined,
  { context, stages }: Others,
): Promise<void> {
  const target = (name: string) => join(stage.app, to.endsWith('/') ? join(to, name) : to)
  if (from === undefined) {
    if (path !== '.') expect(context).toContain(path)
    return copy(
      join(ROOT, path),
      path === '.' ? stage.app : target(path),
      path === '.' ? context : null,
    )
  }
  const source = stages.get(from)
  if (source === undefined) throw new Error(`There is no stage ${from}`)
  const inside = relative('/app', path)
  return copy(join(source.app, inside), target(inside), null)
}

async function shell(stage: Image, command: string): Promise<void> {
  const here = command
    .replaceAll('/usr/local/bin/', `${stage.bin}/`)
    .replaceAll('/app/', `${stage.app}/`)
  // What npm stored when it installed this repository need not be fetched again.
  const env = {
    ...withoutNpm(process.env),
    npm_config_prefer_offline: 'true',
    npm_config_audit: 'false',
  }
  await run('sh', ['-c', `umask 022; ${here}`], { cwd: stage.app, env, maxBuffer: 2 ** 24 })
}

/** `npm test` passes its own settings on; a shell in a container has none. */
const withoutNpm = (env: NodeJS.ProcessEnv) =>
  Object.fromEntries(
    Object.entries(env).filter(([name]) => !/^(npm_|NODE_|VITEST|TEST$)/.test(name)),
  )

/** The size of all files in a folder, in bytes. */
async function sizeOf(path: string): Promise<number> {
  const { stdout } = await run('du', ['-sk', path])
  return Number.parseInt(stdout, 10) * 1024
}

/** Nobody may write, as in a container with `read_only: true`. */
async function makeReadOnly(path: string): Promise<void> {
  await run('chmod', ['-R', 'a-w', path])
}

// `nobody` on every Linux. Root would be allowed everything.
const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}

/** The embedded server's socket lets only its own user in, so the image reaches it through a port. */
async function databaseUrl(): Promise<string> {
  const url = new URL(database.connectionString)
  const socketFolder = url.searchParams.get('host')
  if (socketFolder === null) return url.href
  const path = join(socketFolder, `.s.PGSQL.${url.port || '5432'}`)
  const forwarder = createServer((client) => {
    const server = connect(path)
    for (const end of [client, server]) end.on('error', () => {})
    client.pipe(server).pipe(client)
  })
  await once(forwarder.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => void forwarder.close())
  url.searchParams.delete('host')
  url.hostname = '127.0.0.1'
  url.port = String((forwarder.address() as AddressInfo).port) // it listens on a port
  return url.href
}

/** The exit code of the image's health check. */
async function checkHealth(env: NodeJS.ProcessEnv): Promise<number | null> {
  const [program = '', ...args] = image.healthCheck
  const PATH = process.env['PATH']
  const [code] = await once(spawn(program, args, { env: { ...env, PATH } }), 'exit')
  return code as number | null
}

const settings = (address: string) => ({
  ...image.env,
  PATH: `${image.bin}:${process.env['PATH']}`,
  DATABASE_URL: address,
  ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
  OPERATOR_API_KEY: 'operator-key-of-the-image-test',
  PUBLIC_URL: 'https://vouchers.example.org',
  HOST: '127.0.0.1',
  PORT: '0',
})

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sponsor-vouchers-image-'))
  await chmod(folder, 0o755)
  image = await buildImage()
  await makeReadOnly(image.app)
})
afterAll(async () => {
  await run('chmod', ['-R', 'u+w', folder])
  await rm(folder, { recursive: true })
})

describe('the container image', () => {
  it('runs as an ordinary user and contains only what production needs', async () => {
    // Kubernetes' runAsNonRoot takes a number only.
    expect(image.user).toBe('1000')
    const inside = await readdir(image.app)
    expect(inside.toSorted()).toEqual(['dist', 'node_modules', 'package.json'])
    const packages = await readdir(join(image.app, 'node_modules'))
    expect(packages).toContain('fastify')
    for (const name of ['typescript', 'vitest', 'tsx', 'fake-stripe']) {
      expect(packages).not.toContain(name)
    }
    // Root reads everything, so a start as root would not show it.
    const others = [
      '!',
      '-type',
      'l',
      '(',
      '!',
      '-perm',
      '-o=r',
      '-o',
      '-type',
      'd',
      '!',
      '-perm',
      '-o=x',
      ')',
    ]
    expect((await run('find', [image.app, ...others])).stdout).toBe('')
    const files = await readdir(image.app, { recursive: true })
    expect(files.filter((name) => /\.([cm]?ts|tsx|map)$/.test(name))).toEqual([])
    const megabytes = async (name: string) =>
      Math.round((await sizeOf(join(image.app, name))) / 1_000_000)
    const sizes = [await megabytes(''), await megabytes('node_modules'), await megabytes('dist')]
    process.stdout.write(
      `/app of the image: ${sizes[0]} MB, of that packages ${sizes[1]} MB, the service ${sizes[2]} MB\n`,
    )
    expect(sizes[0]).toBeLessThan(100)
  })

  it('migrates, serves and stops as an ordinary user on files that it cannot write', async () => {
    const env = settings(await databaseUrl())
    const cli = async (...args: string[]) =>
      run('sponsor-vouchers', args, { cwd: image.app, env, ...user })
    await cli('migrate', '--down', '--yes')
    expect((await cli('migrate')).stdout).toBe('The schema is up to date.\n')

    const [program = '', ...args] = image.command
    const service = spawn(program, args, { cwd: image.app, env, ...user })
    const lines: string[] = []
    for (const stream of [service.stdout, service.stderr]) {
      stream.on('data', (chunk: Buffer) => lines.push(chunk.toString()))
    }
    try {
      const output = () => lines.join('')
      await vi.waitUntil(
        () => output().includes('"msg":"ready"') || service.exitCode !== null,
        POLL_OPTIONS,
      )
      const address = /"address":"([^"]+)"/.exec(output())?.[1]
      expect(address, output()).toBeDefined()
      const response = await fetch(`${address}/v1/conferences`, {
        headers: { authorization: 'Bearer operator-key-of-the-image-test' },
      })
      expect(await response.json()).toMatchObject({ data: [] })
      const { port } = new URL(address ?? '')
      expect(await checkHealth({ PORT: port })).toBe(0)
      expect(await checkHealth({ PORT: '1' })).toBe(1)
      expect(await checkHealth({ PORT: '1', RUN: 'work' })).toBe(0)
      expect(await checkHealth({ METRICS_PORT: port, RUN: 'work' })).toBe(0)
      expect(await checkHealth({ METRICS_PORT: '1', RUN: 'work' })).toBe(1)
    } finally {
      const ended = once(service, 'exit')
      service.kill('SIGTERM')
      expect(await ended, lines.join('')).toEqual([0, null])
    }
  })
})

describe('compose.yaml', () => {
  it('gives the service every setting that production requires', async () => {
    type Service = { environment: Record<string, string>; read_only?: boolean; cap_drop?: string[] }
    type Compose = {
      services: Record<string, Service>
      configs: { pgbouncer: { content: string } }
    }
    const { services, configs } = parse(await readFile(join(ROOT, 'compose.yaml'), 'utf8'), {
      merge: true,
    }) as Compose // the two services are checked next
    for (const [name, role] of [
      ['serve', 'serve'],
      ['work', 'work'],
    ] as const) {
      expect(services[name]?.environment).toMatchObject({
        RUN: role,
        DATABASE_URL: expect.stringContaining('@pgbouncer:6432/'),
        DATABASE_DIRECT_URL: expect.stringContaining('@postgres:5432/'),
        ENCRYPTION_KEY: expect.any(String),
        OPERATOR_API_KEY: expect.any(String),
        PUBLIC_URL: expect.any(String),
      })
      expect(services[name]).toMatchObject({ read_only: true, cap_drop: ['ALL'] })
    }
    expect(services['work']?.environment['METRICS_PORT']).toBe('9464')
    // Of the file that the tests of PgBouncer use, with the address of this Postgres.
    const example = await readFile(join(ROOT, 'docs/deploy/pgbouncer.ini'), 'utf8')
    const values = (text: string) =>
      text.split('\n').flatMap((line) => (/^[\w*]+ = /.test(line) ? [line.trim()] : []))
    const wanted = values(example).map((line) => line.replace(/host=\S+/, 'host=postgres'))
    expect(values(configs.pgbouncer.content)).toEqual(wanted)
  })
})
