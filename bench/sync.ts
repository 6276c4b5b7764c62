import { createRequire } from 'node:module'
import type * as StripeSyncEngine from '@supabase/stripe-sync-engine'
import Stripe from 'stripe'
import { connect, type Db } from '../src/db/connect.ts'
import { startEmbeddedPostgres } from '../src/db/embedded/start-embedded-postgres.ts'
import { withTenant } from '../src/db/tenant-scope.ts'
import { StripeCouponAction } from '../src/mirror/resources/coupon-resource.ts'
import { StripeCustomerAction } from '../src/mirror/resources/customer-resource.ts'
import type { SyncRun } from '../src/mirror/runs/sync-run.ts'
import type { SyncContext } from '../src/mirror/stripe-resource.ts'
import { newId } from '../src/shared/ids.ts'
import { createLogger } from '../src/shared/logger.ts'
import {
  buildStripe,
  createThrottledHttpClient,
  type StripeSettings,
} from '../src/stripe/stripe-client.ts'
import { createStripeRateLimiter } from '../src/stripe/stripe-rate-limiter.ts'
import { startFakeStripeProcess } from './processes.ts'

// Its ES module cannot find its own migrations (0.48.5 uses __dirname there); its other one can.
const { runMigrations, StripeSync }: typeof StripeSyncEngine = createRequire(import.meta.url)(
  '@supabase/stripe-sync-engine',
)

export type SyncBenchOptions = {
  /** A migrated database of its own. */
  connectionString: string
  print: (line: string) => void
  /** For the peer's own server. */
  folder: string
  /** Gets what must be undone, newest first, also after an interrupt. */
  onEnd: (undo: () => Promise<unknown>) => void
  /** Customers, and as many coupons. */
  objects?: number
}

const KEY = 'sk_test_benchbenchbenchbenchbench'
const LIMIT = 20 // requests/s, the default
const ROUNDS = 3
const logger = createLogger('silent')

/** Counts what is sent, beneath everything that could send it. */
function countingClient() {
  const inner = Stripe.createNodeHttpClient()
  const counter = { requests: 0 }
  const http = {
    getClientName: () => inner.getClientName(),
    makeRequest(...request: Parameters<typeof inner.makeRequest>) {
      counter.requests += 1
      return inner.makeRequest(...request)
    },
  }
  return { counter, http }
}

type Measured = { rate: number; requests: number }

/** The best of some rounds: what else the machine does only ever makes a round slower. */
async function best(objects: number, once: () => Promise<Measured>): Promise<Measured> {
  const rounds: Measured[] = []
  for (let round = 0; round < ROUNDS; round += 1) rounds.push(await once())
  const [fastest = { rate: 0, requests: 0 }] = rounds.toSorted((a, b) => b.rate - a.rate)
  if (!(fastest.rate > 0)) throw new Error(`No round of ${objects} objects ended`)
  return fastest
}

async function timed(objects: number, work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return objects / ((performance.now() - begun) / 1000)
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

function assertComplete(run: SyncRun, objects: number): void {
  if (run.state === 'succeeded' && run.counts.fetched >= objects) return
  throw new Error(`The sync ended ${run.state}: ${JSON.stringify(run.counts)}`)
}

/** The peer, on a server of its own and the same fake. */
async function measurePeer(
  { folder, onEnd }: Pick<SyncBenchOptions, 'folder' | 'onEnd'>,
  fakeUrl: string,
  objects: number,
): Promise<Measured> {
  const server = await startEmbeddedPostgres({ folder })
  onEnd(() => server.stop())
  // Its migrations give functions to a role of this name, so it runs as an administrator.
  const connectionString = server.adminConnectionString
  const admin = connect(connectionString, { max: 1 })
  await admin.raw('create role postgres').catch(() => {})
  await admin.destroy()
  await runMigrations({ databaseUrl: connectionString, schema: 'stripe' })
  try {
    return await syncPeer(connectionString, fakeUrl, objects)
  } finally {
    // What follows must not share the machine with it.
    await server.stop()
  }
}

async function syncPeer(
  connectionString: string,
  fakeUrl: string,
  objects: number,
): Promise<Measured> {
  const { counter, http } = countingClient()
  const peer = new StripeSync({
    poolConfig: { connectionString, max: 10 },
    stripeSecretKey: KEY,
    stripeWebhookSecret: 'whsec_bench',
  })
  // It has no option for another address.
  peer.stripe = buildStripe(KEY, settingsOf(fakeUrl), http)
  try {
    return await best(objects, async () => {
      await peer.postgresClient.query('truncate stripe.customers cascade')
      counter.requests = 0
      const rate = await timed(objects, () => peer.syncCustomers())
      return { rate, requests: counter.requests }
    })
  } finally {
    await peer.postgresClient.close()
  }
}

const settingsOf = (url: string): StripeSettings => ({
  stripeApiBase: url,
  stripeTimeoutSeconds: 20,
})

/**
 * Objects per second from a local fake without latency: a full sync of customers compared to
 * `@supabase/stripe-sync-engine`, one of coupons compared to the SDK's paging without storing anything,
 * and one within the rate limit compared to the limit.
 */
export async function benchSync({
  connectionString,
  print,
  folder,
  onEnd,
  objects = 10_000,
}: SyncBenchOptions): Promise<{ peer: number; paging: number; limited: number }> {
  const fake = await startFakeStripeProcess(KEY, objects)
  onEnd(() => fake.stop())
  const db = connect(connectionString, { max: 10 })
  try {
    const { counter, http } = countingClient()
    const stripe = buildStripe(KEY, settingsOf(fake.url), http)
    const full = (Action: typeof StripeCustomerAction | typeof StripeCouponAction) =>
      best(objects, async () => {
        const action = new Action(await newContext(db, stripe))
        counter.requests = 0
        const rate = await timed(objects, async () =>
          assertComplete(await action.syncAll(), objects),
        )
        return { rate, requests: counter.requests }
      })
    const tell = (what: string, { rate, requests }: Measured, more = '') =>
      print(`${what}: ${Math.round(rate)} objects/s, ${requests} requests${more}`)

    const customers = await full(StripeCustomerAction)
    tell(`sync ${objects} customers`, customers)
    const peer = await measurePeer({ folder, onEnd }, fake.url, objects)
    tell(
      '  @supabase/stripe-sync-engine',
      peer,
      `, ratio ${(customers.rate / peer.rate).toFixed(2)}`,
    )

    const coupons = await full(StripeCouponAction)
    tell(`sync ${objects} coupons`, coupons)
    const paging = await best(objects, async () => {
      counter.requests = 0
      let seen = 0
      const rate = await timed(objects, async () => {
        for await (const _ of stripe.coupons.list({ limit: 100 })) seen += 1
      })
      if (seen !== objects) throw new Error(`The SDK's paging found ${seen} coupons`)
      return { rate, requests: counter.requests }
    })
    tell("  the SDK's paging alone", paging, `, ratio ${(coupons.rate / paging.rate).toFixed(2)}`)

    const limited = await measureLimited(db, fake.url, objects)
    print(
      `sync ${objects} customers at ${LIMIT} requests/s: ${limited.rate.toFixed(2)} requests/s, ` +
        `ratio ${(limited.rate / LIMIT).toFixed(3)}`,
    )
    return {
      peer: customers.rate / peer.rate,
      paging: coupons.rate / paging.rate,
      limited: limited.rate / LIMIT,
    }
  } finally {
    await db.destroy()
  }
}

/** The pace once the burst is used up. */
async function measureLimited(db: Db, fakeUrl: string, objects: number): Promise<{ rate: number }> {
  const rateLimiter = createStripeRateLimiter({ db, logger, requestsPerSecond: LIMIT })
  const { http } = countingClient()
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
    accountKey: 'acct_sync',
    logger,
  })
  const action = new StripeCustomerAction(
    await newContext(db, buildStripe(KEY, settingsOf(fakeUrl), throttled)),
  )
  assertComplete(await action.syncAll(), objects)
  const burst = Math.ceil(LIMIT / 4)
  const [first = 0, last = 0] = [sent[burst], sent.at(-1)]
  return { rate: (sent.length - 1 - burst) / ((last - first) / 1000) }
}
