import { apiKeyRoutes } from './access/api-key-routes.ts'
import { createAuthenticator } from './access/authenticate.ts'
import { apiDescription } from './api-docs/api-description.ts'
import { catalogRoutes } from './catalog/catalog-routes.ts'
import { conferenceRoutes } from './conferences/conference-routes.ts'
import { findConferenceId } from './conferences/conference-store.ts'
import type { StripeAccountPort } from './conferences/manage-conference.ts'
import { webhookSecretRoutes } from './conferences/webhook-secret-routes.ts'
import type { Config } from './config.ts'
import type { Db } from './db/connect.ts'
import type { Presence } from './db/process-presence.ts'
import { withSystem } from './db/tenant-scope.ts'
import { createDatabaseGauges } from './http/database-gauges.ts'
import { createFailedLookups } from './http/failed-lookups.ts'
import { healthRoutes } from './http/health-routes.ts'
import { createAnswers } from './http/idempotency.ts'
import { createLifecycle, type Lifecycle } from './http/lifecycle.ts'
import { createMetrics, type Metrics } from './http/metrics.ts'
import { addRequestMetrics, metricsRoutes } from './http/metrics-routes.ts'
import { createReadiness } from './http/readiness.ts'
import type { App, RouteDeps } from './http/route-deps.ts'
import { createServer } from './http/server.ts'
import { addJob } from './jobs/add-job.ts'
import { webhookDeliveryRoutes } from './notifications/outgoing/webhook-delivery-routes.ts'
import { webhookEndpointRoutes } from './notifications/outgoing/webhook-endpoint-routes.ts'
import { createBulkPurchaseService } from './purchases/bulk-purchase-service.ts'
import type { PaymentGateway } from './purchases/payment-gateway.ts'
import { purchaseActionRoutes } from './purchases/purchase-action-routes.ts'
import { purchaseRoutes } from './purchases/purchase-routes.ts'
import { createReconcileRequests } from './purchases/request-reconcile.ts'
import { requiredOff } from './purchases/required-off.ts'
import { transitionRoutes } from './purchases/transition-routes.ts'
import { reportRoutes } from './reports/report-routes.ts'
import type { Clock } from './shared/clock.ts'
import type { Encryption } from './shared/encryption.ts'
import type { Logger } from './shared/logger.ts'
import type { ServiceMetrics } from './shared/service-metrics.ts'
import { sponsorLevelRoutes } from './sponsors/level-routes.ts'
import { sponsorRoutes } from './sponsors/sponsor-routes.ts'
import { chargeActionRoutes } from './stripe/billing/charges/charge-action-routes.ts'
import { chargeRoutes } from './stripe/billing/charges/charge-routes.ts'
import { couponRoutes } from './stripe/billing/coupons/coupon-routes.ts'
import { discountChangeRoutes } from './stripe/billing/coupons/discount-change-routes.ts'
import { createSavedCards } from './stripe/billing/customers/change-cards.ts'
import { customerRoutes } from './stripe/billing/customers/customer-routes.ts'
import { planRoutes } from './stripe/billing/plans/plan-routes.ts'
import { promotionCodeRoutes } from './stripe/billing/promotion-codes/promotion-code-routes.ts'
import { publicationRoutes } from './stripe/billing/promotion-codes/publication-routes.ts'
import { subscriptionRoutes } from './stripe/billing/subscriptions/subscription-routes.ts'
import type { StripeClients } from './stripe/client.ts'
import { driftRoutes } from './stripe/drift/drift-routes.ts'
import type { EventHook } from './stripe/inbox/event-hook.ts'
import { createEventInbox } from './stripe/inbox/event-inbox.ts'
import { eventRoutes } from './stripe/inbox/event-routes.ts'
import { webhookRoutes } from './stripe/inbox/webhook-routes.ts'
import { mirrorRoutes } from './stripe/sync/mirror-routes.ts'
import { syncRunRoutes } from './stripe/sync/runs/run-routes.ts'
import { SYNC_RUN_DOCS } from './sync-run-docs.ts'
import { issueComps } from './vouchers/issue-comps.ts'
import { redemptionRoutes } from './vouchers/redemption-routes.ts'
import { voucherBatchRoutes } from './vouchers/voucher-batch-routes.ts'
import { voucherExportRoutes } from './vouchers/voucher-export-routes.ts'
import { voucherRoutes } from './vouchers/voucher-routes.ts'

export type AppDeps = {
  config: Config
  db: Db
  presence: Presence
  encryption: Encryption
  operatorApiKey: string
  logger: Logger
  stripeAccounts: StripeAccountPort
  gateway: PaymentGateway
  clients: StripeClients
  clock: Clock
  /** Absent: none. */
  eventHooks?: readonly EventHook[]
  /** Absent: it serves from the beginning. */
  lifecycle?: Lifecycle
  /** Absent: it measures for itself alone. */
  metrics?: Metrics
  /** A small pool for probes and metrics, which a load of requests does not use up. */
  upkeepDb?: Db
}

/** The HTTP side of the service, composed and not listening. */
export async function buildApp(deps: AppDeps): Promise<App> {
  const { db, encryption, config, logger, operatorApiKey } = deps
  const failedLookups = createFailedLookups(db, config.failedLookupsPerMinute)
  const lifecycle = deps.lifecycle ?? createLifecycle('serving')
  const app = await createServer({
    logger,
    trustProxy: config.trustProxy,
    rateLimitPerMinute: config.rateLimitPerMinute,
    api: apiDescription(config.publicUrl, SYNC_RUN_DOCS),
    lifecycle,
    auth: {
      authenticate: createAuthenticator({ db, operatorApiKey, logger }),
      findConference: (slugOrId) =>
        withSystem(db, 'resolve-conference', (trx) => findConferenceId(trx, slugOrId)),
      countFailedLogin: (address) => failedLookups.countLogin(address),
    },
  })
  const metrics = deps.metrics ?? createMetrics({ process: false })
  addOperationRoutes(app, lifecycle, deps, metrics)
  const routes: RouteDeps = { db, encryption, failedLookups, answers: createAnswers(deps) }
  conferenceRoutes(app, { ...routes, stripeAccounts: deps.stripeAccounts })
  webhookSecretRoutes(app, routes)
  apiKeyRoutes(app, routes)
  sponsorLevelRoutes(app, routes)
  sponsorRoutes(app, { ...routes, issueComps })
  catalogRoutes(app, routes)
  voucherRoutes(app, { ...routes, requiredOff })
  voucherBatchRoutes(app, { ...routes, clock: deps.clock })
  voucherExportRoutes(app, routes)
  redemptionRoutes(app, routes)
  addPurchaseRoutes(app, routes, deps)
  reportRoutes(app, routes)
  webhookEndpointRoutes(app, { ...routes, allowLoopback: config.webhooksAllowLoopback })
  webhookDeliveryRoutes(app, routes)
  addStripeRoutes(app, routes, deps, metrics)
  addBillingRoutes(app, routes, deps)
  return app
}

function addOperationRoutes(app: App, lifecycle: Lifecycle, deps: AppDeps, metrics: Metrics): void {
  const { metricsToken } = deps.config
  const db = deps.upkeepDb ?? deps.db
  addRequestMetrics(app, metrics)
  healthRoutes(app, { lifecycle, readiness: createReadiness(db) })
  const gauges = createDatabaseGauges(metrics.registry, db)
  metricsRoutes(app, { metrics, gauges, metricsToken })
}

function addPurchaseRoutes(app: App, routes: RouteDeps, deps: AppDeps): void {
  const { gateway, clock } = deps
  const cards = createSavedCards(deps)
  const purchases = createBulkPurchaseService(deps)
  const reconcileRequests = createReconcileRequests((trx, job) =>
    addJob(trx, 'reconcile_purchase', {
      conference_id: job.conferenceId,
      purchase_id: job.purchaseId,
      reason: job.reason,
    }),
  )
  purchaseRoutes(app, { ...routes, clock, purchases, reconcileRequests })
  purchaseActionRoutes(app, { ...routes, clock, gateway, purchases, cards })
  transitionRoutes(app, routes)
}

function addStripeRoutes(
  app: App,
  routes: RouteDeps,
  deps: AppDeps,
  metrics: ServiceMetrics,
): void {
  const { db, logger } = deps
  const inbox = createEventInbox({ db, logger })
  webhookRoutes(app, { ...deps, inbox, metrics })
  eventRoutes(app, routes)
  mirrorRoutes(app, routes)
  syncRunRoutes(app, routes)
  driftRoutes(app, routes)
  const { clients, clock } = deps
  couponRoutes(app, { ...routes, clients, clock, logger })
  promotionCodeRoutes(app, { ...routes, clients, clock, logger })
  discountChangeRoutes(app, routes)
  publicationRoutes(app, { ...routes, clock })
  chargeRoutes(app, { ...routes, clients: deps.clients, logger })
  chargeActionRoutes(app, { ...routes, clients: deps.clients, logger })
  customerRoutes(app, { ...routes, clients: deps.clients, logger })
}

function addBillingRoutes(app: App, routes: RouteDeps, { clients, logger }: AppDeps): void {
  planRoutes(app, { ...routes, clients, logger })
  subscriptionRoutes(app, { ...routes, clients, logger })
}
