import type Stripe from 'stripe'
import { bigint, reference, text } from '../mirror-column.ts'
import { referencesTo, type StripeResource, type SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { balanceTransactions, resource as charges } from './charge-resource.ts'
import { resource as paymentIntents } from './payment-intent-resource.ts'

/** @see https://docs.stripe.com/api/refunds/object */
export const resource: StripeResource<Stripe.Refund> = {
  name: 'refunds',
  description: 'A refund. Includes pending and failed refunds.',
  objects: ['refund'],
  // `pyr_` are refunds of payments without a card.
  idPrefixes: ['re_', 'pyr_'],
  columns: {
    status: text((refund) => refund.status),
    amount: bigint((refund) => refund.amount),
    currency: text((refund) => refund.currency),
    reason: text((refund) => refund.reason),
    charge: reference((refund) => refund.charge),
    payment_intent: reference((refund) => refund.payment_intent),
    balance_transaction: reference((refund) => refund.balance_transaction),
    failure_balance_transaction: reference((refund) => refund.failure_balance_transaction),
    customer: reference((refund) => refund.customer),
    payment_method: reference((refund) => refund.payment_method),
    failure_reason: text((refund) => refund.failure_reason),
    pending_reason: text((refund) => refund.pending_reason),
    receipt_number: text((refund) => refund.receipt_number),
    description: text((refund) => refund.description),
    destination_type: text((refund) => refund.destination_details?.type),
    instructions_email: text((refund) => refund.instructions_email),
  },
  listing: {
    by: 'pages',
    windows: true,
    page: (stripe, params) => stripe.refunds.list(params),
  },
  deletable: false,
  retrieve: (stripe, id) => stripe.refunds.retrieve(id),
  references: (refund) =>
    referencesTo(
      [charges, refund.charge],
      [paymentIntents, refund.payment_intent],
      [balanceTransactions, [refund.balance_transaction, refund.failure_balance_transaction]],
    ),
  belongsTo: (refund) => [
    [paymentIntents, refund.payment_intent],
    [charges, refund.charge],
  ],
  createAction: (context) => new StripeRefundAction(context),
}

/** Mirrors refunds, including failed and cancelled ones. */
export class StripeRefundAction extends StripeSyncAction<Stripe.Refund> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
