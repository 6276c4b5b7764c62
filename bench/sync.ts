import { createRequire } from 'node:module'
import type * as StripeSyncEngine from '@supabase/stripe-sync-engine'
import Stripe from 'stripe'
import { connect, type Db } from '../src/db/connect.ts'
import { startEmbeddedPostgres } from '../src/db/embedded/start-embedded-postgres.ts'
import { withTenant } from '../src/db/tenant-scope.ts'
import { StripeCustomerAction } from '../src/mirror/resources/customer-resource.ts'
import type { SyncContext } from '../src/mirror/stripe-resource.ts'
import { newId } from '../src/shared/ids.ts'
import { createLogger } from '../src/shared/logger.ts'
import {
  buildStripe,
  createThrottledHttpClient,
  type StripeSettings,
} from '../src/stripe/stripe-client.ts'
import { createStripeRateLimiter } from '../src/stripe/stripe-rate-limiter.ts'
import { compareRounds, type Figure, type Round } from './compare.ts'
import { startFakeStripeProcess } from './processes.ts'

// Its ES module cannot find its own migrations (0.48.5 uses __dirname there); its other one can.
const { runMigrations, StripeSync }: typeof StripeSyncEngine = createRequire(import.meta.url)(
  '@supabase/stripe-sync-engine',
)

export type SyncBenchOptions = {
  /** A migrated database of its own. */
  connectionString: string
  /** For the peer's own server. */
  folder: string
  /** Gets what must be undone, newest first, also after an interrupt. */
  onEnd: (undo: () => Promise<unknown>) => void
  objects?: number
  /** Of each figure; one more warms up. */
  rounds?: number
}

const KEY = 'sk_test_benchbenchbenchbenchbench'
const LIMIT = 20 // requests/s, the default
const PAGE_SIZE = 100
const logger = createLogger('silent')

/**
 * Full syncs of customers from a local fake without latency: the first one compared with
 * `@supabase/stripe-sync-engine` and with the SDK's paging without storing anything, one that finds
 * nothing changed, and one within the rate limit compared with that limit.
 */
export async function benchSync(options: SyncBenchOptions): Promise<Figure[]> {
  const { connectionString, onEnd, objects = 10_000, rounds = 5 } = options
  const fake = await startFakeStripeProcess(KEY, objects)
  onEnd(() => fake.stop())
  const db = connect(connectionString, { max: 10, prepareStatements: true })
  onEnd(() => db.destroy())
  const stripe = buildStripe(KEY, settingsOf(fake.url), Stripe.createNodeHttpClient())
  const timed = (work: () => Promise<unknown>) => rateOf(objects, work)

  const first: Round = async () => {
    const context = await newContext(db, stripe)
    return timed(() => sync(context, { created: objects }))
  }
  const known = await newContext(db, stripe)
  await sync(known, { created: objects })
  const again: Round = () => timed(() => sync(known, { unchanged: objects }))
  const paging: Round = () =>
    timed(async () => {
      let seen = 0
      for await (const _ of stripe.customers.list({ limit: PAGE_SIZE })) seen += 1
      if (seen !== objects) throw new Error(`The SDK's paging found ${seen} customers`)
    })
  const peer = await startPeer(options, fake.url, objects)
  const limited: Round = () => limitedRate(db, fake.url, objects)

  const work = `sync ${objects.toLocaleString('en')} customers`
  const unit = 'customers/s'
  return [
    {
      work,
      against: '@supabase/stripe-sync-engine',
      unit,
      aim: { atLeast: 8 },
      ...(await compareRounds(first, peer, rounds)),
    },
    {
      work,
      against: 'paging by the SDK',
      unit,
      aim: { atLeast: 0.4 },
      ...(await compareRounds(first, paging, rounds)),
    },
    {
      work: `${work} again, unchanged`,
      against: 'paging by the SDK',
      unit,
      ...(await compareRounds(again, paging, rounds)),
    },
    {
      work: `${work} at a rate limit`,
      against: 'the limit',
      unit: 'requests/s',
      aim: { atLeast: 0.95 },
      ...(await compareRounds(limited, async () => LIMIT, 1)),
    },
  ]
}

async function rateOf(objects: number, work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return objects / ((performance.now() - begun) / 1000)
}

async function sync(
  context: SyncContext,
  expected: { created: number } | { unchanged: number },
): Promise<void> {
  const { state, counts } = await new StripeCustomerAction(context).syncAll()
  const isComplete = Object.entries({ ...counts, ...expected }).every(
    ([name, count]) => counts[name as keyof typeof counts] === count, // the same keys
  )
  if (state !== 'succeeded' || !isComplete) {
    throw new Error(`The sync ended ${state}: ${JSON.stringify(counts)}`)
  }
}

async function newContext(db: Db, stripe: Stripe): Promise<SyncContext> {
  const conferenceId = newId('conference')
  await withTenant(db, { conferenceId }, async (trx) =>
    trx('conferences').insert({
      id: conferenceId,
      slug: conferenceId.replace('_', '-').toLowerCase(),
      name: 'Bench',
      currency: 'EUR',
    }),
  )
  return { db, conferenceId, logger, connect: async () => ({ stripe, livemode: false }) }
}

/** The peer, on a server of its own and the same fake. @returns its first sync of all customers. */
async function startPeer(
  { folder, onEnd }: Pick<SyncBenchOptions, 'folder' | 'onEnd'>,
  fakeUrl: string,
  objects: number,
): Promise<Round> {
  const server = await startEmbeddedPostgres({ folder })
  onEnd(() => server.stop())
  // Its migrations give functions to a role of this name, so it runs as an administrator.
  const connectionString = server.adminConnectionString
  const admin = connect(connectionString, { max: 1 })
  await admin.raw('create role postgres').catch(() => {})
  await admin.destroy()
  await runMigrations({ databaseUrl: connectionString, schema: 'stripe' })
  const peer = new StripeSync({
    poolConfig: { connectionString, max: 10 },
    stripeSecretKey: KEY,
    stripeWebhookSecret: 'whsec_bench',
  })
  onEnd(() => peer.postgresClient.close())
  // It has no option for another address.
  peer.stripe = buildStripe(KEY, settingsOf(fakeUrl), Stripe.createNodeHttpClient())
  return async () => {
    await peer.postgresClient.query('truncate stripe.customers cascade')
    return rateOf(objects, () => peer.syncCustomers())
  }
}

const settingsOf = (url: string): StripeSettings => ({
  stripeApiBase: url,
  stripeTimeoutSeconds: 20,
})

/** The requests per second once the burst is used up. */
async function limitedRate(db: Db, fakeUrl: string, objects: number): Promise<number> {
  const rateLimiter = createStripeRateLimiter({ db, logger, requestsPerSecond: LIMIT })
  const http = Stripe.createNodeHttpClient()
  const sent: number[] = []
  const noting = {
    getClientName: () => http.getClientName(),
    makeRequest(...request: Parameters<typeof http.makeRequest>) {
      sent.push(performance.now())
      return http.makeRequest(...request)
    },
  }
  const throttled = createThrottledHttpClient({
    inner: noting,
    rateLimiter,
    accountKey: newId('conference'),
    logger,
  })
  const context = await newContext(db, buildStripe(KEY, settingsOf(fakeUrl), throttled))
  await sync(context, { created: objects })
  const burst = Math.ceil(LIMIT / 4)
  const [first = 0, last = 0] = [sent[burst], sent.at(-1)]
  return (sent.length - 1 - burst) / ((last - first) / 1000)
}
