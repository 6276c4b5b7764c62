import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { AppError, invalidField, notFound } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import { type RefundResult, requestRefund } from '../../stripe/payment-requests.ts'
import type { ChargeDeps } from '../billing-deps.ts'
import { wrongChargeState } from './charge-attempts.ts'
import { type ChargeRef, getCharge, lockCharge } from './charge-store.ts'
import { reconcileCharge } from './reconcile-charge.ts'

type ChargeRefundInput = {
  /** Minor units; null: everything that is left. */
  amount: number | null
  reason: 'duplicate' | 'fraudulent' | 'requested_by_customer' | null
}

type RefundRequest = {
  id: string
  payment_intent_id: string
  amount: number
  reason: ChargeRefundInput['reason']
  state: 'requested' | 'accepted' | 'refused'
  refusal: string | null
}

/**
 * Saves the refund request before Stripe gets it. A requested amount that Stripe does not list yet
 * counts as refunding, and a check constraint keeps the sum within what was received.
 *
 * @returns the request's id.
 * @throws AppError `wrong_state` when nothing is left, `validation_failed` for more than is left.
 */
export async function beginChargeRefund(
  trx: Tx,
  ref: ChargeRef,
  input: ChargeRefundInput,
  actorId: string,
): Promise<string> {
  const charge = await lockCharge(trx, ref)
  const left = charge.amountReceived - charge.amountRefunded - charge.amountRefunding
  const { paymentIntentId } = charge
  if (left <= 0 || paymentIntentId === null) {
    const detail = `The charge has no amount left to refund: its status is ${charge.status}.`
    throw wrongChargeState(detail, charge)
  }
  const amount = input.amount ?? left
  if (amount > left) {
    const detail = `must be at most ${left}: the amount left to refund, in minor units of ${charge.currency}`
    throw invalidField('/amount', detail)
  }
  const id = newId('chargeRefund')
  await trx('charge_refund_requests').insert({
    conference_id: ref.conferenceId,
    charge_id: ref.chargeId,
    id,
    payment_intent_id: paymentIntentId,
    amount,
    reason: input.reason,
    requested_by: actorId,
  })
  await trx('charges')
    .where({ conference_id: ref.conferenceId, id: ref.chargeId })
    .increment('amount_refunding', amount)
  return id
}

/**
 * Requests the refund from Stripe, then reconciles the charge: only refunds that Stripe lists are
 * booked. May be repeated after a crash or an unknown outcome; a retry sends the same amount under the
 * same key.
 *
 * @throws AppError `stripe_refused`, `stripe_unavailable`, `stripe_failed`.
 */
export async function finishChargeRefund(
  deps: ChargeDeps,
  ref: ChargeRef,
  requestId: string,
): Promise<void> {
  const { request, currency } = await withTenant(deps.db, ref, async (trx) => ({
    request: await getRefundRequest(trx, ref, requestId),
    currency: (await getCharge(trx, ref)).currency,
  }))
  if (request.state === 'refused') throw refundRefused(request.refusal)
  if (request.state === 'requested') {
    const { stripe } = await deps.clients.connect(ref.conferenceId)
    const { payment_intent_id: paymentIntent, amount, reason } = request
    const result = await requestRefund(
      stripe,
      { requestId, paymentIntent, amount, currency, reason },
      { charge_id: ref.chargeId, conference_id: ref.conferenceId },
      `charge:${ref.chargeId}:refund:${requestId}`,
    )
    await withTenant(deps.db, ref, (trx) => saveRefundResult(trx, ref, requestId, result))
    if (result.kind === 'refused') {
      await reconcileCharge(deps, ref)
      throw refundRefused(result.message)
    }
  }
  await reconcileCharge(deps, ref)
}

async function getRefundRequest(trx: Tx, ref: ChargeRef, id: string): Promise<RefundRequest> {
  const request = await trx('charge_refund_requests')
    .where({ conference_id: ref.conferenceId, charge_id: ref.chargeId, id })
    .first<RefundRequest | undefined>()
  if (request === undefined) throw notFound('refund request')
  return request
}

async function saveRefundResult(
  trx: Tx,
  ref: ChargeRef,
  id: string,
  result: RefundResult,
): Promise<void> {
  await lockCharge(trx, ref)
  await trx('charge_refund_requests')
    .where({ conference_id: ref.conferenceId, id, state: 'requested' })
    .update(
      result.kind === 'accepted'
        ? { state: 'accepted', refund_id: result.refundId, updated_at: trx.fn.now() }
        : { state: 'refused', refusal: result.message, updated_at: trx.fn.now() },
    )
}

function refundRefused(message: string | null): AppError {
  return new AppError('stripe_refused', message ?? 'Stripe refused the refund.')
}
