import type Stripe from 'stripe'
import { bigint, boolean, reference, text } from '../mirror-column.ts'
import { referencesTo, type StripeResource, type SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as customers } from './customer-resource.ts'
import { resource as paymentIntents } from './payment-intent-resource.ts'

/** The target of `referencesTo`. Balance transactions import this file, because charges are their sources. */
export const balanceTransactions = { name: 'balance-transactions', idPrefixes: ['txn_'] }

/** Before API version 2025-03-31, charges had an `invoice` field. */
type Older = { invoice?: string | { id?: string } | null }

function invoiceOf(charge: Stripe.Charge) {
  const older: Stripe.Charge & Older = charge
  return older.invoice
}

/** @see https://docs.stripe.com/api/charges/object */
export const resource: StripeResource<Stripe.Charge> = {
  name: 'charges',
  description: 'An attempt to charge money. Includes failed attempts.',
  objects: ['charge'],
  // `py_` are payments without a card, such as bank debits.
  idPrefixes: ['ch_', 'py_'],
  columns: {
    status: text((charge) => charge.status),
    amount: bigint((charge) => charge.amount),
    amount_captured: bigint((charge) => charge.amount_captured),
    amount_refunded: bigint((charge) => charge.amount_refunded),
    currency: text((charge) => charge.currency),
    paid: boolean((charge) => charge.paid),
    captured: boolean((charge) => charge.captured),
    refunded: boolean((charge) => charge.refunded),
    disputed: boolean((charge) => charge.disputed),
    customer: reference((charge) => charge.customer),
    payment_intent: reference((charge) => charge.payment_intent),
    balance_transaction: reference((charge) => charge.balance_transaction),
    failure_balance_transaction: reference((charge) => charge.failure_balance_transaction),
    invoice: reference(invoiceOf),
    payment_method: reference((charge) => charge.payment_method),
    payment_method_type: text((charge) => charge.payment_method_details?.type),
    card_brand: text((charge) => charge.payment_method_details?.card?.brand),
    card_last4: text((charge) => charge.payment_method_details?.card?.last4),
    billing_name: text((charge) => charge.billing_details?.name),
    billing_email: text((charge) => charge.billing_details?.email, { indexed: true }),
    receipt_email: text((charge) => charge.receipt_email),
    receipt_number: text((charge) => charge.receipt_number, { indexed: true }),
    receipt_url: text((charge) => charge.receipt_url),
    description: text((charge) => charge.description),
    // The text on the customer's bank statement.
    calculated_statement_descriptor: text((charge) => charge.calculated_statement_descriptor),
    statement_descriptor: text((charge) => charge.statement_descriptor),
    failure_code: text((charge) => charge.failure_code),
    failure_message: text((charge) => charge.failure_message),
    outcome_type: text((charge) => charge.outcome?.type),
    outcome_reason: text((charge) => charge.outcome?.reason),
    outcome_risk_level: text((charge) => charge.outcome?.risk_level),
    application_fee_amount: bigint((charge) => charge.application_fee_amount),
    transfer_group: text((charge) => charge.transfer_group),
  },
  listing: {
    by: 'pages',
    windows: true,
    page: (stripe, params) => stripe.charges.list(params),
  },
  deletable: false,
  retrieve: (stripe, id) => stripe.charges.retrieve(id),
  references: (charge) =>
    referencesTo(
      [customers, charge.customer],
      [paymentIntents, charge.payment_intent],
      [balanceTransactions, [charge.balance_transaction, charge.failure_balance_transaction]],
    ),
  belongsTo: (charge) => [
    [paymentIntents, charge.payment_intent],
    [customers, charge.customer],
  ],
  createAction: (context) => new StripeChargeAction(context),
}

/** Mirrors charges, including failed ones. */
export class StripeChargeAction extends StripeSyncAction<Stripe.Charge> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
