import type { Db, Tx } from '../db/connect.ts'
import { type IdempotencyRunner, withoutIdempotencyKey } from '../db/idempotency-runner.ts'
import type { Page, PageQuery } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { PaymentGateway, PurchaseRef, SavedCards } from '../payments/payment-gateway.ts'
import type { ReturnUrls } from '../payments/return-urls.ts'
import type { Caller } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import type { Clock } from '../shared/time.ts'
import { findPurchaseBatch } from '../vouchers/voucher-batch-store.ts'
import { assertCancellable, assertCancelled, closePayableAttempt } from './cancel-purchase.ts'
import { beginCheckout, type CheckoutPage, finishCheckout } from './checkout-purchase.ts'
import {
  createPurchase,
  type NewPurchaseInput,
  type PurchaseChanges,
  updatePurchaseOrder,
} from './create-purchase.ts'
import { beginPay, finishPay } from './pay-purchase.ts'
import { expireAttempt, findPurchaseIdBySession } from './payment-attempt-store.ts'
import { findPurchaseIdByPaymentIntent } from './payment-store.ts'
import { BulkPurchaseError } from './purchase-aggregate.ts'
import {
  createPurchaseLink,
  type PurchaseEmailDeps,
  type PurchaseLinkSettings,
  purchaseEmailKind,
  sendPurchaseEmail,
} from './purchase-email.ts'
import { type Cause, findPurchase, listTransitions, lockPurchase } from './purchase-store.ts'
import {
  listPurchases,
  type PurchaseBody,
  type PurchaseFilter,
  type TransitionBody,
  toTransitionBody,
  viewNewPurchase,
  viewPurchase,
} from './purchase-view.ts'
import {
  type Applied,
  applyFetched,
  type FetchedSnapshot,
  fetchSnapshot,
  reconcilePurchase,
  requestReconcile,
} from './reconcile-purchase.ts'
import { beginRefund, finishRefund, type RefundInput } from './refund-purchase.ts'
import { approveComp, type FlagResolution, resolveFlag } from './staff-decisions.ts'
import { finishStaleAttempt, type SweepCounts, sweepPurchases } from './sweep-purchases.ts'
import { issuePurchaseVouchers, markFailed, type TransitionResult } from './transition-purchase.ts'

// What the operations below take and return.
export type { Cause, FetchedSnapshot, PurchaseBody, TransitionBody }

/**
 * The only way into purchases: routes, Stripe events, jobs and the CLI call this service and nothing
 * else of this folder. An operation with an `idempotency` parameter runs at most once per idempotency
 * key; without one, every call runs.
 */
export type BulkPurchaseService = {
  /** Creates a PENDING purchase. @throws AppError `validation_failed` naming each field. */
  createBulkPurchase(
    caller: Caller,
    input: NewPurchaseInput,
    idempotency?: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /** @throws AppError `wrong_state` once a checkout was opened, `validation_failed`, `not_found`. */
  updateBulkPurchase(
    caller: Caller,
    purchaseId: string,
    changes: PurchaseChanges,
    idempotency?: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /** @throws AppError `not_found`, also for another sponsor's purchase. */
  getBulkPurchase(
    caller: Caller,
    purchaseId: string,
    options?: {
      /** Adds a reconcile job for a PROCESSING purchase that was not reconciled for some seconds. */
      refresh?: boolean
    },
  ): Promise<PurchaseBody>
  /** Newest first; a sponsor sees its own. */
  listBulkPurchases(caller: Caller, filter: PurchaseFilter): Promise<Page<PurchaseBody>>
  /** Newest first. @throws AppError `not_found`, also for another sponsor's purchase. */
  listTransitions(
    caller: Caller,
    purchaseId: string,
    page: PageQuery,
  ): Promise<Page<TransitionBody>>

  /**
   * Opens the payment page. The same URLs again give the same session.
   * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`, `stripe_key_missing`, `stripe_refused`.
   */
  createCheckoutSession(
    caller: Caller,
    purchaseId: string,
    urls: ReturnUrls,
    idempotency?: IdempotencyRunner,
  ): Promise<CheckoutPage>
  /**
   * Charges a saved card.
   * @param paymentMethod null: the sponsor's default.
   * @throws the errors of `finishPay`.
   */
  payWithSavedCard(
    caller: Caller,
    purchaseId: string,
    paymentMethod: string | null,
    idempotency?: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /** @throws BulkPurchaseError `wrong_state`, `payment_in_progress`. */
  cancelBulkPurchase(
    caller: Caller,
    purchaseId: string,
    idempotency?: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /** Approves a free purchase, which issues its vouchers. @throws BulkPurchaseError `wrong_state`. */
  approveComp(
    caller: Caller,
    purchaseId: string,
    idempotency?: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /** Refunds a payment. The vouchers change only when Stripe confirms the refund. */
  refundBulkPurchase(
    caller: Caller,
    purchaseId: string,
    input: RefundInput,
    idempotency?: IdempotencyRunner,
  ): Promise<PurchaseBody>
  resolveFlag(
    caller: Caller,
    purchaseId: string,
    resolution: FlagResolution,
    idempotency?: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /**
   * What staff request by hand: reconciles the purchase, fetches fraud warnings too, and issues the
   * vouchers that a PAID purchase lacks.
   * @param paymentIntent a payment without a row of ours, whose metadata names the purchase.
   */
  reconcileBulkPurchase(
    caller: Caller,
    purchaseId: string,
    paymentIntent?: string | null,
    idempotency?: IdempotencyRunner,
  ): Promise<PurchaseBody>

  /**
   * Issues the vouchers that a PAID purchase lacks.
   * @returns how many it issued; 0 if none was missing.
   * @throws BulkPurchaseError `wrong_state` in any other state.
   */
  fulfillBulkPurchase(ref: PurchaseRef): Promise<number>
  /**
   * Finds the purchase that Stripe events are about and fetches a snapshot of it. Changes no status:
   * pass the result to `applySnapshot` in the transaction that closes the events.
   * @returns null if the events are about no purchase of this conference.
   */
  handleCheckoutWebhook(webhook: CheckoutWebhook): Promise<FetchedSnapshot | null>
  /** Applies a snapshot in the caller's transaction; a stale one changes nothing. */
  applySnapshot(trx: Tx, snapshot: FetchedSnapshot, cause: Cause): Promise<Applied>
  /**
   * Fails an unpaid purchase in the caller's transaction. The machine refuses it while a payment may
   * still arrive; `CHECKOUT_EXPIRED` is also refused while an attempt is open.
   */
  markFailed(
    trx: Tx,
    ref: PurchaseRef,
    reason: 'CANCELLED' | 'CHECKOUT_EXPIRED',
    cause: Cause,
  ): Promise<TransitionResult>

  /** Fetches a snapshot and applies it: the `reconcile_purchase` job. */
  reconcile(ref: PurchaseRef, cause: Cause): Promise<Applied>
  /** Closes an attempt that no request continues: the `finish_attempt` job. */
  finishStaleAttempt(ref: PurchaseRef, attempt: number): Promise<void>
  /** Sends a stored refund request to Stripe: the `finish_refund` job. */
  finishRefund(ref: PurchaseRef, requestId: string, cause: Cause): Promise<void>
  /** Sends an e-mail to the sponsor's contact: the `mail_purchase` job. */
  sendEmail(ref: PurchaseRef, kind: string, message: string): Promise<void>
  /** Adds jobs for everything that waits too long for Stripe. @param trx of a system task. */
  sweep(trx: Tx, afterSeconds: number): Promise<SweepCounts>
  /**
   * The voucher batch of a purchase, or null if nothing was issued.
   * @throws AppError `not_found`, also for another sponsor's purchase.
   */
  findVoucherBatch(trx: Tx, caller: Caller, purchaseId: string): Promise<string | null>
}

/** What one or several Stripe events say about a purchase. */
export type CheckoutWebhook = {
  conferenceId: string
  /** Null: the sessions and payments lead to it. */
  purchaseId: string | null
  sessionIds: readonly string[]
  paymentIntents: readonly string[]
  /** Whether one of them is an early fraud warning. */
  fraudWarnings: boolean
}

export type BulkPurchaseServiceDeps = {
  db: Db
  gateway: PaymentGateway
  cards: SavedCards
  clock: Clock
  /** Absent: this process sends no e-mail. */
  email?: Pick<PurchaseEmailDeps, 'mailer' | 'logger'> & PurchaseLinkSettings
}

/** The service over one database and one Stripe gateway. */
export function createBulkPurchaseService(deps: BulkPurchaseServiceDeps): BulkPurchaseService {
  const { db, email } = deps
  const refOf = ({ conferenceId }: Caller, purchaseId: string) => ({ conferenceId, purchaseId })
  const causeOf = ({ actor }: Caller, cause: string) => ({ actor, cause })
  const everyTime = ({ conferenceId }: Caller) => withoutIdempotencyKey(db, conferenceId)
  const view = (caller: Caller, purchaseId: string) =>
    withTenant(db, caller, (trx) => viewPurchase(trx, caller, purchaseId))

  const service: BulkPurchaseService = {
    createBulkPurchase: (caller, input, idempotency = everyTime(caller)) =>
      idempotency.run(async (trx) =>
        viewNewPurchase(caller, await createPurchase(trx, deps, caller, input)),
      ),

    updateBulkPurchase: (caller, purchaseId, changes, idempotency = everyTime(caller)) =>
      idempotency.run(async (trx) => {
        await updatePurchaseOrder(trx, deps, caller, purchaseId, changes)
        return viewPurchase(trx, caller, purchaseId)
      }),

    getBulkPurchase: (caller, purchaseId, { refresh = false } = {}) =>
      withTenant(db, caller, async (trx) => {
        const purchase = await viewPurchase(trx, caller, purchaseId)
        if (refresh && purchase.status === 'PROCESSING') {
          await requestReconcile(trx, refOf(caller, purchaseId))
        }
        return purchase
      }),

    listBulkPurchases: (caller, filter) =>
      withTenant(db, caller, (trx) => listPurchases(trx, caller, filter)),

    listTransitions: (caller, purchaseId, page) =>
      withTenant(db, caller, async (trx) => {
        const ref = refOf(caller, purchaseId)
        const purchase = await findPurchase(trx, ref, caller.sponsorId)
        if (purchase === null) throw notFound('purchase')
        const found = await listTransitions(trx, ref, page)
        return { ...found, data: found.data.map(toTransitionBody) }
      }),

    createCheckoutSession: (caller, purchaseId, urls, idempotency = everyTime(caller)) =>
      idempotency.resume({
        begin: async (trx) => String(await beginCheckout(trx, deps, caller, purchaseId, urls)),
        finish: (attempt) => {
          const ref = refOf(caller, purchaseId)
          return finishCheckout(deps, ref, Number(attempt), urls, causeOf(caller, 'checkout'))
        },
      }),

    payWithSavedCard: (caller, purchaseId, paymentMethod, idempotency = everyTime(caller)) =>
      idempotency.resume({
        begin: async (trx) => String(await beginPay(trx, caller, purchaseId, paymentMethod)),
        finish: async (attempt) => {
          const ref = refOf(caller, purchaseId)
          await finishPay(deps, ref, Number(attempt), paymentMethod, causeOf(caller, 'pay'))
          return view(caller, purchaseId)
        },
      }),

    cancelBulkPurchase: (caller, purchaseId, idempotency = everyTime(caller)) =>
      idempotency.resume({
        begin: async (trx) => {
          await assertCancellable(trx, caller, purchaseId)
          return purchaseId
        },
        finish: async () => {
          const ref = refOf(caller, purchaseId)
          const cause = causeOf(caller, 'cancel')
          const closed = await closePayableAttempt(deps, ref, cause)
          await withTenant(db, ref, async (trx) => {
            await lockPurchase(trx, ref)
            if (closed !== null) await expireAttempt(trx, ref, closed)
            assertCancelled(await service.markFailed(trx, ref, 'CANCELLED', cause))
          })
          return view(caller, purchaseId)
        },
      }),

    approveComp: (caller, purchaseId, idempotency = everyTime(caller)) =>
      idempotency.run(async (trx) => {
        await approveComp(trx, caller, purchaseId)
        return viewPurchase(trx, caller, purchaseId)
      }),

    refundBulkPurchase: (caller, purchaseId, input, idempotency = everyTime(caller)) =>
      idempotency.resume({
        begin: (trx) => beginRefund(trx, caller, purchaseId, input),
        finish: async (requestId) => {
          await service.finishRefund(
            refOf(caller, purchaseId),
            requestId,
            causeOf(caller, 'refund'),
          )
          return view(caller, purchaseId)
        },
      }),

    resolveFlag: (caller, purchaseId, resolution, idempotency = everyTime(caller)) =>
      idempotency.run(async (trx) => {
        await resolveFlag(trx, caller, purchaseId, resolution)
        return viewPurchase(trx, caller, purchaseId)
      }),

    reconcileBulkPurchase: (caller, purchaseId, payment = null, idempotency = everyTime(caller)) =>
      idempotency.resume({
        begin: async (trx) => {
          const purchase = await findPurchase(trx, refOf(caller, purchaseId))
          if (purchase === null) throw notFound('purchase')
          return purchaseId
        },
        finish: async () => {
          const ref = refOf(caller, purchaseId)
          const hints = { fraudWarnings: true, paymentIntents: payment === null ? [] : [payment] }
          await reconcilePurchase(deps, ref, causeOf(caller, 'reconcile'), hints)
          const purchase = await view(caller, purchaseId)
          const isComplete = purchase.vouchers.issued >= purchase.quantity
          if (purchase.status !== 'PAID' || isComplete) return purchase
          await service.fulfillBulkPurchase(ref)
          return view(caller, purchaseId)
        },
      }),

    fulfillBulkPurchase: (ref) =>
      withTenant(db, ref, async (trx) => {
        const purchase = await lockPurchase(trx, ref)
        if (purchase.status !== 'PAID') {
          const detail = `Only a PAID purchase has vouchers to issue; this one is ${purchase.status}.`
          throw new BulkPurchaseError('wrong_state', detail, { extra: { state: purchase.status } })
        }
        return issuePurchaseVouchers(trx, purchase)
      }),

    async handleCheckoutWebhook(webhook) {
      const { conferenceId, sessionIds, paymentIntents } = webhook
      const hasLeads = sessionIds.length > 0 || paymentIntents.length > 0
      const purchaseId =
        webhook.purchaseId ??
        (hasLeads ? await withTenant(db, webhook, (trx) => findPurchaseOf(trx, webhook)) : null)
      return purchaseId === null ? null : fetchSnapshot(deps, { conferenceId, purchaseId }, webhook)
    },

    applySnapshot: applyFetched,
    markFailed,

    reconcile: (ref, cause) => reconcilePurchase(deps, ref, cause),
    finishStaleAttempt: (ref, attempt) => finishStaleAttempt(deps, ref, attempt),
    finishRefund: (ref, requestId, cause) => finishRefund(deps, ref, requestId, cause),
    async sendEmail(ref, kind, message) {
      if (email === undefined) throw new Error('This process is not set up to send e-mails.')
      const emailDeps = { ...email, db, linkOf: createPurchaseLink(email) }
      await sendPurchaseEmail(emailDeps, ref, purchaseEmailKind.parse(kind), message)
    },
    sweep: sweepPurchases,
    async findVoucherBatch(trx, caller, purchaseId) {
      const purchase = await findPurchase(trx, refOf(caller, purchaseId), caller.sponsorId)
      if (purchase === null) throw notFound('purchase')
      return findPurchaseBatch(trx, caller.conferenceId, purchaseId)
    },
  }
  return service
}

/** The purchase that a session or a payment of the events belongs to, or null. */
async function findPurchaseOf(
  trx: Tx,
  { conferenceId, sessionIds, paymentIntents }: CheckoutWebhook,
): Promise<string | null> {
  for (const id of sessionIds) {
    const found = await findPurchaseIdBySession(trx, conferenceId, id)
    if (found !== null) return found
  }
  for (const id of paymentIntents) {
    const found = await findPurchaseIdByPaymentIntent(trx, conferenceId, id)
    if (found !== null) return found
  }
  return null
}
