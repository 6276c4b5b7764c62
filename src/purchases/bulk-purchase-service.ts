import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { PaymentGateway } from '../payments/payment-gateway.ts'
import type { ReturnUrls } from '../payments/return-urls.ts'
import type { Caller } from '../shared/caller.ts'
import type { Clock } from '../shared/time.ts'
import { beginCheckout, finishCheckout, type OpenCheckout } from './checkout-purchase.ts'
import { createPurchase, type NewPurchaseInput } from './create-purchase.ts'
import { findPurchaseIdBySession } from './payment-attempt-store.ts'
import { BulkPurchaseError } from './purchase-aggregate.ts'
import {
  type BulkPurchase,
  type Cause,
  findPurchase,
  lockPurchase,
  type PurchaseRef,
} from './purchase-store.ts'
import { type PurchaseBody, viewPurchase } from './purchase-view.ts'
import { reconcilePurchase } from './reconcile-purchase.ts'
import { beginRefund, finishRefund, type RefundInput } from './refund-purchase.ts'
import {
  issuePurchaseVouchers,
  type TransitionResult,
  transitionPurchase,
} from './transition-purchase.ts'

/**
 * The life of a bulk purchase under the names that its users know. Each operation is a few lines
 * over `advance`; nothing here decides by itself.
 */
export type BulkPurchaseService = {
  /** A PENDING purchase. @throws AppError `validation_failed` naming each field. */
  createBulkPurchase(trx: Tx, caller: Caller, input: NewPurchaseInput): Promise<BulkPurchase>
  /**
   * The address where the payer pays. The same URLs again give the same session.
   * @throws BulkPurchaseError `wrong_state`, `payment_in_progress`, `stripe_key_missing`, `stripe_refused`.
   */
  createCheckoutSession(caller: Caller, purchaseId: string, urls: ReturnUrls): Promise<OpenCheckout>
  /**
   * The codes of a PAID purchase: makes those that are missing and returns how many that were (0
   * when it was complete).
   * @throws BulkPurchaseError `wrong_state` in any other state.
   */
  fulfillBulkPurchase(ref: PurchaseRef): Promise<number>
  /**
   * What a Checkout Session's webhook asks for: reads the session's purchase anew.
   * @returns the purchase, or null when the session is not one of ours.
   */
  handleCheckoutWebhook(
    conferenceId: string,
    sessionId: string,
    cause: Cause,
  ): Promise<BulkPurchase | null>
  /** Sends money back; the codes follow what Stripe confirms. */
  refundBulkPurchase(caller: Caller, purchaseId: string, input: RefundInput): Promise<void>
  /** Fails a purchase that nobody can pay any more; refused while money may still come. */
  markFailed(ref: PurchaseRef, cause: Cause): Promise<TransitionResult>
}

export type ServiceDeps = { db: Db; gateway: PaymentGateway; clock: Clock }

/** The service over one database and one way to Stripe. */
export function createBulkPurchaseService(deps: ServiceDeps): BulkPurchaseService {
  const { db } = deps
  return {
    createBulkPurchase: (trx, caller, input) => createPurchase(trx, deps, caller, input),

    async createCheckoutSession(caller, purchaseId, urls) {
      const ref = { conferenceId: caller.conferenceId, purchaseId }
      const attempt = await withTenant(db, ref, (trx) =>
        beginCheckout(trx, deps, caller, purchaseId, urls),
      )
      const cause = { actor: caller.actor, cause: 'checkout' }
      return finishCheckout(deps, ref, attempt, urls, cause)
    },

    fulfillBulkPurchase: (ref) =>
      withTenant(db, ref, async (trx) => {
        const purchase = await lockPurchase(trx, ref)
        if (purchase.status !== 'PAID') {
          const detail = `The purchase is ${purchase.status}; only a PAID one has codes to make.`
          throw new BulkPurchaseError('wrong_state', detail, { extra: { state: purchase.status } })
        }
        return issuePurchaseVouchers(trx, purchase)
      }),

    async handleCheckoutWebhook(conferenceId, sessionId, cause) {
      const purchaseId = await withTenant(db, { conferenceId }, (trx) =>
        findPurchaseIdBySession(trx, conferenceId, sessionId),
      )
      if (purchaseId === null) return null
      const ref = { conferenceId, purchaseId }
      await reconcilePurchase(deps, ref, { cause })
      return withTenant(db, ref, (trx) => findPurchase(trx, ref))
    },

    async refundBulkPurchase(caller, purchaseId, input) {
      const ref = { conferenceId: caller.conferenceId, purchaseId }
      const request = await withTenant(db, ref, (trx) =>
        beginRefund(trx, caller, purchaseId, input),
      )
      await finishRefund(deps, ref, request, { actor: caller.actor, cause: 'refund' })
    },

    markFailed: (ref, cause) =>
      withTenant(db, ref, (trx) =>
        transitionPurchase(trx, ref, { type: 'CHECKOUT_EXPIRED' }, cause),
      ),
  }
}

type CompleteDeps = { db: Db; gateway: PaymentGateway; purchases: BulkPurchaseService }

/**
 * What staff ask for by hand: reads the purchase anew from Stripe, warnings of fraud included, and
 * makes the codes that a paid one lacks.
 *
 * @param paymentIntent a payment that names the purchase at Stripe and that it may not know yet.
 * @throws AppError `not_found`, and those of PaymentGateway.
 */
export async function reconcileAndComplete(
  deps: CompleteDeps,
  caller: Caller,
  purchaseId: string,
  paymentIntent: string | null = null,
): Promise<PurchaseBody> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const view = () => withTenant(deps.db, caller, (trx) => viewPurchase(trx, caller, purchaseId))
  const cause = { actor: caller.actor, cause: 'reconcile' }
  const hintedPaymentIntents = paymentIntent === null ? [] : [paymentIntent]
  await reconcilePurchase(deps, ref, { cause, warnings: true, hintedPaymentIntents })
  const body = await view()
  const isShort = body.status === 'PAID' && body.vouchers.issued < body.quantity
  if (!isShort) return body
  await deps.purchases.fulfillBulkPurchase(ref)
  return view()
}
