import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { createLogger } from '../../src/shared/logger.ts'
import { type Service, startService } from '../../src/start-service.ts'
import { settingsFor, useCommandLine } from '../cli/command-line.ts'
import { useFakeStripe } from '../support/shop.ts'
import { OPERATOR_KEY } from '../support/test-app.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { openTerminal, type Terminal } from './terminal.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT, hookTimeout: TEST_TIMEOUT })

// Runs the commands of docs/guides as a reader would, on one service and one fake Stripe. Only what a reader
// fills in is replaced: the address, the keys, the port of the receiver.

const GUIDES = new URL('../../docs/guides/', import.meta.url)

const stripe = useFakeStripe()
const database = useTestDatabase()
const settings: NodeJS.ProcessEnv = { WEBHOOKS_ALLOW_LOOPBACK: 'true' }
const cli = useCommandLine(database, settings)

let service: Service
let terminal: Terminal
let filledIn: Record<string, string>

beforeAll(async () => {
  settings['STRIPE_API_BASE'] = stripe.fake.url
  const config = loadConfig({
    ...settingsFor(database.connectionString),
    ...settings,
    PORT: '0',
    PUBLIC_URL: 'https://vouchers.example.org',
    SHUTDOWN_SECONDS: '10',
  })
  service = await startService(config, createLogger('silent'))
  await service.ready
  const { address } = service
  const account = stripe.fake.control.createAccount({ default_currency: 'eur' })
  const post = async (path: string, body: object) => {
    const response = await fetch(`${address}/v1/conferences${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${OPERATOR_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const made = (await response.json()) as { key: string }
    if (!response.ok) throw new Error(JSON.stringify(made))
    return made
  }
  const pyconf = { slug: 'pyconf', name: 'PyConf', currency: 'EUR' }
  await post('', { ...pyconf, stripe_secret_key: account.secretKey })
  const url = `${address}/webhooks/stripe/pyconf`
  const { secret } = stripe.fake.control.addWebhookEndpoint({ account: account.id, url })
  await post('/pyconf/webhook-secrets', { secret })
  await post('/pyconf/ticket-types', { name: 'Corporate', price: 25_000, bulk_enabled: true })
  await post('/pyconf/sponsors', { name: 'Acme' })
  const sponsor = { role: 'sponsor', sponsor: 'acme', name: 'Acme' }
  const { key } = await post('/pyconf/api-keys', sponsor)
  filledIn = {
    'http://localhost:3000': String(address),
    'sv_sponsor_…': key,
    'sv_staff_…': OPERATOR_KEY,
    'sk_test_…': account.secretKey,
    '8080': String(await freePort()),
  }
  terminal = await openTerminal((args) => cli.run(args), {
    PUBLIC_URL: String(address),
    OPERATOR_API_KEY: OPERATOR_KEY,
  })
})
afterAll(async () => {
  await terminal.close()
  await service.stop()
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // it listens on a port
  server.close()
  await once(server, 'close')
  return port
}

type Block = { kind: string; name: string; text: string }

async function blocksOf(guide: string): Promise<Block[]> {
  const markdown = await readFile(new URL(guide, GUIDES), 'utf8')
  const fences = markdown.matchAll(/^```(\w+) ?([\w.]*)\n(.*?)^```$/gms)
  return [...fences].map(([, kind = '', name = '', text = '']) => ({ kind, name, text }))
}

const fillIn = (text: string) =>
  Object.entries(filledIn).reduce((all, [given, mine]) => all.replaceAll(given, mine), text)

const spaced = (text: string) => text.trim().replaceAll(/[^\S\n]+/g, ' ')

/** `…` is a part of a line, or on a line of its own any lines. */
function patternOf(shown: string): RegExp {
  const lines = spaced(shown).split('\n')
  const patterns = lines.map((line) =>
    line === '…'
      ? String.raw`[\s\S]*`
      : line.replaceAll(/[.*+?^$()|[\]{}\\]/g, String.raw`\$&`).replaceAll('…', '.*'),
  )
  return new RegExp(`^${patterns.join(String.raw`\n`)}$`)
}

/** The commands that printed something else than the guide shows. */
async function follow(guide: string): Promise<string[]> {
  const blocks = await blocksOf(guide)
  if (!blocks.some(({ kind }) => kind === 'sh')) throw new Error(`${guide} has no commands`)
  const wrong: string[] = []
  for (const [index, block] of blocks.entries()) {
    if (block.kind === 'js') await writeFile(join(terminal.folder, block.name), fillIn(block.text))
    if (block.kind !== 'sh' || block.name === 'host') continue
    const next = blocks[index + 1]
    const pattern = next?.kind === 'text' ? patternOf(fillIn(next.text)) : /^$/
    const run = async () => spaced(await terminal.run(fillIn(block.text)))
    let printed = await run()
    if (block.name === 'until') {
      await vi.waitUntil(async () => pattern.test((printed = await run())), POLL_OPTIONS)
    }
    if (!pattern.test(printed)) wrong.push(`${block.text}printed:\n${printed}`)
    const session = /\bcs_\w+/.exec(printed)?.[0]
    if (session !== undefined) stripe.fake.control.pay(session)
  }
  return wrong
}

describe('the commands of the guide', () => {
  it('for sponsors buy, download, assign and return codes', async () => {
    expect(await follow('sponsors.md')).toEqual([])
  })

  it('for staff sell, give away, refund and redeem', async () => {
    expect(await follow('staff.md')).toEqual([])
  })

  it('for developers receive and verify a webhook', async () => {
    expect(await follow('developers.md')).toEqual([])
  })

  it('for operators check, upgrade and rotate keys', async () => {
    expect(await follow('operators.md')).toEqual([])
  })
})

const execute = promisify(execFile)

/** The help of a tool that this machine may lack. */
const helpOf = (tool: string) =>
  execute(tool, ['--help']).then(
    ({ stdout }) => stdout,
    () => null,
  )

/** Options of Postgres' tools that these tools do not have. */
async function unknownOptions(commands: string): Promise<string[]> {
  const unknown: string[] = []
  for (const line of commands.split('\n').filter((each) => /^(pg_|createdb)/.test(each))) {
    const [tool = '', ...rest] = line.split(' ')
    const help = await helpOf(tool)
    const options = rest.filter((word) => word.startsWith('--'))
    const missing = options.filter((each) => !help?.includes(each.split('=')[0] ?? ''))
    if (help !== null) unknown.push(...missing)
  }
  return unknown
}

describe('the commands that change a machine', () => {
  it('name scripts, settings, files and options that exist', async () => {
    const root = new URL('../../', import.meta.url)
    const read = (path: string) => readFile(new URL(path, root), 'utf8')
    const { scripts } = JSON.parse(await read('package.json')) as { scripts: object }
    const env = await read('.env.example')
    const host = (
      await Promise.all((await readdir(GUIDES)).map((guide) => blocksOf(guide)))
    ).flatMap((blocks) => blocks.filter(({ name }) => name === 'host').map(({ text }) => text))
    expect(host.length).toBeGreaterThan(1)
    const all = host.join('\n')
    for (const [, script = ''] of all.matchAll(/npm run (\S+)/g)) {
      expect(Object.keys(scripts)).toContain(script)
    }
    for (const [, name = ''] of all.replaceAll('NODE_ENV=', '').matchAll(/\b([A-Z][A-Z_]+)=/g)) {
      expect(env).toContain(name)
    }
    for (const [, path = ''] of all.matchAll(/dist\/(\S+)\.js/g)) await read(`${path}.ts`)
    expect(await unknownOptions(all)).toEqual([])
  })
})
