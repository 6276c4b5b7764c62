import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createSignInLink } from '../src/access/sign-in.ts'
import { loadConfig } from '../src/config.ts'
import { connect, type Db } from '../src/db/connect.ts'
import { startEmbeddedPostgres } from '../src/db/embedded/start-embedded-postgres.ts'
import { newSecret } from '../src/shared/ids.ts'
import { createLogger } from '../src/shared/logger.ts'
import type { Service } from '../src/start-service.ts'
import type { Person } from './demo-api.ts'
import type { Narrator } from './narrator.ts'
import type { StoryContext } from './story-context.ts'
import { startWebhookReceiver } from './webhook-receiver.ts'

export type EnvironmentOptions = {
  /** The folder for all files of the demo, e.g. `.data/demo`. */
  dataDir: string
  /** Preferred ports; if they are in use, any free port. 0: any free port. */
  port: number
  stripePort: number
  /** `NODE_ENV`; the fake Stripe refuses `production`. */
  nodeEnv: string | undefined
  /** Whether the portal and the console are built, if a source of theirs changed. */
  buildPages: boolean
}

export type Environment = Pick<
  StoryContext,
  'serviceUrl' | 'stripe' | 'operatorKey' | 'mailFolder' | 'receiver'
> & {
  /** A shell file with the settings of this run, for commands. */
  settingsFile: string
  logFile: string
  /** A link with which a user signs in once, as of the command `users:sign-in-link`. */
  signInLink(email: string): Promise<string>
  /** Signs a user in, as the page that the link opens does. */
  signIn(email: string): Promise<Person>
  /** Work on the database of this demo without row security. */
  asSuperuser: AsSuperuser
  /** Settled when the portal and the console can be opened; false if they could not be built. */
  pages: Promise<boolean>
}

/** Stops all parts, last first. Returns the names of the parts that did not stop properly. */
export type TearDown = () => Promise<string[]>

type OnTearDown = (name: string, stop: () => Promise<unknown>) => void

/** Collects the parts as they start, so that a failed start stops the parts that already run. */
export function createTearDown(): { onTearDown: OnTearDown; tearDown: TearDown } {
  const parts: { name: string; stop: () => Promise<unknown> }[] = []
  return {
    onTearDown: (name, stop) => parts.push({ name, stop }),
    async tearDown() {
      const failedParts: string[] = []
      for (const { name, stop } of parts.splice(0).reverse()) {
        // `false`: it stopped, but interrupted work.
        const ended = await stop().catch(() => false)
        if (ended === false) failedParts.push(name)
      }
      return failedParts
    },
  }
}

/** Starts the database, the fake Stripe and the service in one process, each on its own port. */
export async function startEnvironment(
  options: EnvironmentOptions,
  narrator: Narrator,
  signal: AbortSignal,
  onTearDown: OnTearDown,
): Promise<Environment> {
  const dataDir = resolve(options.dataDir)
  const mailFolder = join(dataDir, 'mail')
  const logFile = join(dataDir, 'service.log')
  await mkdir(dataDir, { recursive: true })
  const log = createWriteStream(logFile)
  onTearDown('log', () => new Promise((done) => log.end(() => done(true))))
  const logger = createLogger('info', log)

  const timed = async <T>(name: string, start: () => Promise<[T, string]>): Promise<T> => {
    const begun = performance.now()
    const [part, where] = await start()
    narrator.started(name, where, performance.now() - begun)
    signal.throwIfAborted()
    return part
  }
  // The build of the pages takes as long as everything else together, so it goes on beside it.
  const pages = options.buildPages ? refreshPages(narrator, signal) : Promise.resolve(true)
  onTearDown('pages', async () => void (await pages))
  // Loading the service takes as long as starting its database, so both happen in parallel.
  const loading = loadParts()
  const database = await timed('database', async () => {
    const folder = join(dataDir, 'postgres')
    const opened = await openDemoDatabase(folder, (message) => logger.info(message))
    onTearDown('database', () => opened.stop())
    return [opened, `PostgreSQL in ${options.dataDir}`]
  })
  const { startFakeStripe, startService } = await loading
  const stripe = await timed('fake Stripe', async () => {
    const fake = await onFreePort(options.stripePort, (port) =>
      startFakeStripe({ nodeEnv: options.nodeEnv, port }),
    )
    onTearDown('fake Stripe', () => fake.close())
    return [fake, fake.url]
  })
  const receiver = await timed('receiver', async () => {
    const started = await startWebhookReceiver()
    onTearDown('receiver', () => started.close())
    return [started, `${started.url}  for outbound webhooks`]
  })
  const secrets = {
    ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    OPERATOR_API_KEY: `operator_${newSecret()}`,
  }
  const settings = {
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.url,
    MAIL_FOLDER: mailFolder,
    // The receiver below is on this machine.
    WEBHOOKS_ALLOW_LOOPBACK: 'true',
    // The fake Stripe has no limit.
    STRIPE_REQUESTS_PER_SECOND: '0',
    ...secrets,
  }
  const service = await timed('service', async () => {
    const started = await onFreePort(options.port, (port) =>
      startService(
        loadConfig({
          ...settings,
          PORT: String(port),
          // With port 0 the address for links in mails is not known yet.
          PUBLIC_URL: port === 0 ? '' : `http://127.0.0.1:${port}`,
          SHUTDOWN_SECONDS: '5',
        }),
        logger,
      ),
    )
    onTearDown('service', () => started.stop())
    await started.ready
    return [started, urlOf(started)]
  })
  const serviceUrl = urlOf(service)
  const settingsFile = join(dataDir, `settings-${process.pid}.env`)
  await writeFile(settingsFile, envLines({ ...settings, PUBLIC_URL: serviceUrl }), { mode: 0o600 })
  onTearDown('settings', () => rm(settingsFile, { force: true }))
  const operatorKey = secrets.OPERATOR_API_KEY
  const db = connect(database.connectionString, { max: 1 })
  onTearDown('connection', () => db.destroy())
  return {
    serviceUrl,
    stripe,
    operatorKey,
    mailFolder,
    receiver,
    settingsFile,
    logFile,
    ...signingIn(db, serviceUrl),
    asSuperuser: database.asSuperuser,
    pages,
  }
}

/** @returns false if the build failed; it has printed why. */
async function refreshPages(narrator: Narrator, signal: AbortSignal): Promise<boolean> {
  const begun = performance.now()
  const { arePagesBuilt, buildPages } = await import('../scripts/build.ts')
  try {
    if (await arePagesBuilt()) return true
    await buildPages(signal)
  } catch {
    return false
  }
  narrator.started('pages', 'portal and console built from web/', performance.now() - begun)
  return true
}

/** A person may need more links than the API grants within fifteen minutes. */
const ANY_NUMBER = Number.MAX_SAFE_INTEGER

function signingIn(db: Db, serviceUrl: string): Pick<Environment, 'signInLink' | 'signIn'> {
  async function signInLink(email: string): Promise<string> {
    const link = await createSignInLink(db, email, serviceUrl, ANY_NUMBER)
    if (link === null) throw new Error(`No user has the address ${email}`)
    return link
  }
  return {
    signInLink,
    async signIn(email) {
      const token = new URL(await signInLink(email)).hash.replace('#token=', '')
      const answer = await fetch(new URL('/v1/sessions', serviceUrl), {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': 'the demo' },
        body: JSON.stringify({ token }),
      })
      const [cookie = ''] = (answer.headers.get('set-cookie') ?? '').split(';')
      if (answer.status !== 201) throw new Error(`Signing in ${email}: ${await answer.text()}`)
      return { cookie }
    },
  }
}

async function loadParts() {
  const fake = await import('fake-stripe/source')
  const service = await import('../src/start-service.ts')
  return { ...fake, ...service }
}

function urlOf({ address }: Service): string {
  if (address === null) throw new Error('The service does not listen')
  return address
}

// No value contains a quote: the values are addresses, base64, letters and digits.
function envLines(settings: Record<string, string>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}='${value}'\n`)
    .join('')
}

type AsSuperuser = (work: (superuser: Db) => Promise<void>) => Promise<void>

export type DemoDatabase = {
  connectionString: string
  asSuperuser: AsSuperuser
  /** Drops the database and releases the server; the last demo of the folder stops it. */
  stop(): Promise<void>
}

const DATABASE_PREFIX = 'demo_'

// A demo that has just started may not be connected to its database yet.
const ABANDONED_AFTER_MS = 60_000

/**
 * Creates an empty database on the embedded server of the folder. Each run has its own, because each
 * run has its own fake Stripe; so several demos can run at the same time.
 */
async function openDemoDatabase(
  folder: string,
  log: (message: string) => void,
): Promise<DemoDatabase> {
  const database = `${DATABASE_PREFIX}${Date.now().toString(36)}_${process.pid}`
  // The data is deleted after the run, so it needs no durability.
  const server = await startEmbeddedPostgres({ folder, database, durable: false, log })
  const asAdmin = async (work: (admin: Db) => Promise<void>) => {
    const admin = connect(server.adminConnectionString, { max: 1 })
    try {
      await work(admin)
    } catch (error) {
      // A leftover database does not stop the demo.
      log(
        `could not drop a demo database: ${error instanceof Error ? error.message : String(error)}`,
      )
    } finally {
      await admin.destroy()
    }
  }
  await asAdmin(dropAbandoned)
  return {
    connectionString: server.connectionString,
    async asSuperuser(work) {
      const url = new URL(server.adminConnectionString)
      url.pathname = database
      const superuser = connect(url.href, { max: 1 })
      try {
        await work(superuser)
      } finally {
        await superuser.destroy()
      }
    },
    async stop() {
      await asAdmin((admin) => drop(admin, database))
      await server.stop()
    },
  }
}

/** Drops databases of killed demos: older than a minute, without connections. */
async function dropAbandoned(admin: Db): Promise<void> {
  const rows = await admin('pg_database as d')
    .whereRaw('starts_with(d.datname, ?)', [DATABASE_PREFIX])
    .whereNotExists(admin('pg_stat_activity as a').whereRaw('a.datname = d.datname'))
    .select<{ name: string }[]>('d.datname as name')
  const isOld = ({ name }: { name: string }) => {
    const begun = Number.parseInt(name.slice(DATABASE_PREFIX.length), 36)
    return Date.now() - begun > ABANDONED_AFTER_MS
  }
  for (const { name } of rows.filter(isOld)) await drop(admin, name)
}

async function drop(admin: Db, name: string): Promise<void> {
  await admin.raw('drop database if exists ?? with (force)', [name])
}

/** Starts something on the preferred port, or on any free port if that one is in use. */
async function onFreePort<T>(wanted: number, start: (port: number) => Promise<T>): Promise<T> {
  try {
    return await start(wanted)
  } catch (error) {
    // The service explains the error, and keeps it as the cause.
    if (!isPortRefused(error) && !(error instanceof Error && isPortRefused(error.cause)))
      throw error
    return start(0)
  }
}

/** EACCES: this user may not open the port. */
const isPortRefused = (error: unknown) =>
  error instanceof Error &&
  'code' in error &&
  (error.code === 'EADDRINUSE' || error.code === 'EACCES')
