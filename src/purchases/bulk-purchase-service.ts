import type { Readable } from 'node:stream'
import type { Db, Tx } from '../db/connect.ts'
import type { IdempotencyRunner } from '../db/idempotency-runner.ts'
import { mapPage, type Page, type PageQuery } from '../db/pages.ts'
import { type Read, readFrom } from '../db/read-replica.ts'
import { withTenant } from '../db/tenant-scope.ts'
import {
  type AttemptRequest,
  type ChosenAttempt,
  type ReturnUrls,
  resumePayment,
} from '../payments/payable.ts'
import type { PaymentGateway, SavedCards } from '../payments/payment-gateway.ts'
import { findPaymentOwner } from '../payments/payment-store.ts'
import type { Caller } from '../shared/caller.ts'
import type { Clock } from '../shared/time.ts'
import { findPurchaseBatch } from '../vouchers/voucher-batch-store.ts'
import { fulfillPurchase, type TransitionResult, transitionPurchase } from './change-purchase.ts'
import {
  createPurchase,
  type NewPurchaseInput,
  type PurchaseChanges,
  updatePurchaseOrder,
} from './create-purchase.ts'
import { exportPurchases } from './export-purchases.ts'
import { type ListReader, listPurchases, type PurchaseFilter } from './list-purchases.ts'
import {
  beginCancel,
  beginPayment,
  type CheckoutPage,
  finishCancel,
  finishCheckout,
  finishPay,
  finishStalePurchaseAttempt,
} from './pay-purchase.ts'
import { BulkPurchaseError, type PurchaseRef } from './purchase-aggregate.ts'
import {
  createPurchaseLink,
  type PurchaseEmailDeps,
  type PurchaseLinkSettings,
  purchaseEmailKind,
  sendPurchaseEmail,
} from './purchase-email.ts'
import {
  type Cause,
  listTransitions,
  type TransitionBody,
  toTransitionBody,
} from './purchase-history.ts'
import { assertPurchase, getAggregate, hasPurchases, lockAggregate } from './purchase-store.ts'
import {
  type PaymentsBody,
  type PurchaseBody,
  toPaymentsBody,
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
import { finishRefund } from './refund-purchase.ts'
import { createStaffOperations, type StaffOperations } from './staff-operations.ts'
import { type SweepCounts, sweepPurchases } from './sweep-purchases.ts'

// What the operations below take and return.
export type { Cause, FetchedSnapshot, PurchaseBody, PurchaseRef, TransitionBody }

/**
 * The only way into purchases: routes, Stripe events, jobs and the CLI call this service and nothing
 * else of this folder. An operation with an `idempotency` parameter runs at most once per idempotency
 * key. A caller that has no key passes `withoutIdempotencyKey`.
 */
export type BulkPurchaseService = StaffOperations & {
  /** Whether the conference has any purchase. */
  hasPurchases: (trx: Tx, conferenceId: string) => Promise<boolean>
  /** Creates a PENDING purchase. @throws AppError `validation_failed` naming each field. */
  createBulkPurchase(
    caller: Caller,
    input: NewPurchaseInput,
    idempotency: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /** @throws AppError `wrong_state` once a checkout was opened, `validation_failed`, `not_found`. */
  updateBulkPurchase(
    caller: Caller,
    purchaseId: string,
    changes: PurchaseChanges,
    idempotency: IdempotencyRunner,
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
  /**
   * Newest first; a sponsor sees its own, an operator also those of all conferences.
   *
   * @param read absent: from the primary.
   */
  listBulkPurchases(
    reader: ListReader,
    filter: PurchaseFilter,
    read?: Read,
  ): Promise<Page<PurchaseBody>>
  /** The whole list as CSV, in short transactions. */
  exportBulkPurchases(reader: ListReader, filter: PurchaseFilter, read?: Read): Readable
  /** Newest first. @throws AppError `not_found`, also for another sponsor's purchase. */
  listTransitions(
    caller: Caller,
    purchaseId: string,
    page: PageQuery,
  ): Promise<Page<TransitionBody>>
  /** The payments, refunds and disputes. @throws AppError `not_found`, also for another sponsor's purchase. */
  getPayments(caller: Caller, purchaseId: string): Promise<PaymentsBody>

  /**
   * Opens the payment page. The same URLs again give the same session.
   * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`, `stripe_key_missing`, `stripe_refused`.
   */
  createCheckoutSession(
    caller: Caller,
    purchaseId: string,
    urls: ReturnUrls,
    idempotency: IdempotencyRunner,
  ): Promise<CheckoutPage>
  /**
   * Charges a saved card.
   * @param paymentMethod null: the sponsor's default.
   * @throws the errors of `beginPayment` and `finishPay`.
   */
  payWithSavedCard(
    caller: Caller,
    purchaseId: string,
    paymentMethod: string | null,
    idempotency: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /** @throws BulkPurchaseError `wrong_state`, `payment_in_progress`. */
  cancelBulkPurchase(
    caller: Caller,
    purchaseId: string,
    idempotency: IdempotencyRunner,
  ): Promise<PurchaseBody>
  /**
   * What staff request by hand: reconciles the purchase, fetches fraud warnings too, and issues the
   * vouchers that a PAID purchase lacks.
   * @param paymentIntent a payment without a row of ours, whose metadata names the purchase.
   */
  reconcileBulkPurchase(
    caller: Caller,
    purchaseId: string,
    paymentIntent: string | null,
    idempotency: IdempotencyRunner,
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
  /** Of the service's own pages, to which a checkout may always return. Absent: no pages. */
  ownOrigin?: string
  /** Absent: this process sends no e-mail. */
  email?: Pick<PurchaseEmailDeps, 'mailer' | 'logger'> & PurchaseLinkSettings
}

/** The service over one database and one Stripe gateway. */
export function createBulkPurchaseService(deps: BulkPurchaseServiceDeps): BulkPurchaseService {
  const { db, email } = deps
  const refOf = ({ conferenceId }: Caller, purchaseId: string) => ({ conferenceId, purchaseId })
  const causeOf = ({ actor }: Caller, cause: string) => ({ actor, cause })
  const view = (caller: Caller, purchaseId: string) =>
    withTenant(db, caller, (trx) => viewPurchase(trx, caller, purchaseId))

  function pay<T>(
    idempotency: IdempotencyRunner,
    caller: Caller,
    purchaseId: string,
    request: AttemptRequest,
    finish: (chosen: ChosenAttempt) => Promise<T>,
  ): Promise<T> {
    const begin = (trx: Tx) => beginPayment(trx, deps, caller, purchaseId, request)
    return resumePayment(idempotency, begin, finish)
  }

  const service: BulkPurchaseService = {
    hasPurchases,

    createBulkPurchase: (caller, input, idempotency) =>
      idempotency.run(async (trx) =>
        viewNewPurchase(caller, await createPurchase(trx, deps, caller, input)),
      ),

    updateBulkPurchase: (caller, purchaseId, changes, idempotency) =>
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

    listBulkPurchases: (reader, filter, read = readFrom(db)) => listPurchases(read, reader, filter),

    exportBulkPurchases: (reader, filter, read = readFrom(db)) =>
      exportPurchases((page) => listPurchases(read, reader, { ...filter, ...page })),

    listTransitions: (caller, purchaseId, page) =>
      withTenant(db, caller, async (trx) => {
        const ref = refOf(caller, purchaseId)
        await assertPurchase(trx, ref, caller.sponsorId)
        const isSponsor = caller.sponsorId !== null
        const found = await listTransitions(trx, ref, page, isSponsor)
        return mapPage(found, (row) => toTransitionBody(row, isSponsor))
      }),

    getPayments: (caller, purchaseId) =>
      withTenant(db, caller, async (trx) => {
        const ref = refOf(caller, purchaseId)
        const { records } = await getAggregate(trx, ref, caller.sponsorId)
        return toPaymentsBody(records, caller.sponsorId !== null)
      }),

    createCheckoutSession: (caller, purchaseId, urls, idempotency) =>
      pay(idempotency, caller, purchaseId, { kind: 'checkout', urls }, (chosen) => {
        const ref = refOf(caller, purchaseId)
        return finishCheckout(deps, ref, chosen, urls, causeOf(caller, 'checkout'))
      }),

    payWithSavedCard: (caller, purchaseId, named, idempotency) =>
      pay(idempotency, caller, purchaseId, { kind: 'saved_card', named }, async (chosen) => {
        await finishPay(deps, refOf(caller, purchaseId), chosen, named, causeOf(caller, 'pay'))
        return view(caller, purchaseId)
      }),

    cancelBulkPurchase: (caller, purchaseId, idempotency) =>
      idempotency.resume({
        begin: async (trx) => {
          await beginCancel(trx, caller, purchaseId)
          return purchaseId
        },
        finish: async () => {
          await finishCancel(deps, refOf(caller, purchaseId), causeOf(caller, 'cancel'))
          return view(caller, purchaseId)
        },
      }),

    ...createStaffOperations(deps),

    reconcileBulkPurchase: (caller, purchaseId, payment, idempotency) =>
      idempotency.resume({
        begin: async (trx) => {
          await assertPurchase(trx, refOf(caller, purchaseId))
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
        const aggregate = await lockAggregate(trx, ref)
        const { purchase } = aggregate
        if (purchase.status !== 'PAID') {
          const detail = `Only a PAID purchase has vouchers to issue; this one is ${purchase.status}.`
          throw new BulkPurchaseError('wrong_state', detail, { extra: { state: purchase.status } })
        }
        return fulfillPurchase(trx, aggregate)
      }),

    async handleCheckoutWebhook(webhook) {
      const { conferenceId, sessionIds, paymentIntents } = webhook
      const hasLeads = sessionIds.length > 0 || paymentIntents.length > 0
      const findOwner = () =>
        withTenant(db, webhook, (trx) =>
          findPaymentOwner(trx, conferenceId, { sessions: sessionIds, paymentIntents }),
        )
      const owner = webhook.purchaseId === null && hasLeads ? await findOwner() : null
      const purchaseId = webhook.purchaseId ?? (owner?.kind === 'purchase' ? owner.id : null)
      return purchaseId === null ? null : fetchSnapshot(deps, { conferenceId, purchaseId }, webhook)
    },

    applySnapshot: applyFetched,
    markFailed: (trx, ref, reason, cause) => transitionPurchase(trx, ref, { type: reason }, cause),

    reconcile: (ref, cause) => reconcilePurchase(deps, ref, cause),
    finishStaleAttempt: (ref, attempt) => finishStalePurchaseAttempt(deps, ref, attempt),
    finishRefund: (ref, id, cause) => finishRefund(deps, ref, { id, isRepeat: true }, cause),
    async sendEmail(ref, kind, message) {
      if (email === undefined) throw new Error('This process is not set up to send e-mails.')
      const emailDeps = { ...email, db, linkOf: createPurchaseLink(email) }
      await sendPurchaseEmail(emailDeps, ref, purchaseEmailKind.parse(kind), message)
    },
    sweep: sweepPurchases,
    async findVoucherBatch(trx, caller, purchaseId) {
      const [batch] = await Promise.all([
        findPurchaseBatch(trx, caller.conferenceId, purchaseId),
        assertPurchase(trx, refOf(caller, purchaseId), caller.sponsorId),
      ])
      return batch
    },
  }
  return service
}
