import type Stripe from 'stripe'
import { fakeId } from '../core/fake-id.ts'
import type { Scope } from '../core/scope.ts'
import { alreadyExists } from '../core/stripe-error.ts'
import { defineTable } from '../core/table.ts'

export const products = defineTable<Stripe.Product>('product')

export type ProductFields = Partial<Omit<Stripe.Product, 'object' | 'livemode'>>

/**
 * A new product, without an event.
 *
 * @throws StripeError when the id is taken.
 */
export function insertProduct(scope: Scope, fields: ProductFields): Stripe.Product {
  const { account } = scope
  if (fields.id !== undefined && account.rows(products).get(fields.id) !== undefined)
    throw alreadyExists('Product')
  return account.rows(products).insert(buildProduct(scope, fields))
}

/** A product that is not stored yet. */
export function buildProduct({ account, world }: Scope, fields: ProductFields): Stripe.Product {
  const created = fields.created ?? world.clock.seconds()
  return {
    id: fakeId('prod_', 14),
    object: 'product',
    active: true,
    created,
    default_price: null,
    description: null,
    images: [],
    livemode: account.livemode,
    marketing_features: [],
    metadata: {},
    name: '',
    package_dimensions: null,
    shippable: null,
    statement_descriptor: null,
    tax_code: null,
    tax_details: null,
    type: 'service',
    unit_label: null,
    updated: created,
    url: null,
    ...fields,
  }
}
