import { mkdtemp, rm } from 'node:fs/promises'
import { Session } from 'node:inspector/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { type FakeStripe, startFakeStripe } from '../fake-stripe/src/start-fake-stripe.ts'
import { createSavedCards } from '../src/billing/customers/saved-cards.ts'
import { type Config, loadConfig } from '../src/config.ts'
import { connect } from '../src/db/connect.ts'
import { startEmbeddedPostgres } from '../src/db/embedded/start-embedded-postgres.ts'
import { EVENT_HOOKS } from '../src/event-hooks.ts'
import { createMirrorFeed } from '../src/mirror/mirror-feed.ts'
import { createBulkPurchaseService } from '../src/purchases/bulk-purchase-service.ts'
import { createEncryption } from '../src/shared/cryptography.ts'
import { createLogger } from '../src/shared/logger.ts'
import { noMetrics } from '../src/shared/service-metrics.ts'
import { systemClock } from '../src/shared/time.ts'
import { startService } from '../src/start-service.ts'
import { createStripeClients } from '../src/stripe/stripe-client.ts'
import { createStripePaymentGateway } from '../src/stripe/stripe-payment-gateway.ts'
import { createEventWorker } from '../src/stripe-events/event-worker.ts'

/** A flow and the files of `src` in which at least one function ran while it was carried out. */
export type MeasuredFlow = { name: string; files: string[] }

type Body = Record<string, unknown>

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const OPERATOR_KEY = 'operator-key-of-the-measurement'
const ENCRYPTION_KEY = Buffer.alloc(32, 7)
const RETURN_URLS = { success_url: 'https://shop.example/a', cancel_url: 'https://shop.example/b' }

/**
 * Carries out each flow against the service, an embedded database and the fake Stripe, all in this
 * process, and reads from V8 which functions ran. All flows run once before they are measured, so
 * that work done only at the start is not counted.
 */
export async function measureFlows(): Promise<MeasuredFlow[]> {
  const folder = await mkdtemp(join(tmpdir(), 'sponsor-vouchers-shape-'))
  const server = await startEmbeddedPostgres({ folder, durable: false })
  const fake = await startFakeStripe({ nodeEnv: 'test' })
  const coverage = await startCoverage()
  try {
    const config = configFor(server.connectionString, fake.url)
    return await measureWith(config, server.adminConnectionString, fake, coverage)
  } finally {
    await fake.close()
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

function configFor(connectionString: string, stripeUrl: string): Config {
  return loadConfig({
    DATABASE_URL: connectionString,
    STRIPE_API_BASE: stripeUrl,
    PORT: '0',
    OPERATOR_API_KEY: OPERATOR_KEY,
    ENCRYPTION_KEY: ENCRYPTION_KEY.toString('base64'),
    RUN: 'serve',
    // No heartbeat during the measurement.
    LEASE_SECONDS: '600',
  })
}

async function measureWith(
  config: Config,
  adminConnectionString: string,
  fake: FakeStripe,
  coverage: Coverage,
): Promise<MeasuredFlow[]> {
  const logger = createLogger('silent')
  const service = await startService(config, logger)
  await service.ready
  const connectionString = config.databaseUrl ?? ''
  const database = new URL(adminConnectionString)
  database.pathname = new URL(connectionString).pathname
  const admin = new pg.Client({ connectionString: database.href })
  await admin.connect()
  try {
    const shop = await openShop(service.address ?? '', fake)
    const whileWorking = withPurchaseWorker(config, connectionString)
    await runFlows(shop, fake, admin, whileWorking, async (_, flow) => flow())
    const measured: MeasuredFlow[] = []
    await runFlows(shop, fake, admin, whileWorking, async (name, flow) => {
      await untilQuiet(coverage)
      const result = await flow()
      measured.push({ name, files: await coverage.take() })
      return result
    })
    return measured
  } finally {
    await admin.end()
    await service.stop()
  }
}

/** Longer than requests to Stripe are counted in memory before the counts are written. */
const QUIET_MS = 200

/** Resolves when nothing runs that an earlier flow left in the background, so that it is not counted. */
async function untilQuiet(coverage: Coverage): Promise<void> {
  do await setTimeout(QUIET_MS)
  while ((await coverage.take()).length > 0)
}

type WhileWorking = <T>(work: () => Promise<T>) => Promise<T>

/** Runs beside the given work what `RUN=work` does for events of purchases, and nothing else. */
function withPurchaseWorker(config: Config, connectionString: string): WhileWorking {
  return async (work) => {
    const logger = createLogger('silent')
    const db = connect(connectionString)
    const encryption = createEncryption(ENCRYPTION_KEY)
    const clients = createStripeClients({ db, encryption, config, metrics: noMetrics, logger })
    const mirrorFeed = createMirrorFeed({ db, clients, logger })
    const gateway = createStripePaymentGateway(clients, logger, mirrorFeed)
    const purchases = createBulkPurchaseService({
      db,
      gateway,
      cards: createSavedCards({ db, clients, logger }),
      clock: systemClock,
    })
    const worker = createEventWorker({
      db,
      clients,
      gateway,
      mirrorFeed,
      purchases,
      logger,
      metrics: noMetrics,
      eventHooks: EVENT_HOOKS,
      leaseSeconds: config.leaseSeconds,
    })
    worker.start()
    try {
      return await work()
    } finally {
      await worker.stop()
      await db.destroy()
    }
  }
}

type Measure = <T>(name: string, flow: () => Promise<T>) => Promise<T>

async function runFlows(
  shop: Shop,
  fake: FakeStripe,
  admin: pg.Client,
  whileWorking: WhileWorking,
  measure: Measure,
): Promise<void> {
  const purchases = `${shop.path}/purchases`
  const order = { ticket_type: shop.ticketType, quantity: 3 }
  const purchase = await measure('create a purchase', () => shop.post(purchases, order))
  const id = String(purchase['id'])
  const session = await measure('checkout', () =>
    shop.post(`${purchases}/${id}/checkout`, RETURN_URLS),
  )
  await whileWorking(() =>
    measure('webhook to codes', async () => {
      fake.control.pay(String(session['session_id']))
      await untilIssued(admin, id)
    }),
  )
  const { rows } = await admin.query<{ code: string }>(
    `select code from vouchers v join voucher_batches b on b.id = v.batch_id
     where b.purchase_id = $1`,
    [id],
  )
  await measure('redemption', () =>
    shop.post(`${shop.path}/vouchers/${rows[0]?.code}/redemptions`, { reference: id }),
  )
}

/** Resolves when the purchase is PAID and no event of a purchase waits to be processed. */
async function untilIssued(admin: pg.Client, purchase: string): Promise<void> {
  const isDone = async () => {
    const { rows } = await admin.query<{ done: boolean }>(
      `select status = 'PAID' and not exists (
         select from stripe_events where lane = 'purchase' and status <> 'done'
       ) as done
       from bulk_purchases where id = $1`,
      [purchase],
    )
    return rows[0]?.done === true
  }
  while (!(await isDone())) await setTimeout(20)
}

type Shop = {
  path: string
  ticketType: string
  post(path: string, body: Body): Promise<Body>
}

/** A conference with one ticket type whose Stripe account sends its events to the service. */
async function openShop(url: string, fake: FakeStripe): Promise<Shop> {
  const post = async (key: string, path: string, body: Body): Promise<Body> => {
    const answer = await fetch(`${url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    if (!answer.ok)
      throw new Error(`POST ${path} answered ${answer.status}: ${await answer.text()}`)
    return (await answer.json()) as Body
  }
  const stripeKey = 'sk_test_0123456789abcdef0123'
  const path = '/v1/conferences/devconf'
  await post(OPERATOR_KEY, '/v1/conferences', {
    slug: 'devconf',
    name: 'DevConf',
    currency: 'EUR',
    stripe_secret_key: stripeKey,
  })
  const { secret } = fake.control.addWebhookEndpoint({
    account: stripeKey,
    url: `${url}/webhooks/stripe/devconf`,
  })
  await post(OPERATOR_KEY, `${path}/webhook-secrets`, { secret })
  const { id: sponsor } = await post(OPERATOR_KEY, `${path}/sponsors`, {
    name: 'Acme',
    contact_email: 'team@acme.example',
  })
  const keyFor = { role: 'sponsor', sponsor, name: 'sponsor' }
  const { key } = await post(OPERATOR_KEY, `${path}/api-keys`, keyFor)
  const ticket = { name: 'Day', price: 1_000, bulk_enabled: true }
  const { id: ticketType } = await post(OPERATOR_KEY, `${path}/ticket-types`, ticket)
  return {
    path,
    ticketType: String(ticketType),
    // A door at the conference redeems; a sponsor does everything else.
    post: (at, body) => post(at.includes('/vouchers/') ? OPERATOR_KEY : String(key), at, body),
  }
}

type Coverage = {
  /** The files of `src` in which a function ran since the last call. */
  take(): Promise<string[]>
}

async function startCoverage(): Promise<Coverage> {
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
  return {
    async take() {
      const { result } = await session.post('Profiler.takePreciseCoverage')
      const ran = result.filter(({ functions }) =>
        functions.some(({ ranges }) => ranges.some(({ count }) => count > 0)),
      )
      const files = ran.map(({ url }) => pathOf(url)).filter((path) => path.startsWith('src/'))
      return [...new Set(files)].toSorted()
    },
  }
}

function pathOf(url: string): string {
  if (!url.startsWith('file:')) return ''
  const { pathname } = new URL(url)
  return relative(ROOT, pathname).replaceAll('\\', '/')
}
