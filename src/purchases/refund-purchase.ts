import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { PaymentGateway, PurchaseRef } from '../payments/payment-gateway.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError, invalidField } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import type { PaymentBalance } from './payment-store.ts'
import {
  allowedActions,
  BulkPurchaseError,
  loadAggregate,
  refundable,
  wrongState,
} from './purchase-aggregate.ts'
import type { Cause } from './purchase-store.ts'
import { lockPurchase } from './purchase-store.ts'
import { reconcilePurchase } from './reconcile-purchase.ts'

export type RefundInput = {
  paymentIntent: string | null
  /** Minor units. Null: everything that is left of the payment. */
  amount: number | null
  reason: 'duplicate' | 'fraudulent' | 'requested_by_customer' | null
}

type RefundRequest = {
  id: string
  payment_intent_id: string
  amount: number
  reason: string | null
  state: 'requested' | 'accepted' | 'refused'
  refusal: string | null
}

/**
 * Stores a refund request before Stripe is called, so that a retry after a crash sends the same request
 * and never a second one.
 *
 * @returns the request's id.
 * @throws AppError `wrong_state` if nothing is left to refund, `validation_failed` for a larger amount.
 */
export async function beginRefund(
  trx: Tx,
  caller: Caller,
  purchaseId: string,
  input: RefundInput,
): Promise<string> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const aggregate = await loadAggregate(trx, await lockPurchase(trx, ref))
  const allowed = allowedActions(aggregate, false, false)
  if (!allowed.includes('refund')) throw wrongState('refund', aggregate.purchase.status, allowed)
  const main = aggregate.purchase.paymentIntentId
  const payment = chosenPayment(aggregate.balances, input.paymentIntent, main)
  const left = refundable(payment) - (await sumOfUnlistedRequests(trx, ref, payment.paymentIntent))
  const amount = input.amount ?? left
  if (left <= 0) throw wrongState('refund', aggregate.purchase.status, allowed)
  if (amount > left) {
    throw invalidField(
      '/amount',
      `must be at most ${left}: the amount left to refund, in minor units of ${payment.currency}`,
    )
  }
  const id = newId('refundRequest')
  await trx('refund_requests').insert({
    conference_id: ref.conferenceId,
    purchase_id: purchaseId,
    id,
    payment_intent_id: payment.paymentIntent,
    amount,
    reason: input.reason,
    requested_by: caller.actor.id,
  })
  return id
}

/**
 * The sum of the requests, not refused, whose refund no snapshot shows yet. It counts as refunded, so
 * that two calls cannot refund the same money.
 */
async function sumOfUnlistedRequests(
  trx: Tx,
  ref: PurchaseRef,
  paymentIntent: string,
): Promise<number> {
  const { rows } = await trx.raw<{ rows: { sum: number | null }[] }>(
    `select sum(r.amount) as sum from refund_requests r
      where r.conference_id = ? and r.purchase_id = ? and r.payment_intent_id = ?
        and r.state <> 'refused' and not exists (
          select from purchase_refunds p
           where p.conference_id = r.conference_id and p.id = r.refund_id)`,
    [ref.conferenceId, ref.purchaseId, paymentIntent],
  )
  return rows[0]?.sum ?? 0
}

function chosenPayment(
  balances: PaymentBalance[],
  named: string | null,
  main: string | null,
): PaymentBalance {
  const left = balances.filter((balance) => refundable(balance) > 0)
  if (named !== null) {
    const found = balances.find(({ paymentIntent }) => paymentIntent === named)
    if (found === undefined) {
      throw invalidField('/payment_intent', `The purchase has no payment "${named}".`)
    }
    return found
  }
  const found = left.find(({ paymentIntent }) => paymentIntent === main) ?? left[0]
  if (found === undefined || (left.length > 1 && found.paymentIntent !== main)) {
    const names = left.map(({ paymentIntent }) => paymentIntent).join(', ')
    throw invalidField(
      '/payment_intent',
      `The purchase has several payments. Set payment_intent to one of: ${names}.`,
    )
  }
  return found
}

/**
 * Sends the refund request to Stripe, then fetches a snapshot: only that changes the purchase. Its
 * vouchers follow from the snapshot (`deactivateUnredeemed` in transition-purchase.ts). Safe to repeat
 * after a crash or an unknown outcome.
 *
 * @throws AppError `stripe_refused`, `stripe_unavailable`, `stripe_failed`.
 */
export async function finishRefund(
  deps: { db: Db; gateway: PaymentGateway },
  ref: PurchaseRef,
  requestId: string,
  cause: Cause,
): Promise<void> {
  const { request, currency } = await withTenant(deps.db, ref, (trx) =>
    loadRequest(trx, ref, requestId),
  )
  if (request.state === 'refused') throw refundRefused(request.refusal)
  if (request.state === 'requested') {
    const result = await deps.gateway.refund(ref, {
      requestId,
      paymentIntent: request.payment_intent_id,
      amount: request.amount,
      currency,
      reason: request.reason,
    })
    await withTenant(deps.db, ref, (trx) =>
      trx('refund_requests')
        .where({ conference_id: ref.conferenceId, id: requestId, state: 'requested' })
        .update(
          result.kind === 'accepted'
            ? { state: 'accepted', refund_id: result.refundId, updated_at: trx.fn.now() }
            : { state: 'refused', refusal: result.message, updated_at: trx.fn.now() },
        ),
    )
    if (result.kind === 'refused') throw refundRefused(result.message)
  }
  await reconcilePurchase(deps, ref, cause)
}

async function loadRequest(trx: Tx, ref: PurchaseRef, id: string) {
  const request = await trx('refund_requests')
    .where({ conference_id: ref.conferenceId, purchase_id: ref.purchaseId, id })
    .first<RefundRequest | undefined>()
  if (request === undefined) throw new AppError('not_found', `There is no refund request "${id}".`)
  const payment = await trx('purchase_payments')
    .where({ conference_id: ref.conferenceId, payment_intent_id: request.payment_intent_id })
    .first<{ currency: string } | undefined>('currency')
  if (payment === undefined) throw new Error(`Payment ${request.payment_intent_id} has no row`)
  return { request, currency: payment.currency }
}

function refundRefused(message: string | null): BulkPurchaseError {
  return new BulkPurchaseError('stripe_refused', message ?? 'Stripe refused the refund.')
}
