import type Stripe from 'stripe'
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
import { flag, group, ignored, type ShapeOf, text, timeRange } from '../api/params.ts'
import { changeRow, emitEvent, givenFields, requireRow } from '../core/changes.ts'
import { InvalidState, refused } from '../core/errors.ts'
import { fakeId, idOf } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { recordMovement } from './balance-transaction.ts'
import { charges } from './charge.ts'
import { retireFraudWarnings } from './early-fraud-warning.ts'

export const disputes = defineTable<Stripe.Dispute>('dispute')

export type DisputeInput = {
  amount: number
  reason: string
  status: Stripe.Dispute.Status
}

const ANSWER_WITHIN = 9 * 24 * 60 * 60

/** Stores a new dispute of a charge, without events and balance transactions. */
function insertDispute(
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

const evidenceTexts = {
  access_activity_log: text({ max: 20_000 }).optional(),
  appeal: ignored(),
  billing_address: text().optional(),
  cancellation_policy: text().optional(),
  cancellation_policy_disclosure: text({ max: 20_000 }).optional(),
  cancellation_rebuttal: text({ max: 20_000 }).optional(),
  customer_communication: text().optional(),
  customer_email_address: text().optional(),
  customer_name: text().optional(),
  customer_purchase_ip: text().optional(),
  customer_signature: text().optional(),
  duplicate_charge_documentation: text().optional(),
  duplicate_charge_explanation: text({ max: 20_000 }).optional(),
  duplicate_charge_id: text().optional(),
  enhanced_evidence: ignored(),
  product_description: text({ max: 20_000 }).optional(),
  receipt: text().optional(),
  refund_policy: text().optional(),
  refund_policy_disclosure: text({ max: 20_000 }).optional(),
  refund_refusal_explanation: text({ max: 20_000 }).optional(),
  service_date: text().optional(),
  service_documentation: text().optional(),
  shipping_address: text().optional(),
  shipping_carrier: text().optional(),
  shipping_date: text().optional(),
  shipping_documentation: text().optional(),
  shipping_tracking_number: text().optional(),
  uncategorized_file: text().optional(),
  uncategorized_text: text({ max: 20_000 }).optional(),
} satisfies ShapeOf<Stripe.DisputeUpdateParams.Evidence>

const updateParams = group({
  evidence: group(evidenceTexts).optional(),
  intended_submission_method: text().optional(),
  metadata: metadataParam().optional(),
  submit: flag().optional(),
} satisfies ShapeOf<Stripe.DisputeUpdateParams>)

/** @see https://docs.stripe.com/api/disputes */
export const disputeResource: Resource = {
  kind: disputes.name,
  expandable: {
    charge: { kind: 'charge' },
    payment_intent: { kind: 'payment_intent' },
  },
  operations: [
    retrieveOperation('/v1/disputes/:id', disputes, 'dispute'),
    operation({
      method: 'POST',
      path: '/v1/disputes/:id',
      returns: disputes.name,
      params: updateParams,
      run(call, { evidence, metadata, submit = true }, { id = '' }) {
        const before = existingOpenDispute(call, id)
        const { appeal: _, enhanced_evidence: __, ...texts } = evidence ?? {}
        const merged = changeMetadata(before.metadata, metadata)
        const after = changeRow(call, disputes, id, {
          metadata: merged,
          evidence: { ...before.evidence, ...givenFields(texts) },
          ...(evidence !== undefined && submit ? submitted(before) : {}),
        })
        emitEvent(call, 'charge.dispute.updated', after, before)
        return after
      },
    }),
    operation({
      method: 'POST',
      path: '/v1/disputes/:id/close',
      returns: disputes.name,
      params: group({}),
      // When the merchant closes a dispute, it is lost.
      run: (call, _params, { id = '' }) =>
        closeDispute(call, existingOpenDispute(call, id).id, 'lost'),
    }),
    listOperation({
      path: '/v1/disputes',
      table: disputes,
      filters: {
        charge: text().optional(),
        created: timeRange().optional(),
        payment_intent: text().optional(),
      },
      where({ charge, created, payment_intent: intent }) {
        const within = createdWithin(created)
        return (dispute) =>
          within(dispute) &&
          (charge ?? idOf(dispute.charge)) === idOf(dispute.charge) &&
          (intent ?? idOf(dispute.payment_intent)) === idOf(dispute.payment_intent)
      },
    }),
  ],
}

function existingOpenDispute(call: Call, id: string): Stripe.Dispute {
  const dispute = existing(call, disputes, id, 'dispute', 404)
  if (isClosedDispute(dispute)) throw refused('This dispute is already closed.')
  return dispute
}

function submitted(dispute: Stripe.Dispute): Partial<Stripe.Dispute> {
  const { evidence_details: details, status } = dispute
  return {
    status: status.startsWith('warning_') ? 'warning_under_review' : 'under_review',
    evidence_details: {
      ...details,
      has_evidence: true,
      submission_count: details.submission_count + 1,
      submission_method: 'manual',
    },
  }
}

export const OPEN_DISPUTE_STATUSES = [
  'needs_response',
  'under_review',
  'warning_needs_response',
  'warning_under_review',
] as const

export const CLOSED_DISPUTE_STATUSES = ['won', 'lost', 'warning_closed', 'prevented'] as const

export type OpenDisputeStatus = (typeof OPEN_DISPUTE_STATUSES)[number]
export type DisputeOutcome = (typeof CLOSED_DISPUTE_STATUSES)[number]

/** Stripe's fee for a chargeback in the US: 15.00. */
const DISPUTE_FEE = 1500

export type DisputeRequest = {
  /**
   * Smallest unit; default: the amount that is not refunded. It can differ from the charge, as at
   * Stripe.
   */
  amount?: number | undefined
  reason?: string | undefined
  status?: OpenDisputeStatus | undefined
}

/**
 * The payer disputes a charge. Unless it is an inquiry, the money is withdrawn from the merchant
 * immediately.
 *
 * @throws InvalidState when the charge did not succeed.
 * @see https://docs.stripe.com/disputes/how-disputes-work
 */
export function disputeCharge(scope: Scope, chargeId: string, request: DisputeRequest = {}) {
  const charge = requireRow(scope, charges, chargeId)
  if (charge.status !== 'succeeded')
    throw new InvalidState(`Charge ${chargeId} is ${charge.status}`)
  const { amount = charge.amount - charge.amount_refunded, reason = 'fraudulent' } = request
  const status = request.status ?? 'needs_response'
  const dispute = insertDispute(scope, charge, { amount, reason, status })
  changeRow(scope, charges, charge.id, { disputed: true })
  emitEvent(scope, 'charge.dispute.created', dispute)
  retireFraudWarnings(scope, charge.id)
  return isInquiry(dispute) ? dispute : withdrawFunds(scope, dispute.id)
}

/**
 * Changes the status of an open dispute. When an inquiry becomes a chargeback, the money is
 * withdrawn.
 *
 * @throws InvalidState when it is closed.
 */
export function updateDisputeStatus(
  scope: Scope,
  id: string,
  status: OpenDisputeStatus,
): Stripe.Dispute {
  const before = requireOpenDispute(scope, id)
  const inquiry = status.startsWith('warning_')
  const after = changeRow(scope, disputes, id, { status, is_charge_refundable: inquiry })
  emitEvent(scope, 'charge.dispute.updated', after, before)
  return isInquiry(before) && !inquiry ? withdrawFunds(scope, id) : after
}

/**
 * Closes a dispute. If it is won or prevented, withdrawn money is returned.
 *
 * @throws InvalidState when it is closed already.
 */
export function closeDispute(scope: Scope, id: string, outcome: DisputeOutcome): Stripe.Dispute {
  const open = requireOpenDispute(scope, id)
  const isTaken = open.balance_transactions.length > 0
  const closed = changeRow(scope, disputes, id, {
    status: outcome,
    is_charge_refundable: outcome !== 'lost' && open.is_charge_refundable,
  })
  const returns = outcome === 'won' || outcome === 'prevented'
  const final = returns && isTaken ? reinstateFunds(scope, id, open.amount) : closed
  emitEvent(scope, 'charge.dispute.closed', final)
  return final
}

function requireOpenDispute(scope: Scope, id: string): Stripe.Dispute {
  const dispute = requireRow(scope, disputes, id)
  if (isClosedDispute(dispute)) throw new InvalidState(`Dispute ${id} is ${dispute.status}`)
  return dispute
}

export function isClosedDispute({ status }: Stripe.Dispute): boolean {
  return CLOSED_DISPUTE_STATUSES.some((closed) => closed === status)
}

function isInquiry({ status }: Stripe.Dispute): boolean {
  return status.startsWith('warning_')
}

function withdrawFunds(scope: Scope, id: string): Stripe.Dispute {
  const { amount } = requireRow(scope, disputes, id)
  const next = recordDisputeMovement(scope, id, -amount, DISPUTE_FEE, 'dispute')
  emitEvent(scope, 'charge.dispute.funds_withdrawn', next)
  return next
}

function reinstateFunds(scope: Scope, id: string, amount: number): Stripe.Dispute {
  const next = recordDisputeMovement(scope, id, amount, 0, 'dispute_reversal')
  emitEvent(scope, 'charge.dispute.funds_reinstated', next)
  return next
}

function recordDisputeMovement(
  scope: Scope,
  id: string,
  amount: number,
  fee: number,
  category: string,
) {
  const dispute = requireRow(scope, disputes, id)
  const movement = recordMovement(scope, {
    amount,
    fee,
    currency: dispute.currency,
    source: dispute.id,
    type: 'adjustment',
    reportingCategory: category,
    description: `Chargeback ${amount < 0 ? 'withdrawal' : 'reversal'} for ${idOf(dispute.charge)}`,
  })
  return changeRow(scope, disputes, id, {
    balance_transactions: [...dispute.balance_transactions, movement],
  })
}
