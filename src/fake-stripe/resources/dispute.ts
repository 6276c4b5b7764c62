import type Stripe from 'stripe'
import { createdWithin, listOperation } from '../api/list-operation.ts'
import { changeMetadata, metadataParam } from '../api/metadata.ts'
import { flag, group, ignored, type ShapeOf, text, timeRange } from '../api/params.ts'
import {
  type Call,
  existing,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { givenFields } from '../core/given-fields.ts'
import { idOf } from '../core/reference.ts'
import { refused } from '../core/stripe-error.ts'
import { disputes } from '../objects/dispute.ts'
import { closeDispute, isClosedDispute } from '../payments/dispute-charge.ts'

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
        const before = openDispute(call, id)
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
      // Closing by the merchant accepts the loss.
      run: (call, _params, { id = '' }) => closeDispute(call, openDispute(call, id).id, 'lost'),
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

function openDispute(call: Call, id: string): Stripe.Dispute {
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
