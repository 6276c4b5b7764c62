import type { DestinationStream } from 'pino'
import { afterAll, beforeAll } from 'vitest'
import { buildApp } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import { connect, type Db } from '../../src/db/connect.ts'
import { holdLivenessLock } from '../../src/db/liveness-lock.ts'
import type { App } from '../../src/http/route-deps.ts'
import { createMirrorFeed } from '../../src/mirror/mirror-feed.ts'
import type { PaymentGateway } from '../../src/payments/payment-gateway.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { createLogger } from '../../src/shared/logger.ts'
import { noMetrics } from '../../src/shared/service-metrics.ts'
import { systemClock } from '../../src/shared/time.ts'
import { createStripeAccounts } from '../../src/stripe/stripe-account.ts'
import { createStripeClients } from '../../src/stripe/stripe-client.ts'
import { createStripePaymentGateway } from '../../src/stripe/stripe-payment-gateway.ts'
import type { EventHook } from '../../src/stripe-events/event-hook.ts'
import { adminQuery, directUrl, isPooled } from './test-connections.ts'
import { useTestDatabase } from './test-database.ts'
import { validateResponse } from './validate-response.ts'
import { asAnotherRequest, expectNoViolations, watchTransactions } from './watch-transactions.ts'

// Nothing listens there: a test that needs Stripe starts a fake one and names it in `env`.
const NO_STRIPE = { STRIPE_API_BASE: 'http://127.0.0.1:9' }

export const OPERATOR_KEY = 'operator-key-of-the-tests'
export const TEST_ENCRYPTION_KEY = Buffer.alloc(32, 7)

export type Method = 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'

export type RequestOptions = {
  /** An API key's text; null for none. The operator's when absent. */
  as?: string | null
  /** Sent as JSON; a text or bytes are sent as they are. */
  body?: unknown
  headers?: Record<string, string>
}

export type Answer<T> = {
  status: number
  body: T
  headers: Record<string, string | string[] | number | undefined>
}

export type Body = Record<string, unknown>

export type TestProcess = {
  app: App
  db: Db
  gateway: PaymentGateway
  request<T = Body>(method: Method, path: string, options?: RequestOptions): Promise<Answer<T>>
  close(): Promise<void>
}

export type TestAppOptions = {
  /** Settings as in the environment of a real process. */
  env?: NodeJS.ProcessEnv
  /** Gets every log line; nothing is logged without it. */
  log?: DestinationStream
  eventHooks?: readonly EventHook[]
}

function parse(payload: string): unknown {
  try {
    return JSON.parse(payload)
  } catch {
    return payload
  }
}

function headersOf({ as = OPERATOR_KEY, body, headers }: RequestOptions): Record<string, string> {
  return {
    ...(as === null ? {} : { authorization: `Bearer ${as}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...headers,
  }
}

function payloadOf(body: unknown): string | Buffer | undefined {
  if (body === undefined || typeof body === 'string' || Buffer.isBuffer(body)) return body
  return JSON.stringify(body)
}

/** A serving process without a port, as main.ts composes it. Several may share one database. */
export async function startTestProcess(
  connectionString: string,
  options: TestAppOptions = {},
): Promise<TestProcess> {
  const logger = createLogger(options.log === undefined ? 'silent' : 'trace', options.log)
  const db = connect(connectionString, { prepareStatements: !isPooled(connectionString) })
  watchTransactions(db)
  const livenessLock = holdLivenessLock(directUrl(connectionString), () => {})
  const config = loadConfig({ ...NO_STRIPE, ...options.env })
  const encryption = createEncryption(TEST_ENCRYPTION_KEY)
  const clients = createStripeClients({ db, encryption, config, metrics: noMetrics, logger })
  const gateway = createStripePaymentGateway(
    clients,
    logger,
    createMirrorFeed({ db, clients, logger }),
  )
  const app = await buildApp({
    config,
    db,
    livenessLock,
    encryption,
    operatorApiKey: OPERATOR_KEY,
    logger,
    stripeAccounts: createStripeAccounts({ config, metrics: noMetrics }),
    gateway,
    clients,
    clock: systemClock,
    eventHooks: options.eventHooks ?? [],
  })
  return {
    app,
    db,
    gateway,
    async request<T>(method: Method, path: string, sent: RequestOptions = {}) {
      const payload = payloadOf(sent.body)
      const answer = await asAnotherRequest(async () =>
        app.inject({
          method,
          url: path,
          headers: headersOf(sent),
          ...(payload === undefined ? {} : { payload }),
        }),
      )
      const { statusCode: status, headers, body: text } = answer
      validateResponse({ method, path, status, headers, text })
      // The caller says what it expects; its assertions would fail on anything else.
      return { status, body: parse(text) as T, headers }
    },
    async close() {
      await app.close()
      await livenessLock.close()
      await db.destroy()
    },
  }
}

export type TestApp = Pick<TestProcess, 'request'> & {
  readonly connectionString: string
  readonly adminConnectionString: string
  readonly app: App
  readonly db: Db
  readonly gateway: PaymentGateway
  /** Rows as an administrator sees them, behind row security. */
  rows<Row = Body>(sql: string, parameters?: unknown[]): Promise<Row[]>
}

/** The service on a database of its own, for the tests of this file. */
export function useTestApp(options: TestAppOptions = {}): TestApp {
  const database = useTestDatabase()
  let running: TestProcess | undefined
  expectNoViolations()
  beforeAll(async () => {
    running = await startTestProcess(database.connectionString, options)
  })
  afterAll(() => running?.close())
  const made = (): TestProcess => {
    if (running === undefined) throw new Error('The test app exists from beforeAll on.')
    return running
  }
  return {
    get connectionString() {
      return database.connectionString
    },
    get adminConnectionString() {
      return database.adminConnectionString
    },
    get app() {
      return made().app
    },
    get db() {
      return made().db
    },
    get gateway() {
      return made().gateway
    },
    request: (method, path, sent) => made().request(method, path, sent),
    rows: <Row = Body>(sql: string, parameters?: unknown[]) =>
      adminQuery<Row & Body>(database.adminConnectionString, sql, parameters),
  }
}
