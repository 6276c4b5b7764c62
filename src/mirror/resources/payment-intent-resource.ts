import type Stripe from 'stripe'
import { bigint, json, reference, text, timestamp } from '../mirror-column.ts'
import { referencesTo, type StripeResource, type SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as customers } from './customer-resource.ts'

/** Before API version 2025-03-31, payment intents had an `invoice` field. */
type Older = { invoice?: string | { id?: string } | null }

function invoiceOf(intent: Stripe.PaymentIntent) {
  const older: Stripe.PaymentIntent & Older = intent
  return older.invoice
}

/** @see https://docs.stripe.com/api/payment_intents/object */
export const resource: StripeResource<Stripe.PaymentIntent> = {
  name: 'payment-intents',
  description: 'A payment, with all attempts to collect it.',
  objects: ['payment_intent'],
  idPrefixes: ['pi_'],
  columns: {
    status: text((intent) => intent.status),
    amount: bigint((intent) => intent.amount),
    amount_capturable: bigint((intent) => intent.amount_capturable),
    amount_received: bigint((intent) => intent.amount_received),
    currency: text((intent) => intent.currency),
    customer: reference((intent) => intent.customer),
    payment_method: reference((intent) => intent.payment_method),
    latest_charge: reference((intent) => intent.latest_charge),
    invoice: reference(invoiceOf),
    payment_method_types: json((intent) => intent.payment_method_types),
    capture_method: text((intent) => intent.capture_method),
    confirmation_method: text((intent) => intent.confirmation_method),
    setup_future_usage: text((intent) => intent.setup_future_usage),
    canceled_at: timestamp((intent) => intent.canceled_at),
    cancellation_reason: text((intent) => intent.cancellation_reason),
    last_payment_error_code: text((intent) => intent.last_payment_error?.code),
    last_payment_error_decline_code: text((intent) => intent.last_payment_error?.decline_code),
    last_payment_error_message: text((intent) => intent.last_payment_error?.message),
    description: text((intent) => intent.description),
    receipt_email: text((intent) => intent.receipt_email),
    statement_descriptor: text((intent) => intent.statement_descriptor),
    application_fee_amount: bigint((intent) => intent.application_fee_amount),
    transfer_group: text((intent) => intent.transfer_group),
  },
  listing: {
    by: 'pages',
    windows: true,
    page: (stripe, params) => stripe.paymentIntents.list(params),
  },
  deletable: false,
  retrieve: (stripe, id) => stripe.paymentIntents.retrieve(id),
  references: (intent) => referencesTo([customers, intent.customer]),
  belongsTo: (intent) => [[customers, intent.customer]],
  createAction: (context) => new StripePaymentIntentAction(context),
}

/** Mirrors payment intents. */
export class StripePaymentIntentAction extends StripeSyncAction<Stripe.PaymentIntent> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
