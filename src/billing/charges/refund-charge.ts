import type Stripe from 'stripe'
import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { AppError, invalidField, notFound } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import { toStripeAmount } from '../../shared/money.ts'
import { isStoredError } from '../../stripe/stripe-checkout.ts'
import { callStripe, isRefusal, refusalMessage, toAppError } from '../../stripe/stripe-errors.ts'
import { parseStripeObject, refundObject } from '../../stripe/stripe-objects.ts'
import type { ChargeDeps } from '../billing-deps.ts'
import { wrongChargeState } from './charge-attempts.ts'
import { type ChargeRef, getCharge, lockCharge } from './charge-store.ts'
import { reconcileCharge } from './reconcile-charge.ts'

export type ChargeRefundInput = {
  /** Minor units; null: all that is left. */
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

type RefundResult = { kind: 'accepted'; refundId: string } | { kind: 'refused'; message: string }

/**
 * Writes down what is to go back, before Stripe is asked. What was asked for and is not listed by
 * Stripe yet counts as gone, and the table's own check refuses more than was received.
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
  if (left <= 0 || paymentIntentId === null) throw wrongChargeState('refund', charge)
  const amount = input.amount ?? left
  if (amount > left) {
    throw invalidField(
      '/amount',
      `At most ${left} ${charge.currency} (minor units) can be refunded.`,
    )
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
 * Asks Stripe for the refund, then reads the charge: only what Stripe lists is booked. May be
 * repeated after a crash or an unknown outcome; the same amount is asked for, under the same key.
 *
 * @throws AppError `stripe_refused`, `stripe_unavailable`, `stripe_failed`.
 */
export async function finishChargeRefund(
  deps: ChargeDeps,
  ref: ChargeRef,
  requestId: string,
): Promise<void> {
  const { request, currency } = await withTenant(deps.db, ref, async (trx) => ({
    request: await loadRefundRequest(trx, ref, requestId),
    currency: (await getCharge(trx, ref)).currency,
  }))
  if (request.state === 'refused') throw refundRefused(request.refusal)
  if (request.state === 'requested') {
    const { stripe } = await deps.clients.connect(ref.conferenceId)
    const answer = await requestChargeRefund(stripe, ref, request, currency)
    await withTenant(deps.db, ref, (trx) => saveRefundResult(trx, ref, requestId, answer))
    if (answer.kind === 'refused') {
      await reconcileCharge(deps, ref)
      throw refundRefused(answer.message)
    }
  }
  await reconcileCharge(deps, ref)
}

async function loadRefundRequest(trx: Tx, ref: ChargeRef, id: string): Promise<RefundRequest> {
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
  answer: RefundResult,
): Promise<void> {
  await lockCharge(trx, ref)
  await trx('charge_refund_requests')
    .where({ conference_id: ref.conferenceId, id, state: 'requested' })
    .update(
      answer.kind === 'accepted'
        ? { state: 'accepted', refund_id: answer.refundId, updated_at: trx.fn.now() }
        : { state: 'refused', refusal: answer.message, updated_at: trx.fn.now() },
    )
}

async function requestChargeRefund(
  stripe: Stripe,
  ref: ChargeRef,
  request: RefundRequest,
  currency: string,
): Promise<RefundResult> {
  try {
    const answer = await stripe.refunds.create(
      {
        payment_intent: request.payment_intent_id,
        amount: toStripeAmount(request.amount, currency),
        ...(request.reason === null ? {} : { reason: request.reason }),
        metadata: {
          charge_id: ref.chargeId,
          conference_id: ref.conferenceId,
          refund_request: request.id,
        },
      },
      { idempotencyKey: `charge:${ref.chargeId}:refund:${request.id}` },
    )
    return { kind: 'accepted', refundId: parseStripeObject(refundObject, answer, 'refund').id }
  } catch (error) {
    if (isStoredError(error)) return findChargeRefund(stripe, request, refusalMessage(error))
    if (isRefusal(error)) return { kind: 'refused', message: refusalMessage(error) }
    throw toAppError(error)
  }
}

/** A stored error says nothing about the money, so the refund is looked for. */
async function findChargeRefund(
  stripe: Stripe,
  request: RefundRequest,
  message: string,
): Promise<RefundResult> {
  const list = stripe.refunds.list({ payment_intent: request.payment_intent_id, limit: 100 })
  const found = await callStripe(async () => {
    for await (const refund of list) {
      if (refund.metadata?.['refund_request'] === request.id) return refund.id
    }
    return null
  })
  return found === null ? { kind: 'refused', message } : { kind: 'accepted', refundId: found }
}

function refundRefused(message: string | null): AppError {
  return new AppError('stripe_refused', message ?? 'Stripe refused the refund.')
}
