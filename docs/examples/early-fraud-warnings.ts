import type Stripe from 'stripe'
import { boolean, reference, text } from '../../src/mirror/mirror-column.ts'
import { resource as charges } from '../../src/mirror/resources/charge-resource.ts'
import { resource as paymentIntents } from '../../src/mirror/resources/payment-intent-resource.ts'
import {
  referencesTo,
  type StripeResource,
  type SyncContext,
} from '../../src/mirror/stripe-resource.ts'
import { StripeSyncAction } from '../../src/mirror/stripe-sync-action.ts'

/** @see https://docs.stripe.com/api/radar/early_fraud_warnings/object */
export const resource: StripeResource<Stripe.Radar.EarlyFraudWarning> = {
  name: 'early-fraud-warnings',
  description: 'A warning of a card issuer about a payment that a customer may dispute.',
  objects: ['radar.early_fraud_warning'],
  idPrefixes: ['issfr_'],
  columns: {
    actionable: boolean((warning) => warning.actionable),
    fraud_type: text((warning) => warning.fraud_type),
    charge: reference((warning) => warning.charge),
    payment_intent: reference((warning) => warning.payment_intent),
  },
  views: {
    open_warnings: `select conference_id, id, charge, fraud_type from mirror
      where actionable and deleted_at is null`,
  },
  listing: {
    by: 'pages',
    windows: true,
    page: (stripe, params) => stripe.radar.earlyFraudWarnings.list(params),
  },
  deletable: false,
  retrieve: (stripe, id) => stripe.radar.earlyFraudWarnings.retrieve(id),
  references: (warning) =>
    referencesTo([charges, warning.charge], [paymentIntents, warning.payment_intent]),
  createAction: (context) => new StripeEarlyFraudWarningAction(context),
}

/** Mirrors early fraud warnings. */
export class StripeEarlyFraudWarningAction extends StripeSyncAction<Stripe.Radar.EarlyFraudWarning> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
