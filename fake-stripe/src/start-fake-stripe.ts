import Fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import { ApiFaults } from './api/api-faults.ts'
import { IdempotencyStore } from './api/idempotency-store.ts'
import { RequestLog } from './api/request-log.ts'
import { registerStripeApi } from './api/stripe-api.ts'
import { manualScope } from './control/account-control.ts'
import { registerControlRoutes } from './control/control-routes.ts'
import { createControl, type FakeStripeControl } from './control/fake-stripe-control.ts'
import { AccountRegistry } from './core/accounts.ts'
import { createFakeClock, Delays } from './core/clock.ts'
import type { FakeState } from './fake-state.ts'
import { registerPages } from './pages/pages.ts'
import {
  DEFAULT_WEBHOOK_SETTINGS,
  WebhookDispatcher,
  type WebhookSettings,
} from './webhooks/webhook-dispatcher.ts'
import { createEndpoint } from './webhooks/webhook-endpoints.ts'

export type FakeStripeOptions = {
  /** Default `process.env.NODE_ENV`; the fake refuses to start when it is `production`. */
  nodeEnv?: string | undefined
  /** Default 0: a free port. */
  port?: number
  /** Default 127.0.0.1. */
  host?: string
  /** The URL for links and redirects, when others do not reach the fake at `http://127.0.0.1:PORT`. */
  publicUrl?: string
  /** Default: silent. */
  logger?: FastifyBaseLogger
  /** The real clock, in milliseconds; a test may stop it. */
  clock?: { now(): number }
  /** Whether an unknown well-formed key opens a new account. Default true. */
  autoAccounts?: boolean
  /** A webhook endpoint for all events that every account gets when it is opened. */
  webhookEndpoint?: { url: string; secret: string }
  /** Timeout and back-off of webhooks. */
  webhooks?: Partial<WebhookSettings>
}

export type FakeStripe = {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  url: string
  port: number
  /** Controls the fake from the same process; other processes use `POST {url}/_fake/…`. */
  control: FakeStripeControl
  /** Stops the server, the clock and all deliveries. Cuts requests that hang. */
  close(): Promise<void>
}

/**
 * Starts a local stand-in for Stripe: the API under `/v1`, the hosted checkout page under `/c/pay`,
 * a dashboard at `/`. All data is in memory; several fakes can run side by side.
 *
 * @throws Error when `nodeEnv` is `production`, or the port is in use.
 */
export async function startFakeStripe(options: FakeStripeOptions = {}): Promise<FakeStripe> {
  // oxlint-disable-next-line node/no-process-env -- a safety check that no caller may forget
  const nodeEnv = 'nodeEnv' in options ? options.nodeEnv : process.env['NODE_ENV']
  if (nodeEnv === 'production')
    throw new Error('fake-stripe moves no money and does not start with NODE_ENV=production.')
  const app = createServer(options.logger)
  let url = ''
  const state = createState(options, app.log, () => url)
  const control = createControl(state)
  await registerStripeApi(app, state)
  await registerControlRoutes(app, control)
  await registerPages(app, state, control)
  app.addHook('preClose', async () => {
    state.clock.close()
    state.delays.close()
    state.webhooks.close()
  })

  const address = await app.listen({ port: options.port ?? 0, host: options.host ?? '127.0.0.1' })
  const port = Number(new URL(address).port)
  url = options.publicUrl ?? `http://${localHost(options.host)}:${port}`
  return { url, port, control, close: () => app.close() }
}

function createServer(logger: FastifyBaseLogger | undefined) {
  // close() must not wait for idle and hanging connections.
  const logController = new LogController({ disableRequestLogging: true })
  const settings = { forceCloseConnections: true, exposeHeadRoutes: false, logController } as const
  return logger === undefined ? Fastify(settings) : Fastify({ ...settings, loggerInstance: logger })
}

function createState(
  { autoAccounts = true, clock: realClock, webhookEndpoint, ...options }: FakeStripeOptions,
  logger: FastifyBaseLogger,
  url: () => string,
): FakeState {
  const clock = createFakeClock(realClock && (() => realClock.now()))
  const webhooks = new WebhookDispatcher(
    clock,
    { ...DEFAULT_WEBHOOK_SETTINGS, ...options.webhooks },
    logger,
  )
  const state: FakeState = {
    clock,
    accounts: new AccountRegistry(clock.seconds, autoAccounts, (account) => {
      if (webhookEndpoint !== undefined)
        createEndpoint(manualScope(state, account), { ...webhookEndpoint, events: ['*'] })
    }),
    webhooks,
    publish: (account, event) => webhooks.publish(account, event),
    idempotency: new IdempotencyStore(clock.now),
    delays: new Delays(),
    faults: new ApiFaults(),
    requests: new RequestLog(),
    logger,
    url,
    refundMode: { mode: 'succeeded', times: 0 },
  }
  return state
}

/** Clients reach a server that listens on every address by the loopback address. */
function localHost(host: string | undefined): string {
  if (host === undefined || host === '0.0.0.0' || host === '::') return '127.0.0.1'
  return host.includes(':') ? `[${host}]` : host
}
