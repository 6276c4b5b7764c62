import type Stripe from 'stripe'
import type { z } from 'zod'
import {
  type AddressInput,
  addressParam,
  addressShape,
  changeMetadata,
  fullAddress,
  metadataParam,
} from '../api/common-params.ts'
import {
  type Call,
  createdWithin,
  existing,
  listOperation,
  loadRelated,
  operation,
  type Resource,
} from '../api/operations.ts'
import {
  choice,
  email,
  emptyable,
  group,
  ignored,
  integer,
  list,
  type ShapeOf,
  text,
  timeRange,
} from '../api/params.ts'
import { searchOperation } from '../api/search.ts'
import { changeRow, emitEvent, givenFields, requireRow } from '../core/changes.ts'
import { noSuch } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import type { Scope } from '../core/scope.ts'
import { type CustomerFields, customers, deletedCustomers, insertCustomer } from './customer.ts'
import { paymentMethods } from './payment-method.ts'
import { addCard, attachPaymentMethod, cards, detachPaymentMethod } from './saved-payment-method.ts'
import { subscriptions } from './subscription.ts'
import { cancelSubscription, ENDED } from './subscription-billing.ts'
import { nowBy, testClocks } from './test-clock.ts'

const shared = {
  address: addressParam().optional(),
  balance: integer().optional(),
  business_name: emptyable(text({ max: 150 })).optional(),
  cash_balance: ignored(),
  // Stripe accepts an empty value here, though the SDK's types do not.
  description: emptyable(text()).optional(),
  email: emptyable(email()).optional(),
  individual_name: emptyable(text({ max: 150 })).optional(),
  invoice_prefix: text({ max: 12 }).optional(),
  invoice_settings: group({
    custom_fields: ignored(),
    default_payment_method: text().optional(),
    footer: text().optional(),
    rendering_options: ignored(),
  }).optional(),
  metadata: metadataParam().optional(),
  name: emptyable(text({ max: 256 })).optional(),
  next_invoice_sequence: integer({ min: 1 }).optional(),
  phone: emptyable(text({ max: 20 })).optional(),
  preferred_locales: list(text()).optional(),
  shipping: emptyable(
    group({ address: group(addressShape), name: text(), phone: text().optional() }),
  ).optional(),
  source: text().optional(),
  tax: ignored(),
  tax_exempt: emptyable(choice('tax_exempt', ['exempt', 'none', 'reverse'])).optional(),
  validate: ignored(),
}

/** `POST /v1/customers` */
const customerCreateParams = group({
  ...shared,
  payment_method: text().optional(),
  tax_id_data: ignored(),
  test_clock: text().optional(),
} satisfies ShapeOf<Stripe.CustomerCreateParams>)

/** `POST /v1/customers/:id` */
const customerUpdateParams = group({
  ...shared,
  default_source: text().optional(),
} satisfies ShapeOf<Stripe.CustomerUpdateParams>)

type CustomerCreateInput = z.output<typeof customerCreateParams>
type CustomerUpdateInput = z.output<typeof customerUpdateParams>

/** @see https://docs.stripe.com/api/customers */
export const customerResource: Resource = {
  kind: customers.name,
  expandable: {
    default_source: { kind: 'card' },
    invoice_settings: { kind: 'customer.invoice_settings', inline: true },
    sources: { kind: 'card', list: true, load: loadRelated('card', 'customer', sourcesUrl) },
    subscriptions: {
      kind: 'subscription',
      list: true,
      load: loadRelated('subscription', 'customer', subscriptionsUrl, isNotCanceled),
    },
    test_clock: { kind: 'test_helpers.test_clock' },
  },
  operations: [
    operation({
      method: 'POST',
      path: '/v1/customers',
      returns: customers.name,
      params: customerCreateParams,
      run: createCustomer,
    }),
    operation({
      method: 'GET',
      path: '/v1/customers/:id',
      returns: customers.name,
      params: group({}),
      // For a deleted customer Stripe returns `{ deleted: true }`, not 404.
      run: (call, _params, { id = '' }) =>
        call.account.rows(deletedCustomers).get(id) ?? existing(call, customers, id, 'id', 404),
    }),
    operation({
      method: 'POST',
      path: '/v1/customers/:id',
      returns: customers.name,
      params: customerUpdateParams,
      run: (call, params, { id = '' }) => updateCustomer(call, id, params),
    }),
    operation({
      method: 'DELETE',
      path: '/v1/customers/:id',
      returns: customers.name,
      params: group({}),
      run(call, _params, { id = '' }) {
        existing(call, customers, id, 'id', 404)
        return deleteCustomer(call, id)
      },
    }),
    searchOperation({
      path: '/v1/customers/search',
      table: customers,
      fields: { created: 'numeric', email: 'string', name: 'string', phone: 'string' },
    }),
    listOperation({
      path: '/v1/customers',
      table: customers,
      filters: {
        created: timeRange().optional(),
        email: text().optional(),
        test_clock: text().optional(),
      },
      where({ created, email: wanted, test_clock: clock = null }) {
        const within = createdWithin(created)
        // Customers of a test clock appear only in the list of that clock.
        return (customer) =>
          within(customer) &&
          (wanted ?? customer.email) === customer.email &&
          idOf(customer.test_clock) === clock
      },
    }),
  ],
}

/** Part of a customer; it has no endpoint of its own. */
export const invoiceSettingsResource: Resource = {
  kind: 'customer.invoice_settings',
  expandable: { default_payment_method: { kind: 'payment_method' } },
  operations: [],
}

function createCustomer(call: Call, params: CustomerCreateInput): Stripe.Customer {
  const { payment_method: method, source, test_clock: clock = null, ...fields } = params
  if (clock !== null) existing(call, testClocks, clock, 'test_clock')
  const { id } = insertCustomer(call, {
    ...fieldsOf(fields, undefined),
    created: nowBy(call, clock),
    test_clock: clock,
  })
  if (method !== undefined) attachPaymentMethod(call, method, id, 'payment_method', 400)
  if (source !== undefined)
    changeRow(call, customers, id, { default_source: addCard(call, id, source).id })
  const customer = requireRow(call, customers, id)
  emitEvent(call, 'customer.created', customer)
  return customer
}

function updateCustomer(call: Call, id: string, params: CustomerUpdateInput): Stripe.Customer {
  const before = existing(call, customers, id, 'id', 404)
  const { default_source: wanted, source } = params
  if (wanted !== undefined && cardsOf(call, id).every((card) => card.id !== wanted))
    throw noSuch('source', wanted, 'default_source')
  const fields = fieldsOf(params, before)
  const replacement = source === undefined ? undefined : addCard(call, id, source).id
  const old = idOf(before.default_source)
  const after = changeRow(call, customers, id, {
    ...fields,
    ...givenFields({ default_source: replacement ?? wanted }),
  })
  emitEvent(call, 'customer.updated', after, before)
  // A new `source` replaces the default one.
  if (replacement !== undefined && old !== null) detachPaymentMethod(call, old)
  return after
}

function cardsOf({ account }: Scope, customer: string): Stripe.Card[] {
  return account.rows(cards).all((card) => idOf(card.customer) === customer)
}

function sourcesUrl(customer: string): string {
  return `/v1/customers/${customer}/sources`
}

function subscriptionsUrl(customer: string): string {
  return `/v1/customers/${customer}/subscriptions`
}

function isNotCanceled({ status }: Record<string, unknown>): boolean {
  return status !== 'canceled'
}

function fieldsOf(
  params: CustomerUpdateInput,
  before: Stripe.Customer | undefined,
): CustomerFields & Pick<Stripe.Customer, 'invoice_settings'> {
  const { address: place, shipping, business_name: business, individual_name: person } = params
  const { balance, description, name, phone, email: mail } = params
  const method = params.invoice_settings?.default_payment_method
  const settings = before?.invoice_settings ?? {
    custom_fields: null,
    default_payment_method: null,
    footer: null,
    rendering_options: null,
  }
  return {
    ...givenFields({ balance, description, name, phone, email: mail }),
    ...givenFields({ preferred_locales: params.preferred_locales }),
    ...(params.tax_exempt === undefined ? {} : { tax_exempt: params.tax_exempt ?? 'none' }),
    ...(business === undefined || business === null ? {} : { business_name: business }),
    ...(person === undefined || person === null ? {} : { individual_name: person }),
    ...(place === undefined ? {} : { address: place && fullAddress(place) }),
    ...(shipping === undefined ? {} : { shipping: shipping && fullShipping(shipping) }),
    metadata: changeMetadata(before?.metadata ?? {}, params.metadata),
    invoice_settings:
      method === undefined ? settings : { ...settings, default_payment_method: method },
  }
}

function fullShipping(input: {
  address: AddressInput
  name: string
  phone?: string | undefined
}): Stripe.Customer.Shipping {
  const { address: place, name, phone } = input
  return { address: fullAddress(place), name, ...(phone === undefined ? {} : { phone }) }
}

/**
 * Deletes a customer with its subscriptions and saved payment methods. Only `{ deleted: true }`
 * stays readable under its id.
 *
 * @see https://docs.stripe.com/api/customers/delete
 */
export function deleteCustomer(scope: Scope, id: string): Stripe.DeletedCustomer {
  const { account } = scope
  const customer = requireRow(scope, customers, id)
  for (const subscription of account.rows(subscriptions).all((row) => idOf(row.customer) === id))
    if (!ENDED.includes(subscription.status)) cancelSubscription(scope, subscription.id)
  // Removed before its payment methods, so that detaching them does not change its defaults.
  account.rows(customers).remove(id)
  for (const method of account.rows(paymentMethods).all((row) => idOf(row.customer) === id))
    detachPaymentMethod(scope, method.id)
  const deleted = { id, object: 'customer', deleted: true } as const
  account.rows(deletedCustomers).insert(deleted)
  emitEvent(scope, 'customer.deleted', customer)
  return deleted
}
