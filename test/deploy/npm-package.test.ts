import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'

// `npm pack` here, `npm install --global` in a folder of its own, and the command that it installs.

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const run = promisify(execFile)
const database = useTestDatabase()

let folder = ''
let command = ''
let packed: Packed

type Packed = { filename: string; size: number; unpackedSize: number; files: { path: string }[] }

const SETTINGS = {
  ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
  OPERATOR_API_KEY: 'operator-key-of-the-package-test',
  PUBLIC_URL: 'https://vouchers.example.org',
  PORT: '0',
  NODE_ENV: 'production',
}

/** Without what npm and vitest set. */
const environment = () => ({
  ...Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(npm_|VITEST|TEST$|NODE_ENV$|NODE_OPTIONS$|NODE_PATH$|DATABASE_)/.test(name),
    ),
  ),
  npm_config_audit: 'false',
})

const inFolder = () => ({ cwd: join(folder, 'empty'), env: environment(), maxBuffer: 2 ** 24 })

async function cli(...args: string[]): Promise<string> {
  const env = { ...environment(), ...SETTINGS, DATABASE_URL: database.connectionString }
  return (await run(command, args, { ...inFolder(), env })).stdout
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sponsor-vouchers-package-'))
  await mkdir(join(folder, 'empty'))
  const pack = await run('npm', ['pack', '--json', '--silent', '--pack-destination', folder], {
    ...inFolder(),
    cwd: ROOT,
  })
  const [first] = JSON.parse(pack.stdout) as Packed[]
  if (first === undefined) throw new Error(`npm pack printed ${pack.stdout}`)
  packed = first
  const prefix = join(folder, 'prefix')
  // What npm stored when it installed this repository suffices, because the package has a lock of its own.
  const options = [
    '--global',
    '--prefix',
    prefix,
    '--prefer-offline',
    join(folder, packed.filename),
  ]
  await run('npm', ['install', ...options], inFolder())
  command = join(prefix, 'bin', 'sponsor-vouchers')
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('the npm package', () => {
  it('contains what the service needs to run, and nothing else', () => {
    const paths = packed.files.map(({ path }) => path)
    const tops = new Set(paths.map((path) => path.split('/')[0]))
    const wanted = ['.env.example', 'CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'docs']
    expect(tops).toEqual(new Set([...wanted, 'npm-shrinkwrap.json', 'package.json']))
    expect(paths).toContain('dist/web/portal.html')
    expect(paths).toContain('dist/migrations/0001_conferences.js')
    expect(paths).toContain('docs/deploy/create-role.sql')
    expect(paths.filter((path) => /\.(ts|tsx|map)$/.test(path))).toEqual([])
    process.stdout.write(
      `${packed.filename}: ${packed.size / 1e6} MB, unpacked ${packed.unpackedSize / 1e6} MB\n`,
    )
    expect(packed.unpackedSize).toBeLessThan(10_000_000)
  })

  it('installs the versions of our lock, and no package of development', async () => {
    const { packages } = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { version?: string }>
    }
    const installed = join(folder, 'prefix', 'lib', 'node_modules', 'sponsor-vouchers')
    const versionOf = async (name: string) => {
      const file = join(installed, 'node_modules', name, 'package.json')
      return (JSON.parse(await readFile(file, 'utf8')) as { version: string }).version
    }
    const names = await readdir(join(installed, 'node_modules'))
    for (const name of ['vitest', 'typescript', 'vite', 'fake-stripe']) {
      expect(names).not.toContain(name)
    }
    // What our packages need is pinned too.
    for (const name of ['fastify', 'pg', 'pg-pool', 'avvio']) {
      expect(await versionOf(name)).toBe(packages[`node_modules/${name}`]?.version)
    }
  })

  it('installs a command that explains itself and migrates a database', async () => {
    expect(await cli('--help')).toContain('Usage: sponsor-vouchers')
    expect(await cli('--version')).toMatch(/^\d+\.\d+\.\d+\n$/)
    await cli('migrate', '--down', '--yes')
    expect(await cli('migrate')).toBe('The schema is up to date.\n')
    expect(await cli('conferences:list', '--json')).toContain('"data": []')
  })

  it('starts the service with its web pages', async () => {
    const service = spawn(command, ['start'], {
      ...inFolder(),
      env: { ...environment(), ...SETTINGS, DATABASE_URL: database.connectionString },
    })
    let output = ''
    for (const stream of [service.stdout, service.stderr]) {
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
    }
    const ended = once(service, 'exit')
    try {
      await vi.waitUntil(
        () => output.includes('"msg":"ready"') || service.exitCode !== null,
        POLL_OPTIONS,
      )
      const address = /"address":"([^"]+)"/.exec(output)?.[1]
      expect(address, output).toBeDefined()
      const page = await fetch(`${address}/portal`)
      expect(page.status).toBe(200)
      const html = await page.text()
      const script = /src="([^"]+\.js)"/.exec(html)?.[1]
      expect((await fetch(`${address}${script}`)).status).toBe(200)
      const docs = await fetch(`${address}/docs`)
      expect(docs.status).toBe(200)
    } finally {
      service.kill('SIGTERM')
      expect(await ended, output).toEqual([0, null])
    }
  })
})
