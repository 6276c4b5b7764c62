import type Stripe from 'stripe'
import type { z } from 'zod'
import { createdWithin, listOperation } from '../api/list-operation.ts'
import { changeMetadata, metadataParam } from '../api/metadata.ts'
import { amount, choice, group, type ShapeOf, text, timeRange, unsupported } from '../api/params.ts'
import {
  type Call,
  existing,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { invalidParameter, refused, type StripeError } from '../core/stripe-error.ts'
import { charges } from '../objects/charge.ts'
import { paymentIntents } from '../objects/payment-intent.ts'
import { refunds } from '../objects/refund.ts'
import { cancelRefund, refundCharge } from '../payments/refund-charge.ts'

const createParams = group({
  amount: amount('positive').optional(),
  charge: text().optional(),
  currency: unsupported('refunds from a customer balance'),
  customer: unsupported('refunds from a customer balance'),
  instructions_email: text().optional(),
  metadata: metadataParam().optional(),
  origin: unsupported('refunds from a customer balance'),
  payment_intent: text().optional(),
  reason: choice('reason', ['duplicate', 'fraudulent', 'requested_by_customer']).optional(),
  refund_application_fee: unsupported('application fees'),
  reverse_transfer: unsupported('transfers'),
} satisfies ShapeOf<Stripe.RefundCreateParams>)

/** @see https://docs.stripe.com/api/refunds */
export const refundResource: Resource = {
  kind: refunds.name,
  expandable: {
    balance_transaction: { kind: 'balance_transaction' },
    charge: { kind: 'charge' },
    customer: { kind: 'customer' },
    failure_balance_transaction: { kind: 'balance_transaction' },
    payment_intent: { kind: 'payment_intent' },
  },
  operations: [
    operation({
      method: 'POST',
      path: '/v1/refunds',
      returns: refunds.name,
      params: createParams,
      run: (call, params) =>
        refundCharge(call, chargeToRefund(call, params).id, {
          amount: params.amount,
          reason: params.reason,
          metadata: changeMetadata({}, params.metadata),
          instructionsEmail: params.instructions_email,
        }),
    }),
    retrieveOperation('/v1/refunds/:id', refunds),
    operation({
      method: 'POST',
      path: '/v1/refunds/:id',
      returns: refunds.name,
      params: group({
        metadata: metadataParam().optional(),
      } satisfies ShapeOf<Stripe.RefundUpdateParams>),
      run(call, { metadata }, { id = '' }) {
        const before = existing(call, refunds, id, 'id', 404)
        const merged = changeMetadata(before.metadata ?? {}, metadata)
        const after = changeRow(call, refunds, id, { metadata: merged })
        emitEvent(call, 'refund.updated', after, before)
        emitEvent(call, 'charge.refund.updated', after, before)
        return after
      },
    }),
    operation({
      method: 'POST',
      path: '/v1/refunds/:id/cancel',
      returns: refunds.name,
      params: group({}),
      run(call, _params, { id = '' }) {
        const refund = existing(call, refunds, id, 'id', 404)
        if (refund.status !== 'requires_action')
          throw refused(
            `You cannot cancel this refund because it has a status of ${refund.status}. Only a refund with the status requires_action may be canceled.`,
          )
        return cancelRefund(call, id)
      },
    }),
    listOperation({
      path: '/v1/refunds',
      table: refunds,
      filters: {
        charge: text().optional(),
        created: timeRange().optional(),
        payment_intent: text().optional(),
      },
      where({ charge, created, payment_intent: intent }) {
        const within = createdWithin(created)
        return (refund) =>
          within(refund) &&
          (charge ?? idOf(refund.charge)) === idOf(refund.charge) &&
          (intent ?? idOf(refund.payment_intent)) === idOf(refund.payment_intent)
      },
    }),
  ],
}

/** The charge that a request names, directly or by its payment intent. */
function chargeToRefund(call: Call, params: z.output<typeof createParams>): Stripe.Charge {
  const { charge: chargeId, payment_intent: intentId } = params
  if (chargeId === undefined && intentId === undefined)
    throw invalidParameter(
      'payment_intent',
      'One of the following params should be provided for this request: payment_intent or charge.',
      'parameter_missing',
    )
  const charge = chargeId === undefined ? undefined : existing(call, charges, chargeId, 'charge')
  if (intentId === undefined) return succeeded(charge, chargeId ?? '')
  const intent = existing(call, paymentIntents, intentId, 'payment_intent')
  const latest = call.account.rows(charges).get(idOf(intent.latest_charge) ?? '')
  if (latest?.status !== 'succeeded') throw nothingToRefund(intentId)
  if (charge !== undefined && charge.id !== latest.id)
    throw invalidParameter(
      'charge',
      `The charge ${charge.id} does not belong to the payment intent ${intentId}.`,
    )
  return latest
}

function succeeded(charge: Stripe.Charge | undefined, id: string): Stripe.Charge {
  if (charge?.status === 'succeeded') return charge
  throw refused(`Charge ${id} did not succeed, so it cannot be refunded.`, { param: 'charge' })
}

function nothingToRefund(intentId: string): StripeError {
  return refused(`This PaymentIntent (${intentId}) does not have a successful charge to refund.`, {
    param: 'payment_intent',
  })
}
