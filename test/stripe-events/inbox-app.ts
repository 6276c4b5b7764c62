import { randomUUID } from 'node:crypto'
import type { FakeStripe } from 'fake-stripe/source'
import Stripe from 'stripe'
import { beforeAll } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { createMirrorFeed } from '../../src/mirror/mirror-feed.ts'
import type { PaymentGateway } from '../../src/payments/payment-gateway.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { createLogger } from '../../src/shared/logger.ts'
import { noMetrics } from '../../src/shared/service-metrics.ts'
import { createStripeClients } from '../../src/stripe/stripe-client.ts'
import { createStripePaymentGateway } from '../../src/stripe/stripe-payment-gateway.ts'
import { MAX_SLOT_WAIT_SECONDS } from '../../src/stripe/wait-for-rate-limit.ts'
import { type ClaimedEvent, claimEvents } from '../../src/stripe-events/claim-events.ts'
import type { Lane } from '../../src/stripe-events/classify-event.ts'
import type { EventHook } from '../../src/stripe-events/event-hook.ts'
import { groupByObject, groupByPurchase } from '../../src/stripe-events/group-events.ts'
import { type ProcessDeps, processEvents } from '../../src/stripe-events/process-events.ts'
import { processMirrorEvents } from '../../src/stripe-events/process-mirror-events.ts'
import { purchaseService } from '../support/purchase-service.ts'
import { openShop, type PurchaseAnswer, type Shop, useFakeStripe } from '../support/shop.ts'
import {
  type Answer,
  type Body,
  TEST_ENCRYPTION_KEY,
  type TestApp,
  type TestAppOptions,
  useTestApp,
} from '../support/test-app.ts'

export type EventRow = {
  id: string
  type: string
  status: string
  lane: string
  attempts: number
  last_error: string | null
  source: string
  purchase_id: string | null
  payment_intent_id: string | null
  object_id: string | null
  conference_id: string
}

export type Signing = { secret?: string; header?: string | null; at?: number }

/** A conference whose fake Stripe account sends its events to the service. */
export type WiredShop = Shop & { slug: string; secret: string; endpoint: string }

export type Order = { id: string; session: string; now: () => Promise<PurchaseAnswer> }

type InboxDeps = ProcessDeps & { gateway: PaymentGateway }

export type InboxApp = TestApp & {
  readonly fake: FakeStripe
  /** A worker's dependencies; its log and metrics are recorded. */
  readonly deps: InboxDeps
  readonly log: string[]
  readonly counted: string[]
  openWiredShop(overrides?: Body): Promise<WiredShop>
  /** Posts a body as Stripe would. */
  post(
    shop: { slug: string; secret: string },
    event: unknown,
    signing?: Signing,
  ): Promise<Answer<Body>>
  /** Processes all due events in this process: purchases first, then the mirror. */
  drain(): Promise<void>
  /** Claims and processes the due events of a lane. Returns their number. */
  workOn(lane: Lane): Promise<number>
  /** Waits for the webhooks in flight and processes their events. */
  settle(): Promise<void>
  /** Ends every back-off and every lease. */
  makeDue(): Promise<unknown>
  /** A purchase of ten codes at 10.00 EUR with its session, unpaid. */
  order(shop: Shop): Promise<Order>
  paidOrder(shop: Shop): Promise<Order>
  events(shop: { conference: string }): Promise<EventRow[]>
}

type LaneWork = {
  group: (events: ClaimedEvent[]) => ClaimedEvent[][]
  process: (deps: ProcessDeps, events: ClaimedEvent[]) => Promise<void>
}

const LANES: Record<Lane, LaneWork> = {
  purchase: { group: groupByPurchase, process: processEvents },
  mirror: { group: groupByObject, process: processMirrorEvents },
}

export const newEventId = () => `evt_${randomUUID().replaceAll('-', '')}`

/** An event in Stripe's JSON format. */
export function eventOf(type: string, object: Body, more: Body = {}): Body {
  return {
    id: newEventId(),
    object: 'event',
    api_version: '2026-10-28.endive',
    created: Math.floor(Date.now() / 1000),
    livemode: false,
    type,
    data: { object },
    ...more,
  }
}

export function sign(body: string, secret: string, at?: number): string {
  return Stripe.webhooks.generateTestHeaderString({
    payload: body,
    secret,
    ...(at === undefined ? {} : { timestamp: at }),
  })
}

/** The service, a fake Stripe that sends webhooks to it, and a worker that the test drives. */
export function useInboxApp(
  env: NodeJS.ProcessEnv = {},
  eventHooks: readonly EventHook[] = [],
  options: Pick<TestAppOptions, 'log'> = {},
): InboxApp {
  const stripe = useFakeStripe()
  const settings: NodeJS.ProcessEnv = { ...env }
  beforeAll(() => {
    settings['STRIPE_API_BASE'] = stripe.fake.url
    settings['STRIPE_TIMEOUT_SECONDS'] ??= '20'
  })
  const app = useTestApp({ ...options, env: settings, eventHooks })
  const log: string[] = []
  const counted: string[] = []
  let deps: InboxDeps | undefined
  let url = ''
  beforeAll(async () => {
    url = await app.app.listen({ port: 0, host: '127.0.0.1' })
    const logger = createLogger('trace', { write: (line) => void log.push(line) })
    const clients = createStripeClients({
      db: app.db,
      encryption: createEncryption(TEST_ENCRYPTION_KEY),
      config: loadConfig(settings),
      metrics: noMetrics,
      logger,
      maxWaitSeconds: MAX_SLOT_WAIT_SECONDS,
    })
    const mirrorFeed = createMirrorFeed({ db: app.db, clients, logger })
    const gateway = createStripePaymentGateway(clients, logger, mirrorFeed)
    const metrics = {
      ...noMetrics,
      eventReceived: (outcome: string) => void counted.push(`received ${outcome}`),
      eventHandled: (outcome: string) => void counted.push(`handled ${outcome}`),
      missedEventsFound: (count: number) => void counted.push(`missed ${count}`),
    }
    const purchases = purchaseService(app.db, gateway)
    deps = { db: app.db, clients, gateway, purchases, mirrorFeed, logger, metrics, eventHooks }
  })
  const made = (): InboxDeps => {
    if (deps === undefined) throw new Error('The inbox app exists from beforeAll on.')
    return deps
  }
  const own = {
    log,
    counted,
    get fake() {
      return stripe.fake
    },
    get deps() {
      return made()
    },
    async openWiredShop(overrides: Body = {}): Promise<WiredShop> {
      const shop = await openShop(app, overrides)
      const given = overrides['stripe_secret_key']
      const stripeKey = typeof given === 'string' ? given : shop.stripeKey
      const slug = shop.path.split('/').at(-1) ?? ''
      const { id, secret } = stripe.fake.control.addWebhookEndpoint({
        account: stripeKey,
        url: `${url}/webhooks/stripe/${slug}`,
      })
      await app.request('POST', `${shop.path}/webhook-secrets`, { body: { secret } })
      return { ...shop, stripeKey, slug, secret, endpoint: id }
    },
    post(shop: { slug: string; secret: string }, event: unknown, signing: Signing = {}) {
      const body = typeof event === 'string' ? event : JSON.stringify(event, null, 2)
      const header = signing.header ?? sign(body, signing.secret ?? shop.secret, signing.at)
      return app.request<Body>('POST', `/webhooks/stripe/${shop.slug}`, {
        as: null,
        body,
        headers: {
          'content-type': 'application/json; charset=utf-8',
          ...(signing.header === null ? {} : { 'stripe-signature': header }),
        },
      })
    },
    async drain(): Promise<void> {
      // Events move only from the purchase lane to the mirror lane.
      while ((await own.workOn('purchase')) > 0);
      while ((await own.workOn('mirror')) > 0);
    },
    async workOn(lane: Lane): Promise<number> {
      const claimed = await claimEvents(app.db, { lane, limit: 50, leaseSeconds: 60 })
      const { group, process } = LANES[lane]
      for (const events of group(claimed)) await process(made(), events)
      return claimed.length
    },
    async settle(): Promise<void> {
      await stripe.fake.control.waitForDeliveries()
      await own.drain()
    },
    makeDue: () =>
      app.rows(
        `update stripe_events set next_attempt_at = now(), lease_until = null
         where status = 'pending'`,
      ),
    async order(shop: Shop): Promise<Order> {
      const { id } = await shop.buy()
      return { id, session: await shop.openSession(id), now: () => shop.get(id) }
    },
    async paidOrder(shop: Shop): Promise<Order> {
      const made = await own.order(shop)
      stripe.fake.control.pay(made.session)
      await own.settle()
      return made
    },
    events: (shop: { conference: string }) =>
      app.rows<EventRow>(
        `select id, type, status, lane, attempts, last_error, source, purchase_id, payment_intent_id,
           object_id, conference_id
         from stripe_events where conference_id = $1 order by received_at, id`,
        [shop.conference],
      ),
  }
  // These must be getters, because the values do not exist yet.
  return Object.defineProperties(own, Object.getOwnPropertyDescriptors(app)) as InboxApp
}
