import type Stripe from 'stripe'
import { fakeId } from '../core/fake-id.ts'
import { idOf } from '../core/reference.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'
import type { RefundMode } from '../core/world.ts'

export const refunds = defineTable<Stripe.Refund>('refund')

export type RefundInput = {
  amount: number
  reason?: Stripe.Refund.Reason | null | undefined
  metadata?: Record<string, string> | undefined
  instructionsEmail?: string | undefined
  status: RefundMode
}

/** A new refund of a charge, without events and bookings. */
export function insertRefund(
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

export function destination(
  charge: Stripe.Charge,
  status: string,
): Stripe.Refund.DestinationDetails {
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
