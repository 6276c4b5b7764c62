import type Stripe from 'stripe'
import { boolean, json, reference, text } from '../mirror-column.ts'
import { referencesTo, type StripeResource, type SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as customers } from './customer-resource.ts'
import { resource as paymentMethods } from './payment-method-resource.ts'

/** @see https://docs.stripe.com/api/setup_intents/object */
export const resource: StripeResource<Stripe.SetupIntent> = {
  name: 'setup-intents',
  description: 'The set-up of a payment method for later payments.',
  objects: ['setup_intent'],
  idPrefixes: ['seti_'],
  columns: {
    status: text((intent) => intent.status),
    usage: text((intent) => intent.usage),
    customer: reference((intent) => intent.customer),
    payment_method: reference((intent) => intent.payment_method),
    payment_method_types: json((intent) => intent.payment_method_types),
    mandate: reference((intent) => intent.mandate),
    single_use_mandate: reference((intent) => intent.single_use_mandate),
    latest_attempt: reference((intent) => intent.latest_attempt),
    attach_to_self: boolean((intent) => intent.attach_to_self),
    cancellation_reason: text((intent) => intent.cancellation_reason),
    last_setup_error_code: text((intent) => intent.last_setup_error?.code),
    last_setup_error_decline_code: text((intent) => intent.last_setup_error?.decline_code),
    last_setup_error_message: text((intent) => intent.last_setup_error?.message),
    description: text((intent) => intent.description),
  },
  listing: {
    by: 'pages',
    windows: true,
    page: (stripe, params) => stripe.setupIntents.list(params),
  },
  deletable: false,
  retrieve: (stripe, id) => stripe.setupIntents.retrieve(id),
  references: (intent) =>
    referencesTo([customers, intent.customer], [paymentMethods, intent.payment_method]),
  belongsTo: (intent) => [[customers, intent.customer]],
  createAction: (context) => new StripeSetupIntentAction(context),
}

/** Mirrors setup intents. */
export class StripeSetupIntentAction extends StripeSyncAction<Stripe.SetupIntent> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
