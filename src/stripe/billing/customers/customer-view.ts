import type { z } from 'zod'
import type { Tx } from '../../../db/connect.ts'
import { toTimestamp } from '../../../http/common-schemas.ts'
import { mapPage, type Page, type PageQuery } from '../../../http/pages.ts'
import { listMirror, type StoredMirrorRow } from '../../sync/mirror-store.ts'
import { resource as mirroredCustomers } from '../../sync/resources/customers.ts'
import { resource as paymentMethods } from '../../sync/resources/payment-methods.ts'
import { tableOf } from '../../sync/stripe-resource.ts'
import type { Customer } from './customer.ts'
import type { customerSchema, paymentMethodSchema } from './customer-schemas.ts'

export type CustomerBody = z.infer<typeof customerSchema>
export type PaymentMethodBody = z.infer<typeof paymentMethodSchema>

type Mirrored = {
  id: string
  name: string | null
  email: string | null
  default_payment_method: string | null
  default_source: string | null
  as_of: Date
}

/** The API's objects of customers, in a fixed number of queries. */
export async function viewCustomers(
  trx: Tx,
  conferenceId: string,
  customers: readonly Customer[],
): Promise<CustomerBody[]> {
  const ids = customers.flatMap(({ stripeCustomerId }) => stripeCustomerId ?? [])
  const rows = await trx(tableOf(mirroredCustomers))
    .where({ conference_id: conferenceId, deleted_at: null })
    .whereIn('id', ids)
    .select<Mirrored[]>('id', 'name', 'email', 'default_payment_method', 'default_source', 'as_of')
  const byId = new Map(rows.map((row) => [row.id, row]))
  return customers.map((customer) => toBody(customer, byId.get(customer.stripeCustomerId ?? '')))
}

function toBody(customer: Customer, row: Mirrored | undefined): CustomerBody {
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
  if (body === undefined) throw new Error(`Customer ${customer.id} has no view`)
  return body
}

/** The saved payment methods of a customer as the mirror has them, newest first. */
export async function viewPaymentMethods(
  trx: Tx,
  customer: Customer,
  page: PageQuery,
): Promise<Page<PaymentMethodBody>> {
  const { stripeCustomerId, conferenceId } = customer
  if (stripeCustomerId === null) return { data: [], has_more: false, next_cursor: null }
  const { default_payment_method: chosen } = await viewCustomer(trx, customer)
  const filter = { equal: { customer: stripeCustomerId }, includeDeleted: false }
  const rows = await listMirror(trx, paymentMethods, conferenceId, filter, page)
  return mapPage(rows, (row) => toMethodBody(row, customer, chosen))
}

const text = (value: unknown) => (typeof value === 'string' ? value : null)
const number = (value: unknown) => (typeof value === 'number' ? value : null)

function toMethodBody(
  row: StoredMirrorRow,
  { id }: Customer,
  chosen: string | null,
): PaymentMethodBody {
  return {
    id: row.id,
    object: 'payment_method',
    customer: id,
    type: text(row['type']),
    brand: text(row['brand']),
    last4: text(row['last4']),
    exp_month: number(row['exp_month']),
    exp_year: number(row['exp_year']),
    funding: text(row['funding']),
    country: text(row['country']),
    billing_name: text(row['billing_name']),
    is_default: row.id === chosen,
    created_at: toTimestamp(row.created),
    as_of: toTimestamp(row.as_of),
  }
}
