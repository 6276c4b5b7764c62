import { type ChildProcess, type ForkOptions, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Usage, UsageRequest } from './report-usage.ts'

/** A process that the bench started. It ends with the bench, however the bench ends. */
export type BenchProcess = {
  url: string
  /** Since its start. */
  usage(): Promise<Usage>
  stop(): Promise<void>
}

const FAKE_STRIPE = fileURLToPath(new URL('./fake-stripe-process.ts', import.meta.url))
const BARE_SERVER = fileURLToPath(new URL('./bare-server-process.ts', import.meta.url))
const EXPORT_MEMORY = fileURLToPath(new URL('./export-memory-process.ts', import.meta.url))
const REPORT_USAGE = fileURLToPath(new URL('./report-usage.ts', import.meta.url))
const LOADERS = [
  createRequire(import.meta.url).resolve('tsx'),
  // A process of another version loads it too: its node_modules are ours.
  REPORT_USAGE,
].flatMap((file) => ['--import', pathToFileURL(file).href])

function start(program: string, args: string[], options: ForkOptions): ChildProcess {
  return fork(program, args, { execArgv: LOADERS, ...options })
}

async function ask<T>(child: ChildProcess, request: UsageRequest): Promise<T> {
  const answered = once(child, 'message')
  child.send(request)
  const [answer] = (await answered) as [T] // what report-usage.ts sends
  return answer
}

/** Resolves when the process is gone. */
async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill(signal)
  await exited
}

/** A fake Stripe with one account that has as many customers and coupons as `objects` says. */
export async function startFakeStripeProcess(key: string, objects = 0): Promise<BenchProcess> {
  const args = [key, String(objects), String(objects)]
  const child = start(FAKE_STRIPE, args, {})
  const [url] = (await once(child, 'message')) as [string] // what the script sends
  return { url, usage: () => ask(child, 'usage'), stop: () => end(child, 'SIGKILL') }
}

/**
 * fastify and pg with one statement for each request and nothing else: the ceiling of our routes. It makes
 * its tables in the database and has as many connections to it as the service.
 */
export async function startBareServerProcess(
  connectionString: string,
  onStart: (stop: () => Promise<void>) => void,
): Promise<BenchProcess> {
  const child = start(BARE_SERVER, [connectionString], {})
  const stop = () => end(child, 'SIGKILL')
  onStart(stop)
  const [url] = (await once(child, 'message')) as [string] // what the script sends
  return { url, usage: () => ask(child, 'usage'), stop }
}

/** By how many MB a new process grows while it exports a batch as CSV. */
export async function measureExportMemory(
  connectionString: string,
  conferenceId: string,
  batchId: string,
): Promise<number> {
  const child = start(EXPORT_MEMORY, [connectionString, conferenceId, batchId], {})
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`The process that exports ended with ${code}`)
  })
  try {
    const [growth] = (await Promise.race([once(child, 'message'), failed])) as [number]
    return growth
  } finally {
    await end(child, 'SIGKILL')
    await failed.catch(() => {})
  }
}

export type ServiceProcess = BenchProcess & {
  operatorKey: string
  /** MB of its heap that are in use after a collection. */
  heapMb(): Promise<number>
}

type LogLine = { level?: number; msg?: string; address?: string }

const MAX_LINES = 20

/**
 * The service of the checkout in `folder`, serving and working, with the settings of an ordinary process.
 * It migrates its database.
 *
 * @throws Error with the end of its log if it does not become ready.
 */
export async function startServiceProcess(
  folder: string,
  settings: { DATABASE_URL: string; STRIPE_API_BASE: string },
  onStart: (stop: () => Promise<void>) => void,
): Promise<ServiceProcess> {
  const operatorKey = `operator_${randomBytes(16).toString('hex')}`
  const child = start(join(folder, 'src', 'main.ts'), [], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: {
      PATH: process.env['PATH'],
      HOST: '127.0.0.1',
      PORT: '0',
      ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      OPERATOR_API_KEY: operatorKey,
      // The load comes from one address with one key; the limits are not what is measured.
      RATE_LIMIT_PER_MINUTE: '1000000',
      STRIPE_REQUESTS_PER_SECOND: '0',
      // It would fetch the events that the endpoint is not registered for, in the middle of a round.
      MISSED_EVENTS_EVERY_SECONDS: '86400',
      SHUTDOWN_SECONDS: '5',
      ...settings,
    },
  })
  const stop = () => end(child, 'SIGTERM')
  onStart(stop)
  const url = await untilReady(child)
  return {
    url,
    operatorKey,
    usage: () => ask(child, 'usage'),
    heapMb: () => ask(child, 'heap'),
    stop,
  }
}

async function untilReady(child: ChildProcess): Promise<string> {
  const lines: string[] = []
  const keep = (line: string) => {
    lines.push(line)
    if (lines.length > MAX_LINES) lines.shift()
  }
  child.stderr?.on('data', (chunk: Buffer) => keep(chunk.toString()))
  return new Promise((resolve, reject) => {
    let address = ''
    child.once('exit', (code) =>
      reject(new Error(`The service ended with ${code}:\n${lines.join('\n')}`)),
    )
    const { stdout } = child
    if (stdout === null) return
    const reader = createInterface({ input: stdout })
    reader.on('line', (line) => {
      keep(line)
      if (!line.startsWith('{')) return
      const entry = JSON.parse(line) as LogLine
      address = entry.address ?? address
      if (entry.msg !== 'ready') return
      // Reading the request log would take time from what is measured.
      reader.close()
      stdout.resume()
      resolve(address)
    })
  })
}
