import { z } from 'zod'
import type { Tx } from '../../db/connect.ts'
import { mapPage, type Page, type PageQuery } from '../../db/pages.ts'
import { conferenceParams, id, pageOf, pageQuery } from '../../http/common-schemas.ts'
import {
  findMirroredObject,
  listMirroredObjects,
  type StoredMirrorRow,
} from '../../mirror/mirror-store.ts'
import { resource as mirroredCustomers } from '../../mirror/resources/customer-resource.ts'
import { resource as paymentMethods } from '../../mirror/resources/payment-method-resource.ts'
import { tableOf } from '../../mirror/stripe-resource.ts'
import { notFound } from '../../shared/errors.ts'
import { timestamp, toTimestamp } from '../../shared/time.ts'
import type { Customer } from './customer-store.ts'

export const customerParams = conferenceParams.extend({ customer: id })

export const paymentMethodParams = customerParams.extend({
  payment_method: z.string().max(255).meta({ description: "Stripe's id, such as `pm_…`." }),
})

export const createCustomerBody = z.strictObject({
  sponsor: z.string().min(1).max(200).optional().meta({
    description:
      "Id, slug or external id. Required for staff; a sponsor's API key can only name its own sponsor.",
  }),
})

export const updateCustomerBody = z
  .strictObject({
    name: z.string().trim().min(1).max(256).nullable(),
    email: z.email().max(512).nullable(),
  })
  .partial()
  .meta({
    id: 'UpdateCustomer',
    description: "Shown on invoices and receipts. null: the sponsor's own value again.",
  })

export const attachPaymentMethodBody = z
  .strictObject({
    payment_method: z
      .string()
      .regex(/^pm_\w{1,250}$/, 'must be the id of a Stripe payment method: `pm_…`')
      .max(253)
      .meta({ description: 'From Stripe.js, such as `stripe.createPaymentMethod()`.' }),
  })
  .meta({ id: 'AttachPaymentMethod' })

export const customerQuery = z.strictObject({
  ...pageQuery,
  sponsor: z.string().min(1).max(200).optional(),
})

export const paymentMethodQuery = z.strictObject(pageQuery)

export const customerSchema = z
  .object({
    id: z.string(),
    object: z.literal('customer'),
    sponsor: z.string(),
    stripe_customer: z.string().nullable().meta({
      description:
        "The customer's id at Stripe. Null until it exists there and after it was deleted there.",
    }),
    name: z.string().nullable(),
    email: z.string().nullable(),
    default_payment_method: z.string().nullable().meta({
      description: 'The payment method that is charged when a request names none.',
    }),
    as_of: timestamp
      .nullable()
      .meta({ description: 'When the customer was last fetched from Stripe.' }),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'Customer' })

export const customerPage = pageOf(customerSchema).meta({ id: 'CustomerPage' })

export const paymentMethodSchema = z
  .object({
    id: z.string(),
    object: z.literal('payment_method'),
    customer: z.string(),
    type: z.string().nullable(),
    brand: z.string().nullable(),
    last4: z.string().nullable(),
    exp_month: z.int().nullable(),
    exp_year: z.int().nullable(),
    funding: z.string().nullable(),
    country: z.string().nullable(),
    billing_name: z.string().nullable(),
    is_default: z.boolean(),
    created_at: timestamp,
    as_of: timestamp,
  })
  .meta({ id: 'PaymentMethod' })

export const paymentMethodPage = pageOf(paymentMethodSchema).meta({ id: 'PaymentMethodPage' })

export type CustomerBody = z.infer<typeof customerSchema>
export type PaymentMethodBody = z.infer<typeof paymentMethodSchema>

type MirroredCustomer = {
  id: string
  name: string | null
  email: string | null
  default_payment_method: string | null
  default_source: string | null
  as_of: Date
}

const mirrored = (trx: Tx, conferenceId: string, ids: string[]) =>
  trx(tableOf(mirroredCustomers))
    .where({ conference_id: conferenceId, deleted_at: null })
    .whereIn('id', ids)
    .select<MirroredCustomer[]>(
      'id',
      'name',
      'email',
      'default_payment_method',
      'default_source',
      'as_of',
    )

/** API representations of customers, with a fixed number of queries. */
export async function viewCustomers(
  trx: Tx,
  conferenceId: string,
  customers: readonly Customer[],
): Promise<CustomerBody[]> {
  const ids = customers.flatMap(({ stripeCustomerId }) => stripeCustomerId ?? [])
  const rows = ids.length === 0 ? [] : await mirrored(trx, conferenceId, ids)
  const byId = new Map(rows.map((row) => [row.id, row]))
  return customers.map((customer) =>
    toCustomerBody(customer, byId.get(customer.stripeCustomerId ?? '')),
  )
}

function toCustomerBody(customer: Customer, row: MirroredCustomer | undefined): CustomerBody {
  return {
    id: customer.id,
    object: 'customer',
    sponsor: customer.sponsorId,
    stripe_customer: row?.id ?? null,
    name: row?.name ?? customer.params.name,
    email: row?.email ?? customer.params.email,
    default_payment_method: row?.default_payment_method ?? row?.default_source ?? null,
    as_of: row === undefined ? null : toTimestamp(row.as_of),
    created_at: toTimestamp(customer.createdAt),
    updated_at: toTimestamp(customer.updatedAt),
  }
}

export async function viewCustomer(trx: Tx, customer: Customer): Promise<CustomerBody> {
  const [body] = await viewCustomers(trx, customer.conferenceId, [customer])
  if (body === undefined) throw new Error(`Customer ${customer.id} has no representation`)
  return body
}

/** The saved payment methods of a customer from the mirror, newest first. */
export async function viewPaymentMethods(
  trx: Tx,
  customer: Customer,
  page: PageQuery,
): Promise<Page<PaymentMethodBody>> {
  const { stripeCustomerId, conferenceId } = customer
  if (stripeCustomerId === null) return { data: [], has_more: false, next_cursor: null }
  const { default_payment_method: chosen } = await viewCustomer(trx, customer)
  const filter = { equal: { customer: stripeCustomerId }, includeDeleted: false }
  const rows = await listMirroredObjects(trx, paymentMethods, conferenceId, filter, page)
  return mapPage(rows, (row) => toPaymentMethodBody(row, customer, chosen))
}

/** One saved payment method of a customer, from the mirror. @throws AppError `not_found` */
export async function viewPaymentMethod(
  trx: Tx,
  customer: Customer,
  id: string,
): Promise<PaymentMethodBody> {
  const { default_payment_method: chosen } = await viewCustomer(trx, customer)
  const row = await findMirroredObject(trx, paymentMethods, customer.conferenceId, id)
  if (row === null || row.deleted_at !== null) throw notFound('payment method')
  return toPaymentMethodBody(row, customer, chosen)
}

const textOrNull = (value: unknown) => (typeof value === 'string' ? value : null)
const numberOrNull = (value: unknown) => (typeof value === 'number' ? value : null)

function toPaymentMethodBody(
  row: StoredMirrorRow,
  { id }: Customer,
  chosen: string | null,
): PaymentMethodBody {
  return {
    id: row.id,
    object: 'payment_method',
    customer: id,
    type: textOrNull(row['type']),
    brand: textOrNull(row['brand']),
    last4: textOrNull(row['last4']),
    exp_month: numberOrNull(row['exp_month']),
    exp_year: numberOrNull(row['exp_year']),
    funding: textOrNull(row['funding']),
    country: textOrNull(row['country']),
    billing_name: textOrNull(row['billing_name']),
    is_default: row.id === chosen,
    created_at: toTimestamp(row.created),
    as_of: toTimestamp(row.as_of),
  }
}
