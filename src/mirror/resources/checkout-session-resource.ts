import type Stripe from 'stripe'
import { bigint, reference, text, timestamp } from '../mirror-column.ts'
import { referencesTo, type StripeResource, type SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as customers } from './customer-resource.ts'
import { resource as paymentIntents } from './payment-intent-resource.ts'
import { resource as setupIntents } from './setup-intent-resource.ts'
import { resource as subscriptions } from './subscription-resource.ts'

/** @see https://docs.stripe.com/api/checkout/sessions/object */
export const resource: StripeResource<Stripe.Checkout.Session> = {
  name: 'checkout-sessions',
  description: "A session of Stripe's payment page. Includes expired sessions.",
  objects: ['checkout.session'],
  idPrefixes: ['cs_'],
  columns: {
    status: text((session) => session.status),
    payment_status: text((session) => session.payment_status),
    mode: text((session) => session.mode),
    amount_subtotal: bigint((session) => session.amount_subtotal),
    amount_total: bigint((session) => session.amount_total),
    amount_discount: bigint((session) => session.total_details?.amount_discount),
    amount_shipping: bigint((session) => session.total_details?.amount_shipping),
    amount_tax: bigint((session) => session.total_details?.amount_tax),
    currency: text((session) => session.currency),
    customer: reference((session) => session.customer),
    // The address that the customer entered, or else the one that the session was created with.
    customer_email: text((session) => session.customer_details?.email ?? session.customer_email, {
      indexed: true,
    }),
    customer_name: text((session) => session.customer_details?.name),
    client_reference_id: text((session) => session.client_reference_id, { indexed: true }),
    payment_intent: reference((session) => session.payment_intent),
    setup_intent: reference((session) => session.setup_intent),
    subscription: reference((session) => session.subscription),
    invoice: reference((session) => session.invoice),
    payment_link: reference((session) => session.payment_link),
    recovered_from: reference((session) => session.recovered_from),
    expires_at: timestamp((session) => session.expires_at),
    ui_mode: text((session) => session.ui_mode),
    locale: text((session) => session.locale),
    url: text((session) => session.url),
    success_url: text((session) => session.success_url),
    cancel_url: text((session) => session.cancel_url),
  },
  listing: {
    by: 'pages',
    windows: true,
    page: (stripe, params) => stripe.checkout.sessions.list(params),
  },
  deletable: false,
  retrieve: (stripe, id) => stripe.checkout.sessions.retrieve(id),
  references: (session) =>
    referencesTo(
      [customers, session.customer],
      [paymentIntents, session.payment_intent],
      [subscriptions, session.subscription],
    ),
  belongsTo: (session) => [
    [paymentIntents, session.payment_intent],
    [setupIntents, session.setup_intent],
    [subscriptions, session.subscription],
    [customers, session.customer],
  ],
  createAction: (context) => new StripeCheckoutSessionAction(context),
}

/** Mirrors Checkout sessions, including expired ones. */
export class StripeCheckoutSessionAction extends StripeSyncAction<Stripe.Checkout.Session> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
