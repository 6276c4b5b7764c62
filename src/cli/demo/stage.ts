import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { loadConfig } from '../../config.ts'
import { newSecret } from '../../shared/ids.ts'
import { createLogger } from '../../shared/logger.ts'
import type { Service } from '../../start-service.ts'
import { openDemoDatabase } from './demo-database.ts'
import type { Narrator } from './narrator.ts'
import { onFreePort } from './on-free-port.ts'
import type { Scene } from './story/scene.ts'

export type StageOptions = {
  /** Everything that the demo keeps, e.g. `.data/demo`. */
  dataDir: string
  /** Wanted ports; another one when they are taken. 0: any. */
  port: number
  stripePort: number
  /** `NODE_ENV`; the fake Stripe refuses `production`. */
  nodeEnv: string | undefined
}

export type Stage = Pick<Scene, 'serviceUrl' | 'stripe' | 'operatorKey' | 'mailFolder'> & {
  /** Lines of a shell that give a command the settings of this run. */
  settingsFile: string
  logFile: string
}

/** Takes down what was set up, last first. Returns the names of what did not end in order. */
export type TakeDown = () => Promise<string[]>

type Keep = (name: string, stop: () => Promise<unknown>) => void

/** A list of what runs, filled while it starts, so that a start that fails half-way leaves nothing. */
export function createTakeDown(): { keep: Keep; takeDown: TakeDown } {
  const parts: { name: string; stop: () => Promise<unknown> }[] = []
  return {
    keep: (name, stop) => parts.push({ name, stop }),
    async takeDown() {
      const troubled: string[] = []
      for (const { name, stop } of parts.splice(0).reverse()) {
        // `false`: it ended, but cut work off.
        const ended = await stop().catch(() => false)
        if (ended === false) troubled.push(name)
      }
      return troubled
    },
  }
}

/** Starts the database, the fake Stripe and the service, in one process, each on its own port. */
export async function setStage(
  options: StageOptions,
  narrator: Narrator,
  signal: AbortSignal,
  keep: Keep,
): Promise<Stage> {
  const dataDir = resolve(options.dataDir)
  const mailFolder = join(dataDir, 'mail')
  const logFile = join(dataDir, 'service.log')
  await mkdir(dataDir, { recursive: true })
  const log = createWriteStream(logFile)
  keep('log', () => new Promise((done) => log.end(() => done(true))))
  const logger = createLogger('info', log)

  const timed = async <T>(name: string, start: () => Promise<[T, string]>): Promise<T> => {
    const begun = performance.now()
    const [part, where] = await start()
    narrator.started(name, where, performance.now() - begun)
    signal.throwIfAborted()
    return part
  }
  // Loading the service takes as long as starting its database, so both are done at once; and the
  // first line is on the screen before either.
  const loading = loadParts()
  const database = await timed('database', async () => {
    const folder = join(dataDir, 'postgres')
    const opened = await openDemoDatabase(folder, (message) => logger.info(message))
    keep('database', () => opened.stop())
    return [opened, `PostgreSQL in ${options.dataDir}`]
  })
  const { startFakeStripe, startService } = await loading
  const stripe = await timed('fake Stripe', async () => {
    const fake = await onFreePort(options.stripePort, (port) =>
      startFakeStripe({ nodeEnv: options.nodeEnv, port }),
    )
    keep('fake Stripe', () => fake.close())
    return [fake, fake.url]
  })
  const secrets = {
    ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    OPERATOR_API_KEY: `operator_${newSecret()}`,
  }
  const settings = {
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.url,
    MAIL_FOLDER: mailFolder,
    ...secrets,
  }
  const service = await timed('service', async () => {
    const started = await onFreePort(options.port, (port) =>
      startService(
        loadConfig({
          ...settings,
          PORT: String(port),
          // A port that is chosen later is not known to the links in mails.
          PUBLIC_URL: port === 0 ? '' : `http://127.0.0.1:${port}`,
          SHUTDOWN_SECONDS: '5',
        }),
        logger,
      ),
    )
    keep('service', () => started.stop())
    await started.ready
    return [started, urlOf(started)]
  })
  const settingsFile = join(dataDir, `settings-${process.pid}.env`)
  await writeFile(settingsFile, envLines(settings), { mode: 0o600 })
  keep('settings', () => rm(settingsFile, { force: true }))
  const operatorKey = secrets.OPERATOR_API_KEY
  return { serviceUrl: urlOf(service), stripe, operatorKey, mailFolder, settingsFile, logFile }
}

async function loadParts() {
  const fake = await import('../../fake-stripe/start-fake-stripe.ts')
  const service = await import('../../start-service.ts')
  return { ...fake, ...service }
}

function urlOf({ address }: Service): string {
  if (address === null) throw new Error('The service does not listen')
  return address
}

// None of the values has a quote: addresses, base64, letters and digits.
function envLines(settings: Record<string, string>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name}='${value}'\n`)
    .join('')
}
