import type { ChargeRef } from './billing/charges/charge-store.ts'
import { finishStaleChargeAttempt } from './billing/charges/pay-charge.ts'
import { reconcileCharge } from './billing/charges/reconcile-charge.ts'
import { finishChargeRefund } from './billing/charges/refund-charge.ts'
import { sweepCharges } from './billing/charges/sweep-charges.ts'
import { updateSponsorCustomer } from './billing/customers/change-customer.ts'
import {
  alignPromotionCodes,
  refreshPublishedVouchers,
} from './billing/discounts/align-promotion-codes.ts'
import { resumeDiscountChange } from './billing/discounts/finish-discount-change.ts'
import { finishSubscription } from './billing/subscriptions/create-subscription.ts'
import { endDueSubscriptions } from './billing/subscriptions/end-subscriptions.ts'
import { finishPlan } from './billing/subscriptions/write-plan.ts'
import { sweepBilling } from './billing/sweep-billing.ts'
import { findSharingConferences } from './conferences/shared-accounts.ts'
import { type Config, webUrlOf } from './config.ts'
import type { Db } from './db/connect.ts'
import { withSystem, withTenant } from './db/tenant-scope.ts'
import type { NoteWrites } from './db/write-positions.ts'
import { redactStoredAnswers } from './http/idempotency.ts'
import { sweepAlone } from './jobs/job-queue.ts'
import { createJobRegistry, handle, type JobRegistry } from './jobs/job-registry.ts'
import { startAllSyncRuns, workOnSyncRun } from './mirror/runs/sync-run-job.ts'
import { endAbandonedSyncRuns } from './mirror/runs/sync-run-store.ts'
import { mailInvitation, mailSignInLink } from './notifications/access-mails.ts'
import {
  createPostWebhook,
  type DeliverDeps,
  deliverWebhook,
} from './notifications/deliver-webhook.ts'
import { type Mailer, mailOperators, PermanentMailError } from './notifications/mailer.ts'
import { resumeStuckDeliveries } from './notifications/webhook-deliveries.ts'
import type { PaymentGateway } from './payments/payment-gateway.ts'
import { finishErasure } from './privacy/erase-personal-data.ts'
import type { BulkPurchaseService, Cause, PurchaseRef } from './purchases/bulk-purchase-service.ts'
import { prune } from './retention.ts'
import { AppError } from './shared/errors.ts'
import type { Logger } from './shared/logger.ts'
import type { ServiceMetrics } from './shared/service-metrics.ts'
import type { Clock } from './shared/time.ts'
import { fetchStripeAccount } from './stripe/stripe-account.ts'
import type { StripeClients } from './stripe/stripe-client.ts'
import { resumeJobsWaitingForKey } from './stripe/wait-for-key.ts'
import type { EventHook } from './stripe-events/event-hook.ts'
import { createEventInbox } from './stripe-events/event-inbox.ts'
import { findMissedEvents } from './stripe-events/missed-events.ts'
import { retryWaitingEvents, sweepFailedEvents } from './stripe-events/retry-events.ts'
import { sendAssignmentEmail } from './vouchers/assignment-email.ts'
import { endDueHolds } from './vouchers/redemption-holds.ts'

export type JobHandlerDeps = {
  db: Db
  config: Pick<
    Config,
    | 'pendingEventsThreshold'
    | 'reconcileAfterSeconds'
    | 'leaseSeconds'
    | 'webhooksAllowLoopback'
    | 'mail'
    | 'publicUrl'
    | 'port'
    | 'retention'
  >
  encryption: DeliverDeps['encryption']
  purchases: BulkPurchaseService
  /** Null: no mail server is configured. */
  mailer: Mailer | null
  clients: StripeClients
  gateway: PaymentGateway
  clock: Clock
  logger: Logger
  metrics: ServiceMetrics
  /** Absent: none. */
  eventHooks?: readonly EventHook[]
  /** For reads from a replica that follow a job. Absent: there is none. */
  noteWrites?: NoteWrites
  /** Aborts when the process begins to stop. Long work then ends early and continues in another process. */
  stopping: AbortSignal
}

const refOf = (payload: { conference_id: string; purchase_id: string }): PurchaseRef => ({
  conferenceId: payload.conference_id,
  purchaseId: payload.purchase_id,
})

const chargeOf = (payload: { conference_id: string; charge_id: string }): ChargeRef => ({
  conferenceId: payload.conference_id,
  chargeId: payload.charge_id,
})

const causeOf = (job: string, cause: string): Cause => ({
  actor: { kind: 'system', id: job },
  cause,
})

/** Binds each job of the catalogue to its use case. */
export function createJobHandlers(deps: JobHandlerDeps): JobRegistry {
  const { db, config, logger, mailer, purchases, noteWrites = async () => {} } = deps
  const inbox = createEventInbox(deps)
  const logPermanentError = (error: unknown) => {
    if (!(error instanceof PermanentMailError)) throw error
    logger.error(
      { error: error.message },
      'the mail server refused the mail to the operators permanently',
    )
  }
  const signInMail = { db, mailer, logger, webUrl: webUrlOf(config) }
  const postWebhook = createPostWebhook({ allowLoopback: config.webhooksAllowLoopback })
  return createJobRegistry([
    handle('reconcile_purchase', async (payload) => {
      await purchases.reconcile(refOf(payload), causeOf('reconcile_purchase', payload.reason))
      await noteWrites(payload.conference_id)
    }),
    handle('finish_attempt', (payload) =>
      purchases.finishStaleAttempt(refOf(payload), payload.attempt),
    ),
    handle('finish_refund', (payload) =>
      ignoreStripeRefusal(
        purchases.finishRefund(refOf(payload), payload.id, causeOf('finish_refund', payload.id)),
      ),
    ),
    handle('reconcile_charge', (payload) => reconcileCharge(deps, chargeOf(payload))),
    handle('finish_charge_attempt', (payload) =>
      finishStaleChargeAttempt(deps, chargeOf(payload), payload.attempt),
    ),
    handle('finish_charge_refund', (payload) =>
      ignoreStripeRefusal(
        finishChargeRefund(deps, chargeOf(payload), { id: payload.id, isRepeat: true }),
      ),
    ),
    handle('sweep_purchases', async () => {
      const { reconcileAfterSeconds: after } = config
      const swept = await withSystem(db, 'timers', async (trx) => ({
        ...(await purchases.sweep(trx, after)),
        ...(await sweepCharges(trx, after)),
        ...(await sweepBilling(trx, after)),
      }))
      const events = await withSystem(db, 'claim-events', (trx) => sweepFailedEvents(trx, after))
      logger.debug({ ...swept, events }, 'swept')
    }),
    handle('sweep_abandoned', async () => {
      const swept = await withSystem(db, 'timers', async (trx) => {
        await sweepAlone(trx)
        return {
          runs: await endAbandonedSyncRuns(trx),
          deliveries: await resumeStuckDeliveries(trx),
        }
      })
      if (swept.runs > 0 || swept.deliveries > 0) logger.warn(swept, 'swept abandoned work')
    }),
    handle('find_missed_events', async ({ conference_id }, { jobId }) => {
      await findMissedEvents({ ...deps, inbox }, conference_id, `job:${jobId}`)
    }),
    handle('retry_with_new_key', async ({ conference_id }) => {
      const retried = await withTenant(db, { conferenceId: conference_id }, async (trx) => ({
        jobs: await resumeJobsWaitingForKey(trx, conference_id),
        events: await retryWaitingEvents(trx, conference_id),
      }))
      logger.info({ conference: conference_id, ...retried }, 'retrying with the new Stripe key')
    }),
    handle('learn_stripe_account', async ({ conference_id }, { isLastAttempt }) => {
      const account = await fetchStripeAccount(deps, conference_id)
      // A restricted key may not read its account. Then the account stays unknown, which is harmless.
      if (account === null && !isLastAttempt)
        throw new Error('Stripe did not return the account of the key')
      if ((await findSharingConferences(db, [conference_id])).has(conference_id)) {
        logger.warn(
          { conference: conference_id, account },
          'another conference uses the same Stripe account; see docs/mirror.md',
        )
      }
    }),
    handle('run_sync', ({ conference_id, run_id }, { isLastAttempt, signal }) =>
      workOnSyncRun(
        { ...deps, leaseSeconds: config.leaseSeconds },
        { conferenceId: conference_id, runId: run_id },
        { signal: AbortSignal.any([signal, deps.stopping]), isLastTry: isLastAttempt },
      ),
    ),
    handle('start_sync_runs', async ({ conference_id }) => {
      const started = await withTenant(db, { conferenceId: conference_id }, (trx) =>
        startAllSyncRuns(trx, conference_id),
      )
      logger.info({ conference: conference_id, runs: started }, 'the timer started sync runs')
    }),
    handle('finish_subscription', ({ conference_id, id }) =>
      ignoreStripeRefusal(
        finishSubscription(deps, { conferenceId: conference_id, subscriptionId: id }),
      ),
    ),
    handle('end_subscriptions', ({ conference_id }) =>
      endDueSubscriptions(deps, conference_id, deps.stopping),
    ),
    handle('finish_plan', ({ conference_id, id }) =>
      ignoreStripeRefusal(finishPlan(deps, { conferenceId: conference_id, planId: id })),
    ),
    handle('finish_discount_change', ({ conference_id, id }) =>
      resumeDiscountChange(deps, conference_id, id),
    ),
    handle('update_customer', ({ conference_id, sponsor_id }) =>
      updateSponsorCustomer(deps, conference_id, sponsor_id),
    ),
    handle('finish_erasure', async ({ conference_id, id }) => {
      await finishErasure(
        {
          ...deps,
          redactAnswers: (conferenceId, redact) => redactStoredAnswers(deps, conferenceId, redact),
        },
        { conferenceId: conference_id, erasureId: id },
      )
    }),
    // Who gets a message may read what it is about at once.
    handle('deliver_webhook', async (payload, { signal }) => {
      await noteWrites(payload.conference_id)
      await deliverWebhook(
        { ...deps, postWebhook },
        {
          conferenceId: payload.conference_id,
          endpointId: payload.endpoint_id,
          deliveryId: payload.delivery_id,
        },
        AbortSignal.any([signal, deps.stopping]),
      )
    }),
    handle('mail_purchase', async (payload) => {
      await noteWrites(payload.conference_id)
      await purchases.sendEmail(refOf(payload), payload.kind, payload.message)
    }),
    handle('mail_assignment', async ({ conference_id, voucher_id, message }) => {
      await noteWrites(conference_id)
      await sendAssignmentEmail(deps, {
        conferenceId: conference_id,
        voucherId: voucher_id,
        message,
      })
    }),
    handle('align_promotion_codes', ({ conference_id, batch_id }, { signal }) =>
      alignPromotionCodes(
        deps,
        { conferenceId: conference_id, batchId: batch_id },
        AbortSignal.any([signal, deps.stopping]),
      ),
    ),
    handle('read_published_vouchers', ({ conference_id }, { signal }) =>
      refreshPublishedVouchers(deps, conference_id, AbortSignal.any([signal, deps.stopping])),
    ),
    handle('mail_operators', async ({ message: name, subject, text }) => {
      const { operators } = config.mail
      await mailOperators({ mailer, operators }, { name, subject, text }).catch(logPermanentError)
    }),
    handle('mail_sign_in', (payload) => mailSignInLink(signInMail, payload)),
    handle('mail_invitation', (payload) => mailInvitation(signInMail, payload)),
    handle('end_holds', () => endDueHolds(db)),
    handle('prune', async () => {
      logger.info(await prune(db, config.retention), 'pruned')
    }),
  ])
}

/** A refusal by Stripe is a final outcome, and it is already recorded. A retry would not help. */
async function ignoreStripeRefusal(work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'stripe_refused')) throw error
  }
}
