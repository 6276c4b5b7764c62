import type Stripe from 'stripe'
import { bigint, boolean, json, reference, text } from '../mirror-column.ts'
import type { StripeResource, SyncContext } from '../stripe-resource.ts'
import { StripeSyncAction } from '../stripe-sync-action.ts'

/** @see https://docs.stripe.com/api/customers/object */
export const resource: StripeResource<Stripe.Customer> = {
  name: 'customers',
  description: 'A person or company that pays.',
  objects: ['customer'],
  idPrefixes: ['cus_'],
  columns: {
    name: text((customer) => customer.name),
    email: text((customer) => customer.email, { indexed: true }),
    phone: text((customer) => customer.phone),
    description: text((customer) => customer.description),
    address: json((customer) => customer.address),
    shipping: json((customer) => customer.shipping),
    balance: bigint((customer) => customer.balance),
    currency: text((customer) => customer.currency),
    delinquent: boolean((customer) => customer.delinquent),
    default_source: reference((customer) => customer.default_source),
    default_payment_method: reference(
      (customer) => customer.invoice_settings?.default_payment_method,
    ),
    invoice_prefix: text((customer) => customer.invoice_prefix),
    invoice_settings: json((customer) => customer.invoice_settings),
    preferred_locales: json((customer) => customer.preferred_locales),
    tax_exempt: text((customer) => customer.tax_exempt),
  },
  listing: {
    by: 'pages',
    windows: true,
    page: (stripe, params) => stripe.customers.list(params),
  },
  deletable: true,
  // For a deleted customer Stripe returns `{ deleted: true }`, not a 404. The SDK gives it another type.
  retrieve: (stripe, id) => stripe.customers.retrieve(id) as Promise<Stripe.Customer>,
  usedBy: [
    ['payment-intents', 'customer'],
    ['checkout-sessions', 'customer'],
    ['subscriptions', 'customer'],
  ],
  createAction: (context) => new StripeCustomerAction(context),
}

/** Mirrors customers. Deleted customers become tombstones. */
export class StripeCustomerAction extends StripeSyncAction<Stripe.Customer> {
  constructor(context: SyncContext) {
    super(context, resource)
  }
}
