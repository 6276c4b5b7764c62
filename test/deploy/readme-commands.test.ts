import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  access,
  constants,
  cp,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type FakeStripe, startFakeStripe } from 'fake-stripe/source'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { POLL_OPTIONS } from '../support/timeouts.ts'

// Runs the commands of README.md, "From nothing to a paid purchase", as a person would: in a copy of the
// repository, with a shell. Only what a person fills in (…) is replaced, and the port.

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const NOT_COPIED = /^(\.git|\.data|node_modules|dist.*)$/

let folder = ''
let stripe: FakeStripe
const undoing: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sponsor-vouchers-readme-'))
  for (const name of await readdir(ROOT)) {
    if (!NOT_COPIED.test(name)) await cp(join(ROOT, name), join(folder, name), { recursive: true })
  }
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  stripe = await startFakeStripe({ nodeEnv: 'test' })
  undoing.push(() => stripe.close())
})
afterAll(async () => {
  for (const undo of undoing.toReversed()) await undo()
  await rm(folder, { recursive: true })
})

/** The shell blocks of the section, in their order. */
async function commandBlocks(): Promise<string[]> {
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8')
  const [, section = ''] = readme.split('## From nothing to a paid purchase')
  const blocks = [...(section.split('\n## ')[0] ?? '').matchAll(/^ *```sh\n(.*?)^ *```$/gms)]
  return blocks.map(([, block = '']) => block)
}

function startService(command: string, env: NodeJS.ProcessEnv = {}) {
  const child = spawn('sh', ['-c', `exec ${command.trim()}`], {
    cwd: folder,
    // A group of its own: npm does not hand every signal on.
    detached: true,
    env: {
      PATH: process.env['PATH'],
      HOME: folder,
      PORT: '0',
      STRIPE_API_BASE: stripe.url,
      ...env,
    },
  })
  const lines: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => lines.push(chunk.toString()))
  }
  const exited = once(child, 'exit')
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null
  const stop = async () => {
    if (hasEnded() || child.pid === undefined) return
    process.kill(-child.pid, 'SIGTERM')
    // npm may end before the service, which still stops its database.
    await vi.waitUntil(() => /"msg":"stopped"/.test(lines.join('')), POLL_OPTIONS)
  }
  undoing.push(stop)
  return { output: () => lines.join(''), exited, stop, hasEnded }
}

async function readyAddress(service: ReturnType<typeof startService>): Promise<string> {
  await vi.waitUntil(
    () => service.output().includes('"msg":"ready"') || service.hasEnded(),
    POLL_OPTIONS,
  )
  const address = /"address":"([^"]+)"/.exec(service.output())?.[1]
  if (address === undefined) throw new Error(`The service did not start:\n${service.output()}`)
  return address
}

/** A shell that keeps its variables and functions, as a person's terminal does. */
function openTerminal() {
  const shell = spawn('sh', { cwd: folder, stdio: ['pipe', 'pipe', 'inherit'] })
  undoing.push(async () => shell.kill('SIGKILL'))
  const printed = createInterface({ input: shell.stdout })[Symbol.asyncIterator]()
  /** @returns what the commands print. */
  return async (commands: string): Promise<string> => {
    shell.stdin.write(`${commands}\nprintf '\\n-- done --\\n'\n`)
    const lines: string[] = []
    for (;;) {
      const { value, done } = await printed.next()
      if (done === true) throw new Error('The shell ended')
      if (value === '-- done --') return lines.join('\n')
      lines.push(value)
    }
  }
}

const idOf = (printed: string, prefix: string) => {
  const id = new RegExp(`"(${prefix}_[A-Za-z0-9]+)"`).exec(printed)?.[1]
  if (id === undefined) throw new Error(`There is no ${prefix}_… in:\n${printed}`)
  return id
}

describe('the commands of the README', () => {
  it('lead from a clone to a paid purchase with its codes', async () => {
    const [start = '', conference = '', webhookSecret = '', catalogue = '', buy = ''] =
      await commandBlocks()
    const service = startService(start)
    const address = await readyAddress(service)
    expect(service.output()).toContain('building, because a source file changed')
    // `npx sponsor-vouchers` runs it after every build.
    await access(join(folder, 'dist/src/cli/sponsor-vouchers.js'), constants.X_OK)
    const run = openTerminal()
    const here = (text: string) => text.replaceAll('localhost:3000', new URL(address).host)

    const account = stripe.control.createAccount({})
    const url = `${address}/webhooks/stripe/pyconf`
    const { secret } = stripe.control.addWebhookEndpoint({ account: account.id, url })
    expect(conference).toContain('sk_test_…')
    const made = await run(here(conference.replace('sk_test_…', account.secretKey)))
    expect(made).toContain('"slug":"pyconf"')
    expect(webhookSecret).toContain('whsec_…')
    expect(await run(here(webhookSecret.replace('whsec_…', secret)))).not.toContain('"code"')
    const printed = await run(here(catalogue))
    const key = /"key":"(sv_sponsor_[^"]+)"/.exec(printed)?.[1] ?? ''
    expect(key).not.toBe('')

    const [setKey = '', order = '', checkOut = '', look = '', codes = '', ...more] = buy
      .trim()
      .split('\n')
      .map((line) => line.trim())
    expect(more).toEqual([])
    await run(setKey.replace('sv_sponsor_…', key))
    const ordered = await run(here(order.replace('tkt_…', idOf(printed, 'tkt'))))
    const purchase = idOf(ordered, 'bp')
    const of = (line: string) => here(line.replace('bp_…', purchase))
    const opened = await run(of(checkOut))
    stripe.control.pay(/"session_id":"([^"]+)"/.exec(opened)?.[1] ?? '')
    await expect.poll(() => run(of(look)), POLL_OPTIONS).toContain('"status":"PAID"')
    const csv = await run(of(codes))
    expect(csv.trim().split('\n')).toHaveLength(1 + 40)
    await service.stop()
  })

  it('say at once that the port is in use, and build nothing', async () => {
    const { port } = new URL(stripe.url)
    const service = startService('npm start', { PORT: port })
    const [code] = await service.exited
    expect(code).not.toBe(0)
    expect(service.output()).toContain(
      `Port ${port} of 127.0.0.1 is in use. Stop the process that uses it, or set PORT to another port.`,
    )
    expect(service.output()).not.toContain('building')
  })

  it('build again only after a source file changed', async () => {
    const unchanged = startService('npm start')
    await readyAddress(unchanged)
    expect(unchanged.output()).not.toContain('building')
    await unchanged.stop()

    const main = join(folder, 'src', 'main.ts')
    const text = await readFile(main, 'utf8')
    await writeFile(main, `${text}\nconst wrong: number = 'text'\n`)
    const broken = startService('npm start')
    const [code] = await broken.exited
    expect(code).not.toBe(0)
    expect(broken.output()).toContain('The old build, if there is one, is unchanged.')
    expect(await readdir(join(folder, 'dist'))).toContain('src')
    expect((await readdir(folder)).filter((name) => name.startsWith('dist'))).toEqual(['dist'])

    await writeFile(main, text)
    const repaired = startService('npm start')
    await readyAddress(repaired)
    expect(repaired.output()).not.toContain('building')
    await repaired.stop()
  })
})
