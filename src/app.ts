import { apiKeyRoutes } from './access/api-key-routes.ts'
import { auditLogRoutes } from './access/audit-log-routes.ts'
import { createAuthenticator } from './access/authenticate.ts'
import { identityProviderRoutes } from './access/identity-provider-routes.ts'
import { sessionRoutes } from './access/session-routes.ts'
import { authenticateSession } from './access/sign-in.ts'
import { userRoutes } from './access/user-routes.ts'
import { apiDescription } from './api-docs/api-description.ts'
import { chargeRoutes } from './billing/charges/charge-routes.ts'
import { customerRoutes } from './billing/customers/customer-routes.ts'
import { createSavedCards } from './billing/customers/saved-cards.ts'
import { discountChangeRoutes } from './billing/discounts/discount-change-routes.ts'
import { couponRoutes, promotionCodeRoutes } from './billing/discounts/discount-routes.ts'
import { publicationRoutes } from './billing/discounts/publication-routes.ts'
import { planRoutes } from './billing/subscriptions/plan-routes.ts'
import { subscriptionRoutes } from './billing/subscriptions/subscription-routes.ts'
import { catalogRoutes } from './catalog/catalog-routes.ts'
import {
  conferenceRoutes,
  purchaseOptionsRoute,
  webhookSecretRoutes,
} from './conferences/conference-routes.ts'
import { createConferenceLookup } from './conferences/conference-store.ts'
import type { StripeAccountPort } from './conferences/manage-conference.ts'
import { type Config, webUrlOf } from './config.ts'
import { createDatabaseGauges } from './database-gauges.ts'
import type { Db } from './db/connect.ts'
import type { LivenessLock } from './db/liveness-lock.ts'
import { createFailedLookups } from './http/failed-lookups.ts'
import { createIdempotency, redactStoredAnswers } from './http/idempotency.ts'
import { addRequestMetrics, createMetrics, type Metrics, metricsRoutes } from './http/metrics.ts'
import { createLifecycle, createReadiness, healthRoutes, type Lifecycle } from './http/readiness.ts'
import { type ConnectedReplica, createReads, noteWritesOfCallers } from './http/replica-reads.ts'
import type { App, RouteDeps } from './http/route-deps.ts'
import { createProbeServer, createServer } from './http/server.ts'
import { driftRoutes } from './mirror/drift/drift-routes.ts'
import { mirrorRoutes } from './mirror/mirror-routes.ts'
import { syncRunRoutes } from './mirror/runs/sync-run-routes.ts'
import {
  webhookDeliveryRoutes,
  webhookEndpointRoutes,
} from './notifications/outbound-webhook-routes.ts'
import type { PaymentGateway } from './payments/payment-gateway.ts'
import { findPaymentObject } from './payments/payment-store.ts'
import { privacyRoutes } from './privacy/privacy-routes.ts'
import { createBulkPurchaseService } from './purchases/bulk-purchase-service.ts'
import { purchaseRoutes } from './purchases/purchase-routes.ts'
import { hasPurchases } from './purchases/purchase-store.ts'
import { paymentReportRoutes } from './reports/payment-report-routes.ts'
import { payoutRoutes } from './reports/payout-routes.ts'
import { purchaseDocumentsRoute, reportRoutes } from './reports/report-routes.ts'
import { statementRoutes } from './reports/statement-routes.ts'
import type { Encryption } from './shared/cryptography.ts'
import type { Logger } from './shared/logger.ts'
import type { ServiceMetrics } from './shared/service-metrics.ts'
import type { Clock } from './shared/time.ts'
import type { Tracer } from './shared/work-context.ts'
import { sponsorLevelRoutes } from './sponsors/sponsor-level-routes.ts'
import { sponsorRoutes } from './sponsors/sponsor-routes.ts'
import type { StripeClients } from './stripe/stripe-client.ts'
import type { EventHook } from './stripe-events/event-hook.ts'
import { createEventInbox } from './stripe-events/event-inbox.ts'
import { eventRoutes } from './stripe-events/event-routes.ts'
import { webhookRoutes } from './stripe-events/webhook-routes.ts'
import { assignmentFileRoutes, assignmentRoutes } from './vouchers/assignment-routes.ts'
import { issueComps } from './vouchers/issue-without-purchase.ts'
import { redemptionRoutes } from './vouchers/redemption-routes.ts'
import { type FindPurchaseBatch, voucherExportRoutes } from './vouchers/voucher-export-routes.ts'
import { voucherBatchRoutes, voucherRoutes } from './vouchers/voucher-routes.ts'

export type AppDeps = {
  config: Config
  db: Db
  livenessLock: LivenessLock
  encryption: Encryption
  operatorApiKey: string
  logger: Logger
  stripeAccounts: StripeAccountPort
  gateway: PaymentGateway
  clients: StripeClients
  clock: Clock
  /** Absent: none. */
  eventHooks?: readonly EventHook[]
  /** Absent: the app serves requests immediately. */
  lifecycle?: Lifecycle
  /** Absent: the app has its own metrics. */
  metrics?: Metrics
  /** A small pool for probes and metrics, so that many requests do not block them. Absent: `db`. */
  upkeepDb?: Db
  /** The connections of Stripe's webhooks. Absent: `db`. */
  webhookDb?: Db
  /** The connections of exports. Absent: `db`. */
  exportDb?: Db
  /** For lists, reports and exports. Absent: the primary answers everything. */
  replica?: ConnectedReplica
  /** Absent: nothing is traced. */
  tracer?: Tracer | null
}

/** Composes the HTTP side of the service. The result does not listen yet. */
export async function buildApp(deps: AppDeps): Promise<App> {
  const { db, encryption, config, logger, operatorApiKey, replica = null } = deps
  const failedLookups = createFailedLookups(db, config.failedLookupsPerMinute)
  const findConference = createConferenceLookup(db)
  const lifecycle = deps.lifecycle ?? createLifecycle('serving')
  const app = await createServer({
    logger,
    trustProxy: config.trustProxy,
    rateLimitPerMinute: config.rateLimitPerMinute,
    publicUrl: config.publicUrl,
    corsOrigins: config.corsOrigins,
    api: apiDescription(config.publicUrl),
    lifecycle,
    tracer: deps.tracer ?? null,
    auth: {
      authenticate: createAuthenticator({ db, operatorApiKey, logger }),
      authenticateSession: (cookie) => authenticateSession(db, cookie),
      findConference: (slugOrId, caller) =>
        failedLookups.guardConference(caller, slugOrId, () => findConference(slugOrId)),
      countFailedLogin: (address) => failedLookups.countLogin(address),
    },
  })
  const metrics = deps.metrics ?? createMetrics({ process: false })
  addOperationRoutes(app, lifecycle, deps, metrics)
  const ownOrigin = new URL(webUrlOf(config)).origin
  const idempotency = createIdempotency(deps)
  const reads = createReads({ db, exportDb: deps.exportDb ?? db, replica })
  noteWritesOfCallers(app, replica)
  const routes: RouteDeps = { db, reads, encryption, failedLookups, idempotency, ownOrigin }
  conferenceRoutes(app, {
    ...routes,
    stripeAccounts: deps.stripeAccounts,
    hasPurchases,
    findPaymentObject,
  })
  purchaseOptionsRoute(app, routes)
  webhookSecretRoutes(app, routes)
  apiKeyRoutes(app, routes)
  userRoutes(app, routes)
  sessionRoutes(app, routes)
  const webUrl = webUrlOf(config)
  identityProviderRoutes(app, { ...deps, settings: config.oidc, webUrl })
  auditLogRoutes(app, routes)
  sponsorLevelRoutes(app, routes)
  sponsorRoutes(app, { ...routes, issueComps })
  catalogRoutes(app, routes)
  const purchases = createBulkPurchaseService({
    ...deps,
    cards: createSavedCards(deps),
    ownOrigin,
  })
  voucherRoutes(app, routes)
  voucherBatchRoutes(app, { ...routes, clock: deps.clock })
  const findPurchaseBatch: FindPurchaseBatch = (trx, caller, id) =>
    purchases.findVoucherBatch(trx, caller, id)
  voucherExportRoutes(app, { ...routes, findPurchaseBatch })
  assignmentRoutes(app, routes)
  assignmentFileRoutes(app, { ...routes, findPurchaseBatch })
  redemptionRoutes(app, routes)
  purchaseRoutes(app, { ...routes, purchases, findConference })
  reportRoutes(app, routes)
  paymentReportRoutes(app, routes)
  statementRoutes(app, routes)
  payoutRoutes(app, { ...routes, clients: deps.clients })
  purchaseDocumentsRoute(app, routes)
  webhookEndpointRoutes(app, { ...routes, allowLoopback: config.webhooksAllowLoopback })
  webhookDeliveryRoutes(app, routes)
  privacyRoutes(app, {
    ...routes,
    clock: deps.clock,
    redactAnswers: (conferenceId, redact) => redactStoredAnswers(deps, conferenceId, redact),
  })
  addStripeRoutes(app, routes, deps, metrics)
  addBillingRoutes(app, routes, deps)
  return app
}

/** The probes and metrics of a process that only works. The result does not listen yet. */
export function buildProbes(deps: {
  config: Config
  upkeepDb: Db
  logger: Logger
  lifecycle: Lifecycle
  metrics: Metrics
}): App {
  const app = createProbeServer(deps.logger)
  const { lifecycle, config, upkeepDb: db, metrics } = deps
  addOperationRoutes(app, lifecycle, { config, db }, metrics)
  return app
}

function addOperationRoutes(
  app: App,
  lifecycle: Lifecycle,
  deps: Pick<AppDeps, 'config' | 'db' | 'upkeepDb'>,
  metrics: Metrics,
): void {
  const { metricsToken } = deps.config
  const db = deps.upkeepDb ?? deps.db
  addRequestMetrics(app, metrics)
  healthRoutes(app, { lifecycle, readiness: createReadiness(db) })
  const gauges = createDatabaseGauges(metrics.registry, db)
  metricsRoutes(app, { metrics, gauges, metricsToken })
}

function addStripeRoutes(
  app: App,
  routes: RouteDeps,
  deps: AppDeps,
  metrics: ServiceMetrics,
): void {
  const { logger } = deps
  const db = deps.webhookDb ?? deps.db
  const inbox = createEventInbox({ db, logger })
  const { failedLookups } = routes
  webhookRoutes(app, { ...deps, db, inbox, metrics, failedLookups })
  eventRoutes(app, routes)
  mirrorRoutes(app, routes)
  syncRunRoutes(app, routes)
  driftRoutes(app, routes)
  const { clients, clock } = deps
  couponRoutes(app, { ...routes, clients, clock, logger })
  promotionCodeRoutes(app, { ...routes, clients, clock, logger })
  discountChangeRoutes(app, routes)
  publicationRoutes(app, { ...routes, clock })
  chargeRoutes(app, { ...routes, clients, gateway: deps.gateway, clock, logger })
  customerRoutes(app, { ...routes, clients: deps.clients, logger })
}

function addBillingRoutes(app: App, routes: RouteDeps, { clients, logger }: AppDeps): void {
  planRoutes(app, { ...routes, clients, logger })
  subscriptionRoutes(app, { ...routes, clients, logger })
}
