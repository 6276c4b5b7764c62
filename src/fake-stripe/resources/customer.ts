import type Stripe from 'stripe'
import { type AddressInput, fullAddress } from '../api/address-param.ts'
import { embeddedList } from '../api/item-list.ts'
import { createdWithin, listOperation } from '../api/list-operation.ts'
import { changeMetadata } from '../api/metadata.ts'
import { group, text, timeRange } from '../api/params.ts'
import { type Call, existing, operation, type Resource } from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { givenFields } from '../core/given-fields.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { noSuch } from '../core/stripe-error.ts'
import { cards } from '../objects/card.ts'
import {
  type CustomerFields,
  customers,
  deletedCustomers,
  insertCustomer,
} from '../objects/customer.ts'
import { subscriptions } from '../objects/subscription.ts'
import { nowBy, testClocks } from '../objects/test-clock.ts'
import { attachPaymentMethod } from '../payments/attach-payment-method.ts'
import { addCard } from '../payments/card-source.ts'
import { deleteCustomer } from '../payments/delete-customer.ts'
import { detachPaymentMethod } from '../payments/detach-payment-method.ts'
import {
  type CustomerCreateInput,
  type CustomerUpdateInput,
  customerCreateParams,
  customerUpdateParams,
} from './customer-params.ts'

/** @see https://docs.stripe.com/api/customers */
export const customerResource: Resource = {
  kind: customers.name,
  expandable: {
    default_source: { kind: 'card' },
    invoice_settings: { kind: 'customer.invoice_settings', inline: true },
    sources: { kind: 'card', list: true, load: firstSources },
    subscriptions: { kind: 'subscription', list: true, load: firstSubscriptions },
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
      // A deleted customer is not a 404 but `{ deleted: true }`.
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
        // Customers of a test clock are in no other list.
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
  // A new `source` takes the place of the default one.
  if (replacement !== undefined && old !== null) detachPaymentMethod(call, old)
  return after
}

function cardsOf({ account }: Scope, customer: string): Stripe.Card[] {
  return account.rows(cards).all((card) => idOf(card.customer) === customer)
}

function firstSources(scope: Scope, id: string) {
  return embeddedList(cardsOf(scope, id), `/v1/customers/${id}/sources`)
}

function firstSubscriptions({ account }: Scope, id: string) {
  const current = account
    .rows(subscriptions)
    .all((row) => idOf(row.customer) === id && row.status !== 'canceled')
  return embeddedList(current, `/v1/customers/${id}/subscriptions`)
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
