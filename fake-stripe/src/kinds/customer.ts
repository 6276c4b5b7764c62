import type Stripe from 'stripe'
import { fakeId } from '../core/ids.ts'
import { defineTable } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'

/** A deleted customer stays readable by its id, as `{ deleted: true }`. */
export const customers = defineTable<Stripe.Customer>('customer')
export const deletedCustomers = defineTable<Stripe.DeletedCustomer>('deleted_customer')

export type CustomerFields = Partial<
  Pick<
    Stripe.Customer,
    | 'address'
    | 'balance'
    | 'business_name'
    | 'created'
    | 'description'
    | 'email'
    | 'individual_name'
    | 'metadata'
    | 'name'
    | 'phone'
    | 'preferred_locales'
    | 'shipping'
    | 'tax_exempt'
    | 'test_clock'
  >
>

/** Stores a new customer, without an event. */
export function insertCustomer(scope: Scope, fields: CustomerFields): Stripe.Customer {
  return scope.account.rows(customers).insert(buildCustomer(scope, fields))
}

/** Builds a customer. */
export function buildCustomer({ account, world }: Scope, fields: CustomerFields): Stripe.Customer {
  return {
    id: fakeId('cus_', 14),
    object: 'customer',
    address: null,
    balance: 0,
    created: world.clock.seconds(),
    currency: null,
    default_source: null,
    delinquent: false,
    description: null,
    discount: null,
    email: null,
    invoice_prefix: fakeId('', 8).toUpperCase(),
    invoice_settings: {
      custom_fields: null,
      default_payment_method: null,
      footer: null,
      rendering_options: null,
    },
    livemode: account.livemode,
    metadata: {},
    name: null,
    next_invoice_sequence: 1,
    phone: null,
    preferred_locales: [],
    shipping: null,
    tax_exempt: 'none',
    test_clock: null,
    ...fields,
  }
}
