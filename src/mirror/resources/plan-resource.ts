import type Stripe from 'stripe'
import { bigint, boolean, json, numeric, reference, text } from '../mirror-column.ts'
import { referencesTo, type StripeResource, type SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as products } from './product-resource.ts'

/**
 * Plans are the older name of recurring prices.
 *
 * @see https://docs.stripe.com/api/plans/object
 */
export const resource: StripeResource<Stripe.Plan> = {
  name: 'plans',
  description: 'The older form of a recurring price.',
  objects: ['plan'],
  // The creator can choose the id, and can reuse the id of a deleted plan.
  idPrefixes: [],
  columns: {
    product: reference((plan) => plan.product),
    active: boolean((plan) => plan.active),
    nickname: text((plan) => plan.nickname),
    currency: text((plan) => plan.currency),
    amount: bigint((plan) => plan.amount),
    amount_decimal: numeric((plan) => plan.amount_decimal),
    interval: text((plan) => plan.interval),
    interval_count: bigint((plan) => plan.interval_count),
    trial_period_days: bigint((plan) => plan.trial_period_days),
    billing_scheme: text((plan) => plan.billing_scheme),
    usage_type: text((plan) => plan.usage_type),
    meter: reference((plan) => plan.meter),
    tiers: json((plan) => plan.tiers),
    tiers_mode: text((plan) => plan.tiers_mode),
    transform_usage: json((plan) => plan.transform_usage),
  },
  listing: {
    by: 'pages',
    windows: true,
    variants: [{ active: true }, { active: false }],
    page: (stripe, params) => stripe.plans.list(params),
  },
  deletable: true,
  // Like prices: plans that are created inline are inactive and appear in no list.
  unlisted: 'mirror.active is false',
  retrieve: (stripe, id) => stripe.plans.retrieve(id),
  references: (plan) => referencesTo([products, plan.product]),
  complete: async (stripe, plan) =>
    plan.billing_scheme === 'tiered' && plan.tiers === undefined
      ? stripe.plans.retrieve(plan.id, { expand: ['tiers'] })
      : plan,
  belongsTo: (plan) => [[products, plan.product]],
  createAction: (context) => new StripePlanAction(context),
}

/** Mirrors plans, including inactive ones. */
export class StripePlanAction extends StripeSyncAction<Stripe.Plan> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
