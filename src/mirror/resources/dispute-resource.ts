import type Stripe from 'stripe'
import { bigint, boolean, reference, text, timestamp } from '../mirror-column.ts'
import { referencesTo, type StripeResource, type SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as charges } from './charge-resource.ts'
import { resource as paymentIntents } from './payment-intent-resource.ts'

/** @see https://docs.stripe.com/api/disputes/object */
export const resource: StripeResource<Stripe.Dispute> = {
  name: 'disputes',
  description: 'A payment that the customer disputes with the bank.',
  objects: ['dispute'],
  // Undocumented: `dp_` and `du_` are common, and payments without a card have other prefixes.
  idPrefixes: [],
  columns: {
    status: text((dispute) => dispute.status, { indexed: true }),
    reason: text((dispute) => dispute.reason),
    amount: bigint((dispute) => dispute.amount),
    currency: text((dispute) => dispute.currency),
    charge: reference((dispute) => dispute.charge),
    payment_intent: reference((dispute) => dispute.payment_intent),
    // The first transaction withdraws the money; a second one returns it.
    balance_transaction: reference((dispute) => dispute.balance_transactions?.[0]),
    // 0 if the bank accepts no evidence.
    evidence_due_by: timestamp((dispute) => dispute.evidence_details?.due_by || null, {
      indexed: true,
    }),
    evidence_has_evidence: boolean((dispute) => dispute.evidence_details?.has_evidence),
    evidence_past_due: boolean((dispute) => dispute.evidence_details?.past_due),
    evidence_submission_count: bigint((dispute) => dispute.evidence_details?.submission_count),
    is_charge_refundable: boolean((dispute) => dispute.is_charge_refundable),
    network_reason_code: text(
      (dispute) =>
        dispute.network_reason_code ?? dispute.payment_method_details?.card?.network_reason_code,
    ),
    payment_method_type: text((dispute) => dispute.payment_method_details?.type),
    card_brand: text((dispute) => dispute.payment_method_details?.card?.brand),
    case_type: text((dispute) => dispute.payment_method_details?.card?.case_type),
  },
  listing: {
    by: 'pages',
    windows: true,
    page: (stripe, params) => stripe.disputes.list(params),
  },
  deletable: false,
  retrieve: (stripe, id) => stripe.disputes.retrieve(id),
  references: (dispute) =>
    referencesTo([charges, dispute.charge], [paymentIntents, dispute.payment_intent]),
  belongsTo: (dispute) => [
    [paymentIntents, dispute.payment_intent],
    [charges, dispute.charge],
  ],
  createAction: (context) => new StripeDisputeAction(context),
}

/** Mirrors disputes. */
export class StripeDisputeAction extends StripeSyncAction<Stripe.Dispute> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
