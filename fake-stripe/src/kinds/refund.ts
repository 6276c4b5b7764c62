import type Stripe from 'stripe'
import type { z } from 'zod'
import { changeMetadata, metadataParam } from '../api/common-params.ts'
import {
  type Call,
  createdWithin,
  existing,
  listOperation,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/operations.ts'
import { amount, choice, group, type ShapeOf, text, timeRange, unsupported } from '../api/params.ts'
import { changeRow, emitEvent, requireRow } from '../core/changes.ts'
import { formatAmount } from '../core/currency.ts'
import { InvalidState, invalidParameter, refused, type StripeError } from '../core/errors.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { RefundMode, Scope, World } from '../core/scope.ts'
import { recordMovement } from './balance-transaction.ts'
import { charges } from './charge.ts'
import { disputes } from './dispute.ts'
import { retireFraudWarnings } from './early-fraud-warning.ts'
import { paymentIntents } from './payment-intent.ts'

export const refunds = defineTable<Stripe.Refund>('refund')

type RefundInput = {
  amount: number
  reason?: Stripe.Refund.Reason | null | undefined
  metadata?: Record<string, string> | undefined
  instructionsEmail?: string | undefined
  status: RefundMode
}

/** Stores a new refund of a charge, without events and balance transactions. */
function insertRefund(
  { account, world }: Scope,
  charge: Stripe.Charge,
  input: RefundInput,
): Stripe.Refund {
  const refund: Stripe.Refund = {
    id: fakeId(charge.id.startsWith('py_') ? 'pyr_1' : 're_3'),
    object: 'refund',
    amount: input.amount,
    balance_transaction: null,
    charge: charge.id,
    created: world.clock.seconds(),
    currency: charge.currency,
    customer: idOf(charge.customer),
    customer_account: null,
    destination_details: destination(charge, input.status),
    metadata: input.metadata ?? {},
    payment_intent: idOf(charge.payment_intent),
    payment_method: charge.payment_method,
    ...(input.status === 'pending' ? { pending_reason: 'processing' } : {}),
    ...(input.instructionsEmail === undefined
      ? {}
      : { instructions_email: input.instructionsEmail }),
    reason: input.reason ?? null,
    receipt_number: null,
    source_transfer_reversal: null,
    status: input.status,
    transfer_reversal: null,
  }
  return account.rows(refunds).insert(refund)
}

function destination(charge: Stripe.Charge, status: string): Stripe.Refund.DestinationDetails {
  const type = charge.payment_method_details?.type ?? 'card'
  if (type === 'card')
    return {
      type: 'card',
      card: {
        reference_status: status === 'succeeded' ? 'pending' : 'unavailable',
        reference_type: 'acquirer_reference_number',
        type: status === 'succeeded' ? 'refund' : 'pending',
      },
    }
  const reference = { reference: null, reference_status: 'pending' }
  if (type === 'us_bank_account') return { type: 'us_bank_transfer', us_bank_transfer: reference }
  return { type: 'eu_bank_transfer', eu_bank_transfer: reference }
}

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

/** The charge of the request, or of its payment intent. */
function chargeToRefund(call: Call, params: z.output<typeof createParams>): Stripe.Charge {
  const { charge: chargeId, payment_intent: intentId } = params
  if (chargeId === undefined && intentId === undefined)
    throw invalidParameter(
      'payment_intent',
      'One of the following params should be provided for this request: payment_intent or charge.',
      'parameter_missing',
    )
  const charge = chargeId === undefined ? undefined : existing(call, charges, chargeId, 'charge')
  if (intentId === undefined) return requireSucceeded(charge, chargeId ?? '')
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

function requireSucceeded(charge: Stripe.Charge | undefined, id: string): Stripe.Charge {
  if (charge?.status === 'succeeded') return charge
  throw refused(`Charge ${id} did not succeed, so it cannot be refunded.`, { param: 'charge' })
}

function nothingToRefund(intentId: string): StripeError {
  return refused(`This PaymentIntent (${intentId}) does not have a successful charge to refund.`, {
    param: 'payment_intent',
  })
}

export type RefundRequest = Omit<RefundInput, 'amount' | 'status'> & {
  /** Smallest unit; default: the amount that is not refunded yet. */
  amount?: number | undefined
  /** Default: as `refundMode` says; normally it succeeds immediately. */
  status?: RefundMode | undefined
}

/**
 * Refunds a charge. A pending refund counts as refunded until it fails, as at Stripe.
 *
 * @throws StripeError when the charge is disputed, fully refunded, or the amount exceeds the rest.
 * @see https://docs.stripe.com/api/refunds/create
 */
export function refundCharge(scope: Scope, chargeId: string, request: RefundRequest) {
  const charge = requireRow(scope, charges, chargeId)
  const amount = checkRefundAmount(scope, charge, request.amount)
  const status = request.status ?? takeRefundMode(scope.world)
  const refund = insertRefund(scope, charge, { ...request, amount, status })
  const booked = status === 'succeeded' ? recordRefund(scope, refund, charge) : refund
  emitEvent(scope, 'refund.created', booked)
  const refunded = addToCharge(scope, charge, amount)
  emitEvent(scope, 'charge.refunded', refunded, charge)
  if (refunded.refunded) retireFraudWarnings(scope, charge.id)
  return booked
}

/** A refund reached the payer. @throws InvalidState unless it is `pending` or `requires_action`. */
export function settleRefund(scope: Scope, id: string): Stripe.Refund {
  const refund = requireRow(scope, refunds, id)
  if (refund.status !== 'pending' && refund.status !== 'requires_action')
    throw new InvalidState(`Refund ${id} is ${refund.status}, not pending`)
  const charge = requireRow(scope, charges, idOf(refund.charge))
  const { pending_reason: _gone, ...rest } = refund
  const settled = scope.account.rows(refunds).replace({
    ...rest,
    status: 'succeeded',
    destination_details: destination(charge, 'succeeded'),
  })
  const booked = recordRefund(scope, settled, charge)
  emitUpdates(scope, refund, booked)
  return booked
}

/**
 * The payer's bank returned the money to the merchant; this can also happen up to a month after a
 * refund has succeeded.
 *
 * @throws InvalidState when the refund failed already or was canceled.
 * @see https://docs.stripe.com/refunds#failed-refunds
 */
export function failRefund(scope: Scope, id: string, reason = 'lost_or_stolen_card') {
  const refund = requireRow(scope, refunds, id)
  if (refund.status === 'failed' || refund.status === 'canceled')
    throw new InvalidState(`Refund ${id} is ${refund.status}`)
  const charge = requireRow(scope, charges, idOf(refund.charge))
  const movement =
    refund.status === 'succeeded'
      ? recordRefundFailure(scope, refund, charge.description)
      : undefined
  const { pending_reason: _gone, ...rest } = refund
  const failed = scope.account.rows(refunds).replace({
    ...rest,
    status: 'failed',
    failure_reason: reason,
    ...(movement === undefined ? {} : { failure_balance_transaction: movement.id }),
  })
  addToCharge(scope, charge, -refund.amount)
  emitUpdates(scope, refund, failed)
  emitEvent(scope, 'refund.failed', failed)
  return failed
}

/** Cancels a refund that waits for the payer; the caller has checked its status. */
function cancelRefund(scope: Scope, id: string): Stripe.Refund {
  const refund = requireRow(scope, refunds, id)
  const canceled = changeRow(scope, refunds, id, { status: 'canceled' })
  addToCharge(scope, requireRow(scope, charges, idOf(refund.charge)), -refund.amount)
  emitUpdates(scope, refund, canceled)
  return canceled
}

function checkRefundAmount(
  scope: Scope,
  charge: Stripe.Charge,
  wanted: number | undefined,
): number {
  if (isChargedBack(scope, charge.id))
    throw refused(`Charge ${charge.id} has been charged back; cannot issue a refund.`, {
      code: 'charge_disputed',
    })
  const left = charge.amount - charge.amount_refunded
  if (left === 0)
    throw refused(`Charge ${charge.id} has already been refunded.`, {
      code: 'charge_already_refunded',
    })
  const amount = wanted ?? left
  if (amount <= left) return amount
  const asked = formatAmount(amount, charge.currency)
  throw refused(
    `Refund amount (${asked}) is greater than unrefunded amount on charge (${formatAmount(left, charge.currency)})`,
    { param: 'amount' },
  )
}

// In these statuses the merchant has the money again and can refund it.
const FUNDS_RETURNED = ['won', 'prevented']

/** Whether a dispute blocks refunds of the charge. An inquiry or a won dispute does not. */
function isChargedBack({ account }: Scope, chargeId: string): boolean {
  const unresolved = account
    .rows(disputes)
    .all((dispute) => idOf(dispute.charge) === chargeId && !FUNDS_RETURNED.includes(dispute.status))
  return unresolved.some((dispute) => !dispute.is_charge_refundable)
}

function takeRefundMode(world: World): RefundMode {
  if (world.refundMode.times <= 0) return 'succeeded'
  world.refundMode.times -= 1
  return world.refundMode.mode
}

function addToCharge(scope: Scope, charge: Stripe.Charge, amount: number): Stripe.Charge {
  const total = requireRow(scope, charges, charge.id).amount_refunded + amount
  return changeRow(scope, charges, charge.id, {
    amount_refunded: total,
    refunded: total >= charge.amount,
  })
}

function recordRefund(scope: Scope, refund: Stripe.Refund, charge: Stripe.Charge): Stripe.Refund {
  const movement = recordMovement(scope, {
    amount: -refund.amount,
    currency: refund.currency,
    source: refund.id,
    type: charge.id.startsWith('py_') ? 'payment_refund' : 'refund',
    reportingCategory: 'refund',
    description: `REFUND FOR ${charge.description ?? charge.id}`,
  })
  return changeRow(scope, refunds, refund.id, { balance_transaction: movement.id })
}

function recordRefundFailure(scope: Scope, refund: Stripe.Refund, description: string | null) {
  return recordMovement(scope, {
    amount: refund.amount,
    currency: refund.currency,
    source: refund.id,
    type: 'refund_failure',
    reportingCategory: 'refund_failure',
    description,
  })
}

// Stripe sends both events; `charge.refund.updated` is deprecated.
function emitUpdates(scope: Scope, before: Stripe.Refund, after: Stripe.Refund): void {
  emitEvent(scope, 'refund.updated', after, before)
  emitEvent(scope, 'charge.refund.updated', after, before)
}
