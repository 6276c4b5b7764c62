import type { Config } from './config.ts'
import type { Db } from './db/connect.ts'
import { withSystem, withTenant } from './db/tenant-scope.ts'
import { createJobRegistry, handle, type JobRegistry } from './jobs/job-registry.ts'
import { prune } from './jobs/prune.ts'
import { sweepCharges } from './jobs/sweep-charges.ts'
import { sweepPurchases } from './jobs/sweep-purchases.ts'
import { mailOperators } from './notifications/mail/mail-operators.ts'
import { createMailer, MailRefused } from './notifications/mail/mailer.ts'
import { type DeliverDeps, deliverWebhook } from './notifications/outgoing/deliver-webhook.ts'
import { createPostWebhook } from './notifications/outgoing/post-webhook.ts'
import type { PurchaseRef } from './purchases/bulk-purchase.ts'
import { finishStaleAttempt } from './purchases/finish-stale-attempt.ts'
import { mailPurchase } from './purchases/mail-purchase.ts'
import type { PaymentGateway } from './purchases/payment-gateway.ts'
import type { Cause } from './purchases/purchase-history.ts'
import { letterKind } from './purchases/purchase-letter.ts'
import { createPurchaseLink } from './purchases/purchase-link.ts'
import { reconcilePurchase } from './purchases/reconcile.ts'
import { finishRefund } from './purchases/refund-purchase.ts'
import { AppError } from './shared/errors.ts'
import type { Logger } from './shared/logger.ts'
import type { ServiceMetrics } from './shared/service-metrics.ts'
import { learnStripeAccount } from './stripe/account.ts'
import { reconcileCharge } from './stripe/billing/charges/reconcile-charge.ts'
import { finishChargeRefund } from './stripe/billing/charges/refund-charge.ts'
import { finishPlan } from './stripe/billing/plans/create-plan.ts'
import { alignPromotionCodes } from './stripe/billing/promotion-codes/align-promotion-codes.ts'
import { readPublishedVouchers } from './stripe/billing/promotion-codes/read-published-vouchers.ts'
import { finishSubscription } from './stripe/billing/subscriptions/create-subscription.ts'
import { endDueSubscriptions } from './stripe/billing/subscriptions/end-due-subscriptions.ts'
import type { StripeClients } from './stripe/client.ts'
import type { EventHook } from './stripe/inbox/event-hook.ts'
import { createEventInbox } from './stripe/inbox/event-inbox.ts'
import { findMissedEvents } from './stripe/inbox/missed-events.ts'
import { startAllRuns } from './stripe/sync/runs/start-all-runs.ts'
import { workOnRun } from './stripe/sync/runs/work-on-run.ts'

export type ServiceJobDeps = {
  db: Db
  config: Pick<
    Config,
    | 'pendingEventsThreshold'
    | 'reconcileAfterSeconds'
    | 'leaseSeconds'
    | 'webhooksAllowLoopback'
    | 'mail'
    | 'purchaseUrl'
    | 'publicUrl'
  >
  encryption: DeliverDeps['encryption']
  gateway: PaymentGateway
  clients: StripeClients
  logger: Logger
  metrics: ServiceMetrics
  /** Absent: none. */
  eventHooks?: readonly EventHook[]
  /** Aborts when the process begins to stop: long work is given back at once. */
  stopping: AbortSignal
}

const refOf = (payload: { conference_id: string; purchase_id: string }): PurchaseRef => ({
  conferenceId: payload.conference_id,
  purchaseId: payload.purchase_id,
})

const causeOf = (job: string, cause: string): Cause => ({
  actor: { kind: 'system', id: job },
  cause,
})

/** What runs each job of the catalogue: a few words over the use cases. */
export function serviceJobs(deps: ServiceJobDeps): JobRegistry {
  const { db, config, logger } = deps
  const inbox = createEventInbox(deps)
  const mailer = createMailer(config.mail)
  const giveUpRefused = (error: unknown) => {
    if (!(error instanceof MailRefused)) throw error
    logger.error({ error: error.message }, 'the mail to the operators was refused for good')
  }
  const linkOf = createPurchaseLink(config)
  const postWebhook = createPostWebhook({ allowLoopback: config.webhooksAllowLoopback })
  return createJobRegistry([
    handle('reconcile_purchase', async (payload) => {
      await reconcilePurchase(deps, refOf(payload), {
        cause: causeOf('reconcile_purchase', payload.reason),
      })
    }),
    handle('finish_attempt', (payload) =>
      finishStaleAttempt(deps, refOf(payload), payload.attempt),
    ),
    handle('finish_refund', (payload) =>
      acceptRefusal(
        finishRefund(deps, refOf(payload), payload.id, causeOf('finish_refund', payload.id)),
      ),
    ),
    handle('reconcile_charge', ({ conference_id, charge_id }) =>
      reconcileCharge(deps, { conferenceId: conference_id, chargeId: charge_id }),
    ),
    handle('finish_charge_refund', ({ conference_id, charge_id, id }) =>
      acceptRefusal(
        finishChargeRefund(deps, { conferenceId: conference_id, chargeId: charge_id }, id),
      ),
    ),
    handle('sweep_purchases', async () => {
      const { reconcileAfterSeconds: after } = config
      const swept = await withSystem(db, 'timers', async (trx) => ({
        ...(await sweepPurchases(trx, after)),
        ...(await sweepCharges(trx, after)),
      }))
      logger.debug(swept, 'swept')
    }),
    handle('find_missed_events', async ({ conference_id }) => {
      await findMissedEvents({ ...deps, inbox }, conference_id)
    }),
    handle('learn_stripe_account', async ({ conference_id }, { isLastAttempt }) => {
      const account = await learnStripeAccount(deps, conference_id)
      // A restricted key may never tell; then the account stays unknown, which only costs a check.
      if (account === null && !isLastAttempt) throw new Error('Stripe did not name the account')
    }),
    handle('run_sync', ({ conference_id, run_id }, { isLastAttempt, signal }) =>
      workOnRun(
        { ...deps, leaseSeconds: config.leaseSeconds },
        { conferenceId: conference_id, runId: run_id },
        { signal: AbortSignal.any([signal, deps.stopping]), isLastTry: isLastAttempt },
      ),
    ),
    handle('start_sync_runs', async ({ conference_id }) => {
      const started = await withTenant(db, { conferenceId: conference_id }, (trx) =>
        startAllRuns(trx, conference_id),
      )
      logger.info({ conference: conference_id, runs: started }, 'asked for syncs by the clock')
    }),
    handle('finish_subscription', ({ conference_id, id }) =>
      acceptRefusal(finishSubscription(deps, { conferenceId: conference_id, subscriptionId: id })),
    ),
    handle('end_subscriptions', ({ conference_id }) =>
      endDueSubscriptions(deps, conference_id, deps.stopping),
    ),
    handle('finish_plan', ({ conference_id, id }) =>
      acceptRefusal(finishPlan(deps, { conferenceId: conference_id, planId: id })),
    ),
    handle('deliver_webhook', (payload, { signal }) =>
      deliverWebhook(
        { ...deps, postWebhook },
        {
          conferenceId: payload.conference_id,
          endpointId: payload.endpoint_id,
          deliveryId: payload.delivery_id,
        },
        AbortSignal.any([signal, deps.stopping]),
      ),
    ),
    handle('mail_purchase', (payload) =>
      mailPurchase(
        { ...deps, mailer, linkOf },
        refOf(payload),
        letterKind.parse(payload.kind),
        payload.message,
      ),
    ),
    handle('align_promotion_codes', ({ conference_id, batch_id }, { signal }) =>
      alignPromotionCodes(
        deps,
        { conferenceId: conference_id, batchId: batch_id },
        AbortSignal.any([signal, deps.stopping]),
      ),
    ),
    handle('read_published_vouchers', ({ conference_id }, { signal }) =>
      readPublishedVouchers(deps, conference_id, AbortSignal.any([signal, deps.stopping])),
    ),
    handle('mail_operators', async ({ message: name, subject, text }) => {
      const { operators } = config.mail
      await mailOperators({ mailer, operators }, { name, subject, text }).catch(giveUpRefused)
    }),
    handle('prune', async () => {
      logger.info(await prune(db), 'pruned')
    }),
  ])
}

/** Stripe's "no" is an end as well: it is written down, and another try is not. */
async function acceptRefusal(work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'stripe_refused')) throw error
  }
}
