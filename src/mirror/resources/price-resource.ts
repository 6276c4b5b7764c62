import type Stripe from 'stripe'
import { bigint, boolean, json, numeric, reference, text } from '../mirror-column.ts'
import { referencesTo, type StripeResource, type SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'
import { resource as products } from './product-resource.ts'

/** @see https://docs.stripe.com/api/prices/object */
export const resource: StripeResource<Stripe.Price> = {
  name: 'prices',
  description: 'A one-time or recurring price of a product. Includes inactive prices.',
  objects: ['price'],
  // A plan is also a price, and the creator can choose its id.
  idPrefixes: [],
  columns: {
    product: reference((price) => price.product),
    active: boolean((price) => price.active),
    nickname: text((price) => price.nickname),
    lookup_key: text((price) => price.lookup_key, { indexed: true }),
    type: text((price) => price.type),
    currency: text((price) => price.currency),
    unit_amount: bigint((price) => price.unit_amount),
    unit_amount_decimal: numeric((price) => price.unit_amount_decimal),
    custom_unit_amount: json((price) => price.custom_unit_amount),
    billing_scheme: text((price) => price.billing_scheme),
    tax_behavior: text((price) => price.tax_behavior),
    recurring: json((price) => price.recurring),
    recurring_interval: text((price) => price.recurring?.interval),
    recurring_interval_count: bigint((price) => price.recurring?.interval_count),
    recurring_usage_type: text((price) => price.recurring?.usage_type),
    tiers: json((price) => price.tiers),
    tiers_mode: text((price) => price.tiers_mode),
    transform_quantity: json((price) => price.transform_quantity),
  },
  listing: {
    by: 'pages',
    windows: true,
    // Without `active`, Stripe lists only active prices.
    variants: [{ active: true }, { active: false }],
    page: (stripe, params) => stripe.prices.list(params),
  },
  deletable: true,
  // Prices that are created inline, as our Checkout sessions do, are inactive and appear in no list.
  unlisted: 'mirror.active is false',
  retrieve: (stripe, id) => stripe.prices.retrieve(id),
  references: (price) => referencesTo([products, price.product]),
  // The amounts of a tiered price are in its tiers, which Stripe returns only when they are expanded.
  complete: async (stripe, price) =>
    price.billing_scheme === 'tiered' && price.tiers === undefined
      ? stripe.prices.retrieve(price.id, { expand: ['tiers'] })
      : price,
  belongsTo: (price) => [[products, price.product]],
  createAction: (context) => new StripePriceAction(context),
}

/** Mirrors prices, including inactive ones. */
export class StripePriceAction extends StripeSyncAction<Stripe.Price> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
