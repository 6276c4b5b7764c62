import Fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import { ApiFaults } from './api/api-faults.ts'
import { IdempotencyStore } from './api/idempotency-store.ts'
import { RequestLog } from './api/request-log.ts'
import { registerStripeApi } from './api/stripe-api.ts'
import { registerControlRoutes } from './control/control-routes.ts'
import { createControl, type FakeStripeControl } from './control/fake-stripe-control.ts'
import { AccountRegistry } from './core/accounts.ts'
import { createFakeClock, Delays } from './core/clock.ts'
import type { World } from './core/scope.ts'
import { registerPages } from './pages/pages.ts'
import {
  DEFAULT_WEBHOOK_SETTINGS,
  WebhookDispatcher,
  type WebhookSettings,
} from './webhooks/webhook-dispatcher.ts'

export type FakeStripeOptions = {
  /** `process.env.NODE_ENV` as the caller's configuration read it; `production` is refused. */
  nodeEnv: string | undefined
  /** Default 0: a free one. */
  port?: number
  /** Default 127.0.0.1. */
  host?: string
  /** How others reach it, when that is not `http://127.0.0.1:PORT`; used in links and redirects. */
  publicUrl?: string
  /** Default: silent. */
  logger?: FastifyBaseLogger
  /** The real clock, in milliseconds; a test may hold it still. */
  clock?: { now(): number }
  /** Whether an unknown well-formed key makes its own account. Default true. */
  autoAccounts?: boolean
  /** Time-out and back-off of webhooks. */
  webhooks?: Partial<WebhookSettings>
}

export type FakeStripe = {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  url: string
  port: number
  /** Drives the fake from the same process; `POST {url}/_fake/…` does the same from another. */
  control: FakeStripeControl
  /** Stops the server, the clock and all deliveries. Requests that hang are cut. */
  close(): Promise<void>
}

/**
 * Starts a local stand-in for Stripe: the API under `/v1`, the hosted checkout page under `/c/pay`,
 * a dashboard at `/`. Everything is in memory; any number may run side by side.
 *
 * @throws Error when `nodeEnv` is `production`, or the port is taken.
 */
export async function startFakeStripe(options: FakeStripeOptions): Promise<FakeStripe> {
  if (options.nodeEnv === 'production')
    throw new Error('The fake Stripe takes no real money and refuses to run in production')
  const app = createServer(options.logger)
  let url = ''
  const world = createWorld(options, app.log, () => url)
  const control = createControl(world)
  await registerStripeApi(app, world)
  await registerControlRoutes(app, control)
  await registerPages(app, world, control)
  app.addHook('preClose', async () => {
    world.clock.close()
    world.delays.close()
    world.webhooks.close()
  })

  const address = await app.listen({ port: options.port ?? 0, host: options.host ?? '127.0.0.1' })
  const port = Number(new URL(address).port)
  url = options.publicUrl ?? `http://${localHost(options.host)}:${port}`
  return { url, port, control, close: () => app.close() }
}

function createServer(logger: FastifyBaseLogger | undefined) {
  // Idle and hanging connections must not keep close() waiting.
  const logController = new LogController({ disableRequestLogging: true })
  const settings = { forceCloseConnections: true, exposeHeadRoutes: false, logController } as const
  return logger === undefined ? Fastify(settings) : Fastify({ ...settings, loggerInstance: logger })
}

function createWorld(
  options: FakeStripeOptions,
  logger: FastifyBaseLogger,
  url: () => string,
): World {
  const { clock: realClock } = options
  const clock = createFakeClock(realClock && (() => realClock.now()))
  const settings = { ...DEFAULT_WEBHOOK_SETTINGS, ...options.webhooks }
  return {
    clock,
    accounts: new AccountRegistry(clock.seconds, options.autoAccounts ?? true),
    webhooks: new WebhookDispatcher(clock, settings, logger),
    idempotency: new IdempotencyStore(clock.now),
    delays: new Delays(),
    troubles: new ApiFaults(),
    requests: new RequestLog(),
    logger,
    url,
    refundMode: { mode: 'succeeded', times: 0 },
  }
}

/** A server that listens on every address is reached by the loopback one. */
function localHost(host: string | undefined): string {
  if (host === undefined || host === '0.0.0.0' || host === '::') return '127.0.0.1'
  return host.includes(':') ? `[${host}]` : host
}
