import type Stripe from 'stripe'
import { fakeId } from '../core/fake-id.ts'
import { idOf } from '../core/reference.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'

export const disputes = defineTable<Stripe.Dispute>('dispute')

export type DisputeInput = {
  amount: number
  reason: string
  status: Stripe.Dispute.Status
}

const ANSWER_WITHIN = 9 * 24 * 60 * 60

/** A new dispute of a charge, without events and bookings. */
export function insertDispute(
  { account, world }: Scope,
  charge: Stripe.Charge,
  { amount, reason, status }: DisputeInput,
): Stripe.Dispute {
  const created = world.clock.seconds()
  const inquiry = status.startsWith('warning_')
  const dispute: Stripe.Dispute = {
    id: fakeId('du_1'),
    object: 'dispute',
    amount,
    balance_transactions: [],
    charge: charge.id,
    created,
    currency: charge.currency,
    enhanced_eligibility_types: [],
    evidence: noEvidence(charge),
    evidence_details: {
      due_by: created + ANSWER_WITHIN,
      enhanced_eligibility: {},
      has_evidence: false,
      past_due: false,
      submission_count: 0,
      submission_method: 'not_submitted',
    },
    intended_submission_method: null,
    is_charge_refundable: inquiry,
    livemode: account.livemode,
    metadata: {},
    payment_intent: idOf(charge.payment_intent),
    payment_method_details: {
      card: {
        brand: 'visa',
        case_type: inquiry ? 'inquiry' : 'chargeback',
        network: 'visa',
        network_reason_code: '10.4',
      },
      type: 'card',
    },
    reason,
    status,
  }
  return account.rows(disputes).insert(dispute)
}

function noEvidence(charge: Stripe.Charge): Stripe.Dispute.Evidence {
  return {
    access_activity_log: null,
    billing_address: null,
    cancellation_policy: null,
    cancellation_policy_disclosure: null,
    cancellation_rebuttal: null,
    customer_communication: null,
    customer_email_address: charge.billing_details.email,
    customer_name: charge.billing_details.name,
    customer_purchase_ip: null,
    customer_signature: null,
    duplicate_charge_documentation: null,
    duplicate_charge_explanation: null,
    duplicate_charge_id: null,
    enhanced_evidence: {},
    product_description: null,
    receipt: null,
    refund_policy: null,
    refund_policy_disclosure: null,
    refund_refusal_explanation: null,
    service_date: null,
    service_documentation: null,
    shipping_address: null,
    shipping_carrier: null,
    shipping_date: null,
    shipping_documentation: null,
    shipping_tracking_number: null,
    uncategorized_file: null,
    uncategorized_text: null,
  }
}
