import type { Tx } from '../../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../../db/pages.ts'
import { resource as mirroredCustomers } from '../../mirror/resources/customer-resource.ts'
import { tableOf } from '../../mirror/stripe-resource.ts'
import { notFound } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import type { Sponsor } from '../../sponsors/sponsor-store.ts'

/** A sponsor that pays with a saved card. There is one customer per sponsor. */
export type Customer = {
  conferenceId: string
  id: string
  sponsorId: string
  /** What the customer has in place of its sponsor's name and address. Null: the sponsor's. */
  own: CustomerDetails
  /** The name and address in the last request to Stripe; before the first, those of the creation. */
  params: CustomerParams
  generation: number
  /** When the creation was first requested at Stripe; null before. */
  triedAt: Date | null
  /** Null until the customer exists at Stripe, and after it was deleted there. */
  stripeCustomerId: string | null
  createdAt: Date
  updatedAt: Date
}

export type CustomerParams = { name: string; email: string | null }

export type CustomerDetails = { name: string | null; email: string | null }

export type CustomerRef = { conferenceId: string; customerId: string }

type CustomerRow = {
  conference_id: string
  id: string
  sponsor_id: string
  name: string | null
  email: string | null
  params: CustomerParams
  generation: number
  tried_at: Date | null
  stripe_customer_id: string | null
  created_at: Date
  updated_at: Date
}

const COLUMNS = [
  'conference_id',
  'id',
  'sponsor_id',
  'name',
  'email',
  'params',
  'generation',
  'tried_at',
  'stripe_customer_id',
  'created_at',
  'updated_at',
] as const

export function toCustomer(row: CustomerRow): Customer {
  return {
    conferenceId: row.conference_id,
    id: row.id,
    sponsorId: row.sponsor_id,
    own: { name: row.name, email: row.email },
    params: row.params,
    generation: row.generation,
    triedAt: row.tried_at,
    stripeCustomerId: row.stripe_customer_id,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

const idempotencyKeyOf = (id: string, generation: number) => `customer:${id}:${generation}`

const customerKey = ({ conferenceId, customerId }: CustomerRef) => ({
  conference_id: conferenceId,
  id: customerId,
})

/** The id of the sponsor's row, which is created if it is missing. Makes no request to Stripe. */
export async function obtainCustomerRow(
  trx: Tx,
  conferenceId: string,
  sponsor: Sponsor,
  createdBy: string,
): Promise<string> {
  const id = newId('customer')
  await trx('customers')
    .insert({
      conference_id: conferenceId,
      id,
      sponsor_id: sponsor.id,
      params: JSON.stringify({ name: sponsor.name, email: sponsor.contactEmail }),
      idempotency_key: idempotencyKeyOf(id, 1),
      created_by: createdBy,
    })
    .onConflict(['conference_id', 'sponsor_id'])
    .ignore()
  const row = await trx('customers')
    .where({ conference_id: conferenceId, sponsor_id: sponsor.id })
    .first<{ id: string } | undefined>('id')
  if (row === undefined) throw new Error(`Sponsor ${sponsor.id} has no customer after its insert`)
  return row.id
}

/**
 * @param sponsorId - of a sponsor's API key: customers of other sponsors are not found.
 * @throws AppError `not_found`
 */
export async function getCustomer(
  trx: Tx,
  ref: CustomerRef,
  sponsorId: string | null = null,
): Promise<Customer> {
  const query = trx('customers').where(customerKey(ref))
  if (sponsorId !== null) void query.where({ sponsor_id: sponsorId })
  const row = await query.first<CustomerRow | undefined>([...COLUMNS])
  if (row === undefined) throw notFound('customer')
  return toCustomer(row)
}

/** The sponsor's customer, or null. */
export async function findSponsorCustomer(
  trx: Tx,
  conferenceId: string,
  sponsorId: string,
): Promise<Customer | null> {
  const row = await trx('customers')
    .where({ conference_id: conferenceId, sponsor_id: sponsorId })
    .first<CustomerRow | undefined>([...COLUMNS])
  return row === undefined ? null : toCustomer(row)
}

/** The customers with these ids at Stripe. */
export async function findByStripeIds(
  trx: Tx,
  conferenceId: string,
  stripeIds: readonly string[],
): Promise<Customer[]> {
  const rows = await trx('customers')
    .where({ conference_id: conferenceId })
    .whereIn('stripe_customer_id', [...stripeIds])
    .select<CustomerRow[]>([...COLUMNS])
  return rows.map(toCustomer)
}

export function listCustomers(
  trx: Tx,
  conferenceId: string,
  sponsorId: string | null,
  page: PageQuery,
): Promise<Page<CustomerRow>> {
  const query = trx('customers').where({ conference_id: conferenceId })
  if (sponsorId !== null) void query.where({ sponsor_id: sponsorId })
  return fetchPage(query.select([...COLUMNS]), page)
}

/** Saves the id at Stripe, unless a concurrent call has saved one. */
export async function saveStripeId(trx: Tx, ref: CustomerRef, stripeId: string): Promise<void> {
  await trx('customers')
    .where({ ...customerKey(ref), stripe_customer_id: null })
    .update({ stripe_customer_id: stripeId, updated_at: trx.fn.now() })
}

/** Notes that the request to create the customer is sent now. */
export async function noteCustomerRequest(
  trx: Tx,
  ref: CustomerRef,
): Promise<{ idempotencyKey: string; askedBefore: boolean }> {
  const row = await trx('customers')
    .where(customerKey(ref))
    .forUpdate()
    .first<{ idempotency_key: string; tried_at: Date | null } | undefined>(
      'idempotency_key',
      'tried_at',
    )
  if (row === undefined) throw notFound('customer')
  await trx('customers')
    .where(customerKey(ref))
    .update({ tried_at: trx.raw('coalesce(tried_at, now())') })
  return { idempotencyKey: row.idempotency_key, askedBefore: row.tried_at !== null }
}

/**
 * Makes the row ready for another creation, because its customer was deleted at Stripe, or because
 * Stripe created none under the old key. Of concurrent calls, one has an effect.
 */
export async function renewIdempotencyKey(
  trx: Tx,
  ref: CustomerRef,
  generation: number,
): Promise<void> {
  await trx('customers')
    .where({ ...customerKey(ref), generation })
    .update({
      generation: generation + 1,
      idempotency_key: idempotencyKeyOf(ref.customerId, generation + 1),
      stripe_customer_id: null,
      tried_at: null,
      updated_at: trx.fn.now(),
    })
}

/** Saves the name and address of the next or last request to Stripe, and those of the customer's own. */
export async function saveCustomerDetails(
  trx: Tx,
  ref: CustomerRef,
  { own, params }: Pick<Customer, 'own' | 'params'>,
): Promise<void> {
  await trx('customers')
    .where(customerKey(ref))
    .update({ ...own, params: JSON.stringify(params), updated_at: trx.fn.now() })
}

/** True when the mirror has a tombstone of the customer. */
export async function isDeletedAtStripe(
  trx: Tx,
  conferenceId: string,
  stripeId: string,
): Promise<boolean> {
  const row = await trx(tableOf(mirroredCustomers))
    .where({ conference_id: conferenceId, id: stripeId })
    .whereNotNull('deleted_at')
    .first('id')
  return row !== undefined
}

/**
 * A customer in the mirror whose metadata names this row and whose id was never saved: the process died
 * after Stripe's response. It replaces the idempotency key, which Stripe forgets after a day.
 */
export async function findUnsavedCustomer(trx: Tx, ref: CustomerRef): Promise<string | null> {
  const row = await trx(tableOf(mirroredCustomers))
    .where({ conference_id: ref.conferenceId, deleted_at: null })
    .whereRaw(`metadata @> ?::jsonb`, [JSON.stringify({ customer_id: ref.customerId })])
    .orderBy('created')
    .first<{ id: string } | undefined>('id')
  return row?.id ?? null
}
