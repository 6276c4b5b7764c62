import type Stripe from 'stripe'
import { boolean, json, reference, text, timestamp } from '../mirror-column.ts'
import type { StripeResource, SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'

/** @see https://docs.stripe.com/api/products/object */
export const resource: StripeResource<Stripe.Product> = {
  name: 'products',
  description: 'A product that is sold. Its prices are separate objects.',
  objects: ['product'],
  // The creator can choose the id.
  idPrefixes: [],
  columns: {
    active: boolean((product) => product.active),
    name: text((product) => product.name),
    description: text((product) => product.description),
    type: text((product) => product.type),
    default_price: reference((product) => product.default_price),
    images: json((product) => product.images),
    marketing_features: json((product) => product.marketing_features),
    package_dimensions: json((product) => product.package_dimensions),
    shippable: boolean((product) => product.shippable),
    statement_descriptor: text((product) => product.statement_descriptor),
    tax_code: reference((product) => product.tax_code),
    unit_label: text((product) => product.unit_label),
    updated: timestamp((product) => product.updated),
    url: text((product) => product.url),
  },
  listing: {
    by: 'pages',
    windows: true,
    variants: [{ active: true }, { active: false }],
    page: (stripe, params) => stripe.products.list(params),
  },
  deletable: true,
  retrieve: (stripe, id) => stripe.products.retrieve(id),
  createAction: (context) => new StripeProductAction(context),
}

/** Mirrors products, including archived ones. */
export class StripeProductAction extends StripeSyncAction<Stripe.Product> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
