import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { AppError, afterWrite, invalidField, notFound } from '../shared/errors.ts'
import { balancesOf, type PaymentBalance, refundable } from './balances.ts'
import type { PaymentGateway } from './payment-gateway.ts'
import type { PaymentOwner, PaymentRecords, RefundRequest } from './payment-records.ts'

export type RefundInput = {
  /** Null: the payment of the owner. */
  paymentIntent: string | null
  /** Minor units. Null: everything that is left of the payment. */
  amount: number | null
  reason: 'duplicate' | 'fraudulent' | 'requested_by_customer' | null
}

/** A payment and how much of it is refunded. */
export type ChosenRefund = { payment: PaymentBalance; amount: number }

/**
 * Chooses the payment that a refund takes, and the amount. If money of Stripe and a recorded payment are left,
 * the caller must name one: the one is sent back, the other only booked.
 *
 * @param main the payment that paid the owner; it is refunded unless the input names another one.
 * @param tooMuch the error for a larger amount than is left.
 * @returns null if nothing is left to refund: the owner says why.
 * @throws AppError `validation_failed` for a larger amount than is left, or an unknown payment.
 */
export function chooseRefund(
  kind: PaymentOwner['kind'],
  records: PaymentRecords,
  main: string | null,
  input: Pick<RefundInput, 'paymentIntent' | 'amount'>,
  tooMuch: (left: number, currency: string) => AppError = amountTooHigh,
): ChosenRefund | null {
  const balances = balancesOf(records)
  if (!balances.some((balance) => refundable(balance) > 0)) return null
  const payment = choosePayment(kind, balances, input.paymentIntent, main)
  const left = refundable(payment)
  if (left <= 0) return null
  const amount = input.amount ?? left
  if (amount > left) throw tooMuch(left, payment.currency)
  return { payment, amount }
}

function amountTooHigh(left: number, currency: string): AppError {
  const detail = `must be at most ${left}: the amount left to refund, in minor units of ${currency}`
  return invalidField('/amount', detail)
}

/**
 * Stores a refund request before Stripe is called, so that a retry after a crash sends the same request
 * and never a second one. The owner is locked.
 *
 * @param request.id of the new request.
 * @param main the payment that paid the owner; it is refunded unless the input names another one.
 * @returns false if nothing is left to refund: the owner says why.
 * @throws AppError `validation_failed` for a larger amount than is left, or an unknown payment.
 */
export async function requestRefund(
  trx: Tx,
  owner: PaymentOwner,
  records: PaymentRecords,
  main: string | null,
  request: RefundInput & { id: string; requestedBy: string },
): Promise<boolean> {
  const chosen = chooseRefund(owner.kind, records, main, request)
  if (chosen === null) return false
  await insertRefundRequest(trx, owner, { ...request, ...chosen })
  return true
}

function choosePayment(
  kind: PaymentOwner['kind'],
  balances: PaymentBalance[],
  named: string | null,
  main: string | null,
): PaymentBalance {
  if (named !== null) {
    const found = balances.find(({ paymentIntent }) => paymentIntent === named)
    if (found !== undefined) return found
    throw invalidField('/payment_intent', `The ${kind} has no payment "${named}".`)
  }
  const left = balances.filter((balance) => refundable(balance) > 0)
  const found = left.find(({ paymentIntent }) => paymentIntent === main)
  if (found !== undefined) return found
  const [first] = left
  if (first !== undefined && left.length === 1) return first
  const names = left.map(({ paymentIntent }) => paymentIntent).join(', ')
  const detail = `The ${kind} has several payments. Set payment_intent to one of: ${names}.`
  throw invalidField('/payment_intent', detail)
}

/** The owner is locked. The payment is one of Stripe's. */
export async function insertRefundRequest(
  trx: Tx,
  owner: PaymentOwner,
  request: Pick<RefundRequest, 'id' | 'reason'> &
    Partial<Pick<RefundRequest, 'voucherIds'>> &
    ChosenRefund & { requestedBy: string },
): Promise<void> {
  await trx('refund_requests').insert({
    conference_id: owner.conferenceId,
    [`${owner.kind}_id`]: owner.id,
    id: request.id,
    payment_intent_id: request.payment.paymentIntent,
    amount: request.amount,
    reason: request.reason,
    voucher_ids: request.voucherIds ?? [],
    requested_by: request.requestedBy,
  })
}

/** A purchase or a charge whose refund is sent. */
export type Refundable = {
  owner: PaymentOwner
  /** The stored records, in a transaction of the tenant. */
  load: (trx: Tx) => Promise<PaymentRecords>
  /** Runs in the transaction that saves the outcome. */
  saved?: (trx: Tx, outcome: 'made' | 'refused') => Promise<unknown>
  /** Fetches a snapshot and applies it. */
  reconcile: () => Promise<unknown>
}

/**
 * Sends a stored refund request to Stripe and fetches a snapshot: only that changes the owner. Safe to
 * repeat after a crash or an unknown outcome: the same request is sent under the same key, after Stripe
 * was asked for its refund.
 *
 * @param request.isRepeat whether an earlier run may have asked Stripe.
 * @throws AppError `stripe_refused`; `stripe_key_rejected`, `stripe_unavailable`, `stripe_failed` after an
 *   unknown outcome, or if the snapshot could not be fetched after the refund.
 */
export async function sendRefund(
  deps: { db: Db; gateway: PaymentGateway },
  { owner, load, saved, reconcile }: Refundable,
  request: { id: string; isRepeat: boolean },
): Promise<void> {
  const { records, stored } = await withTenant(deps.db, owner, async (trx) => {
    const all = await load(trx)
    return { records: all, stored: all.requests.find(({ id }) => id === request.id) }
  })
  if (stored === undefined) throw notFound('refund request')
  if (stored.state === 'refused') throw refundRefused(stored.refusal)
  if (stored.state === 'requested') {
    const payment = records.payments.find((one) => one.paymentIntent === stored.paymentIntent)
    if (payment === undefined) throw new Error(`Payment ${stored.paymentIntent} has no record`)
    const result = await deps.gateway.refund(
      owner,
      {
        requestId: stored.id,
        paymentIntent: stored.paymentIntent,
        amount: stored.amount,
        currency: payment.currency,
        reason: stored.reason,
      },
      { askedBefore: request.isRepeat },
    )
    await withTenant(deps.db, owner, async (trx) => {
      await saveRefundOutcome(
        trx,
        owner,
        stored.id,
        result.kind === 'made'
          ? { state: 'accepted', refund_id: result.refundId }
          : { state: 'refused', refusal: result.message },
      )
      await saved?.(trx, result.kind)
    })
    if (result.kind === 'refused') {
      // Stripe knows something that no snapshot has shown, such as a dispute or a refund made there.
      await reconcile()
      throw refundRefused(result.message)
    }
  }
  await afterWrite(reconcile)
}

/** Saves the outcome of a refund request, unless one is saved. */
async function saveRefundOutcome(
  trx: Tx,
  owner: PaymentOwner,
  id: string,
  outcome: { state: 'accepted'; refund_id: string } | { state: 'refused'; refusal: string },
): Promise<void> {
  await trx('refund_requests')
    .where({ conference_id: owner.conferenceId, owner_id: owner.id, id, state: 'requested' })
    .update({ ...outcome, updated_at: trx.fn.now() })
}

function refundRefused(message: string | null): AppError {
  return new AppError('stripe_refused', message ?? 'Stripe refused the refund.')
}
