import type Stripe from 'stripe'
import type { z } from 'zod'
import { createdWithin, listOperation } from '../api/list-operation.ts'
import { changeMetadata, metadataParam } from '../api/metadata.ts'
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
  unsupported,
} from '../api/params.ts'
import { type Call, existing, operation, type Resource } from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { givenFields } from '../core/given-fields.ts'
import {
  type CustomerFields,
  customers,
  deletedCustomers,
  insertCustomer,
} from '../objects/customer.ts'
import { attachPaymentMethod } from '../payments/attach-payment-method.ts'

const address = {
  city: text().optional(),
  country: text({ max: 2 }).optional(),
  line1: text().optional(),
  line2: text().optional(),
  postal_code: text().optional(),
  state: text().optional(),
}

const shared = {
  address: emptyable(group(address)).optional(),
  balance: integer().optional(),
  business_name: emptyable(text({ max: 150 })).optional(),
  cash_balance: ignored(),
  // The SDK's types do not let these be emptied, but Stripe does.
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
    group({ address: group(address), name: text(), phone: text().optional() }),
  ).optional(),
  source: unsupported('sources'),
  tax: ignored(),
  tax_exempt: emptyable(choice('tax_exempt', ['exempt', 'none', 'reverse'])).optional(),
  validate: ignored(),
}

const createParams = group({
  ...shared,
  payment_method: text().optional(),
  tax_id_data: ignored(),
  test_clock: unsupported('test clocks'),
} satisfies ShapeOf<Stripe.CustomerCreateParams>)

const updateParams = group({
  ...shared,
  default_source: unsupported('sources'),
} satisfies ShapeOf<Stripe.CustomerUpdateParams>)

/** @see https://docs.stripe.com/api/customers */
export const customerResource: Resource = {
  kind: customers.name,
  expandable: {},
  operations: [
    operation({
      method: 'POST',
      path: '/v1/customers',
      returns: customers.name,
      params: createParams,
      run(call, params) {
        const customer = insertCustomer(call, fieldsOf(params, undefined))
        if (params.payment_method !== undefined)
          attachPaymentMethod(call, params.payment_method, customer.id, 'payment_method', 400)
        emitEvent(call, 'customer.created', customer)
        return customer
      },
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
      params: updateParams,
      run(call, params, { id = '' }) {
        const before = existing(call, customers, id, 'id', 404)
        const after = changeRow(call, customers, id, fieldsOf(params, before))
        emitEvent(call, 'customer.updated', after, before)
        return after
      },
    }),
    operation({
      method: 'DELETE',
      path: '/v1/customers/:id',
      returns: customers.name,
      params: group({}),
      run: (call, _params, { id = '' }) => deleteCustomer(call, id),
    }),
    listOperation({
      path: '/v1/customers',
      table: customers,
      filters: {
        created: timeRange().optional(),
        email: text().optional(),
        test_clock: unsupported('test clocks'),
      },
      where({ created, email: wanted }) {
        const within = createdWithin(created)
        return (customer) => within(customer) && (wanted ?? customer.email) === customer.email
      },
    }),
  ],
}

function deleteCustomer(call: Call, id: string): Stripe.DeletedCustomer {
  const customer = existing(call, customers, id, 'id', 404)
  call.account.rows(customers).remove(id)
  const deleted = { id, object: 'customer', deleted: true } as const
  call.account.rows(deletedCustomers).insert(deleted)
  emitEvent(call, 'customer.deleted', customer)
  return deleted
}

function fieldsOf(
  params: z.output<typeof updateParams>,
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

type AddressInput = { [K in keyof typeof address]?: string | undefined }

function fullAddress(input: AddressInput): Stripe.Address {
  return {
    city: input.city ?? null,
    country: input.country ?? null,
    line1: input.line1 ?? null,
    line2: input.line2 ?? null,
    postal_code: input.postal_code ?? null,
    state: input.state ?? null,
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
