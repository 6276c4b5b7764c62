#!/usr/bin/env node
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { Command, InvalidArgumentError } from 'commander'
import { fakeId } from './core/ids.ts'
import type { FakeStripe } from './start-fake-stripe.ts'

type Options = {
  port: number
  host: string
  key?: string[]
  webhook?: string
  webhookSecret?: string
  seed?: string
  quiet?: boolean
}

const DEFAULT_PORT = 12111

const { version } = createRequire(import.meta.url)('../package.json') as { version: string }

const program = new Command('fake-stripe')
  .description('Runs a local stand-in for the Stripe API. All data is in memory; no money moves.')
  .option('-p, --port <number>', 'port to listen on; 0 takes a free one', readPort, DEFAULT_PORT)
  .option('--host <address>', 'address to listen on', '127.0.0.1')
  .option(
    '-k, --key <secret key>',
    'secret key to accept, such as sk_test_123; repeat it for more accounts (default: every well-formed key opens its own account)',
    collect,
  )
  .option('--webhook <url>', 'send the events of every account to this URL', readUrl)
  .option(
    '--webhook-secret <secret>',
    'signing secret of the webhook endpoint (default: a new one, which is printed)',
    readWebhookSecret,
  )
  .option('--seed <file>', 'JSON file with objects to create at the start; README.md describes it')
  .option('-q, --quiet', 'print errors only')
  .version(version, '-V, --version', 'print the version')
  .helpOption('-h, --help', 'print this help')
  .showHelpAfterError('(--help lists the options)')
  .allowExcessArguments(false)
  .action(run)

await program.parseAsync()

async function run(options: Options): Promise<void> {
  if (options.webhookSecret !== undefined && options.webhook === undefined)
    program.error('error: --webhook-secret needs --webhook')
  try {
    await serve(options)
  } catch (error) {
    process.stderr.write(`error: ${describe(error, options)}\n`)
    process.exitCode = 1
  }
}

async function serve(options: Options): Promise<void> {
  // Loading the API takes longer than printing the help or refusing an option.
  const { startFakeStripe } = await import('./start-fake-stripe.ts')
  const { applySeed, readSeed } = await import('./seed-file.ts')
  const { port, host, key: keys = [], webhook: url } = options
  const seed =
    options.seed === undefined ? undefined : readSeed(await readFile(options.seed, 'utf8'))
  const webhookSecret = options.webhookSecret ?? fakeId('whsec_', 32)
  const fake = await startFakeStripe({
    port,
    host,
    autoAccounts: keys.length === 0,
    ...(url === undefined ? {} : { webhookEndpoint: { url, secret: webhookSecret } }),
  })
  stopOnSignal(fake)
  try {
    const seeded = new Set(seed?.accounts.map(({ key }) => key))
    for (const secretKey of keys)
      if (!seeded.has(secretKey)) fake.control.createAccount({ secretKey })
    if (seed !== undefined) applySeed(fake.control, seed, keys[0])
  } catch (error) {
    await fake.close()
    throw error
  }
  if (!options.quiet) process.stdout.write(`${summary(fake, options, webhookSecret)}\n`)
}

function summary(fake: FakeStripe, { key: keys = [], webhook }: Options, secret: string): string {
  return [
    `fake-stripe ${version} is running.`,
    `  API:         ${fake.url}`,
    `  Dashboard:   ${fake.url}/`,
    `  Secret keys: ${keys.length > 0 ? keys.join(', ') : 'any, for example sk_test_123'}`,
    ...(webhook === undefined ? [] : [`  Webhooks:    ${webhook}, signing secret ${secret}`]),
    'Press Ctrl+C to stop.',
  ].join('\n')
}

function stopOnSignal(fake: FakeStripe): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void fake.close().then(() => process.exit(0)))
}

function describe(error: unknown, { port, host, seed }: Options): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'EADDRINUSE')
    return `port ${port} is already in use. Choose another one with --port; --port 0 takes a free one.`
  if (code === 'EACCES') return `no permission to listen on port ${port}.`
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    return `--host: ${host} is not an address of this machine.`
  if (code === 'ENOENT') return `--seed: there is no file ${seed}.`
  return error instanceof Error ? error.message : String(error)
}

function readPort(value: string): number {
  const port = Number(value)
  if (/^\d+$/.test(value) && port <= 65_535) return port
  throw new InvalidArgumentError('It must be a number from 0 to 65535.')
}

function readUrl(value: string): string {
  if (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)) return value
  throw new InvalidArgumentError('It must be an http or https URL.')
}

function readWebhookSecret(value: string): string {
  if (value.startsWith('whsec_')) return value
  throw new InvalidArgumentError('It must begin with whsec_.')
}

function collect(value: string, earlier: string[] = []): string[] {
  return [...earlier, value]
}
