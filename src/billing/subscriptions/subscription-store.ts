import type { Tx } from '../../db/connect.ts'
import { fetchPage, mapPage, type Page, type PageQuery } from '../../db/pages.ts'
import { invalidField, notFound } from '../../shared/errors.ts'
import { callerMetadata } from '../metadata.ts'
import type { CreationState } from './plan-store.ts'
import type { Subscription, SubscriptionRef } from './subscription.ts'

type SubscriptionRow = {
  conference_id: string
  id: string
  customer_id: string
  sponsor_id: string
  payment_method: string | null
  coupon: string | null
  tax_rates: string[]
  trial_period_days: number
  metadata: { [key: string]: string }
  end_date: string | null
  state: CreationState
  stripe_subscription_id: string | null
  refusal: string | null
  created_by: string
  cancel_requested_by: string | null
  created_at: Date
  updated_at: Date
  status: string | null
  as_of: Date
  cancel_at_period_end: boolean | null
  cancel_at: Date | null
  canceled_at: Date | null
  ended_at: Date | null
  current_period_start: Date | null
  current_period_end: Date | null
  trial_end: Date | null
  latest_invoice: string | null
}

// A subscription that was deleted at Stripe, for example with its test clock, has ended.
const STATUS = `case when mirrored.deleted_at is null then mirrored.status else 'canceled' end`

const MIRRORED = [
  'as_of',
  'cancel_at_period_end',
  'cancel_at',
  'canceled_at',
  'ended_at',
  'current_period_start',
  'current_period_end',
  'trial_end',
  'latest_invoice',
] as const

/** Subscriptions with their snapshots from the mirror, where the latest fetch wins. */
function subscriptionsOf(trx: Tx, conferenceId: string) {
  return trx('subscriptions as own')
    .join('customers as customer', (on) =>
      on.on('customer.conference_id', 'own.conference_id').andOn('customer.id', 'own.customer_id'),
    )
    .joinRaw(
      `left join stripe.subscriptions as mirrored
         on mirrored.conference_id = own.conference_id and mirrored.id = own.stripe_subscription_id`,
    )
    .where('own.conference_id', conferenceId)
    .select(
      'own.*',
      'customer.sponsor_id',
      // As text: pg would convert a date to midnight in the server's time zone.
      trx.raw('own.end_date::text as end_date'),
      trx.raw('coalesce(mirrored.metadata, own.metadata) as metadata'),
      trx.raw(`${STATUS} as status`),
      ...MIRRORED.map((column) => `mirrored.${column}`),
    )
}

function toSubscription(row: SubscriptionRow): Subscription {
  return {
    conferenceId: row.conference_id,
    id: row.id,
    customerId: row.customer_id,
    sponsorId: row.sponsor_id,
    paymentMethod: row.payment_method,
    coupon: row.coupon,
    taxRates: row.tax_rates,
    trialPeriodDays: row.trial_period_days,
    metadata: callerMetadata(row.metadata),
    endDate: row.end_date,
    state: row.state,
    stripeId: row.stripe_subscription_id,
    refusal: row.refusal,
    createdBy: row.created_by,
    cancelRequestedBy: row.cancel_requested_by,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    snapshot: row.status === null ? null : toSnapshot(row, row.status),
  }
}

function toSnapshot(row: SubscriptionRow, status: string): Subscription['snapshot'] {
  return {
    status,
    asOf: row.as_of,
    cancelAtPeriodEnd: row.cancel_at_period_end ?? false,
    cancelAt: row.cancel_at,
    canceledAt: row.canceled_at,
    endedAt: row.ended_at,
    currentPeriodStart: row.current_period_start,
    currentPeriodEnd: row.current_period_end,
    trialEnd: row.trial_end,
    latestInvoice: row.latest_invoice,
  }
}

export type NewSubscription = {
  conferenceId: string
  id: string
  customerId: string
  paymentMethod: string | null
  coupon: string | null
  taxRates: readonly string[]
  trialPeriodDays: number
  metadata: { [key: string]: string }
  endDate: string | null
  createdBy: string
  items: readonly { planId: string; quantity: number }[]
}

export async function insertSubscription(trx: Tx, order: NewSubscription): Promise<void> {
  await trx('subscriptions').insert({
    conference_id: order.conferenceId,
    id: order.id,
    customer_id: order.customerId,
    payment_method: order.paymentMethod,
    coupon: order.coupon,
    tax_rates: [...order.taxRates],
    trial_period_days: order.trialPeriodDays,
    metadata: JSON.stringify(order.metadata),
    end_date: order.endDate,
    created_by: order.createdBy,
  })
  await trx('subscription_items').insert(
    order.items.map(({ planId, quantity }, ordinal) => ({
      conference_id: order.conferenceId,
      subscription_id: order.id,
      ordinal,
      plan_id: planId,
      quantity,
    })),
  )
}

/**
 * @param sponsorId - from a sponsor's key: subscriptions of other sponsors are not found.
 * @throws AppError `not_found`
 */
export async function getSubscription(
  trx: Tx,
  { conferenceId, subscriptionId }: SubscriptionRef,
  sponsorId: string | null = null,
): Promise<Subscription> {
  const query = subscriptionsOf(trx, conferenceId).where('own.id', subscriptionId)
  if (sponsorId !== null) void query.where('customer.sponsor_id', sponsorId)
  const [row] = await query
  if (row === undefined) throw notFound('subscription')
  return toSubscription(row as SubscriptionRow) // its columns are those selected above
}

export type SubscriptionFilter = {
  sponsorId?: string | null | undefined
  customer?: string | undefined
  status?: string | undefined
}

/** A page of subscriptions, newest first. */
export async function listSubscriptions(
  trx: Tx,
  conferenceId: string,
  { sponsorId, customer, status }: SubscriptionFilter,
  page: PageQuery,
): Promise<Page<Subscription>> {
  const query = subscriptionsOf(trx, conferenceId)
  if (sponsorId) void query.where('customer.sponsor_id', sponsorId)
  if (customer !== undefined) void query.where('own.customer_id', customer)
  if (status !== undefined) void query.whereRaw(`${STATUS} = ?`, [status])
  const columns = { at: 'own.created_at', id: 'own.id' }
  return mapPage(await fetchPage<SubscriptionRow>(query, page, columns), toSubscription)
}

const ownRow = (trx: Tx, { conferenceId, subscriptionId }: SubscriptionRef) =>
  trx('subscriptions').where({ conference_id: conferenceId, id: subscriptionId })

/** Notes that the creation request is sent now. */
export async function noteSubscriptionRequest(
  trx: Tx,
  ref: SubscriptionRef,
): Promise<{ idempotencyKey: string; askedBefore: boolean }> {
  const row = await ownRow(trx, ref)
    .forUpdate()
    .first<{ attempt: number; tried_at: Date | null } | undefined>('attempt', 'tried_at')
  if (row === undefined) throw notFound('subscription')
  await ownRow(trx, ref).update({ tried_at: trx.fn.now() })
  return {
    idempotencyKey: `subscription:${ref.subscriptionId}:create:${row.attempt}`,
    askedBefore: row.tried_at !== null,
  }
}

/** Saves the id of the created subscription, even when another request was refused. */
export async function saveSubscriptionId(
  trx: Tx,
  ref: SubscriptionRef,
  stripeId: string,
): Promise<void> {
  await ownRow(trx, ref).whereNot('state', 'created').update({
    state: 'created',
    stripe_subscription_id: stripeId,
    refusal: null,
    updated_at: trx.fn.now(),
  })
}

export async function saveSubscriptionRefusal(
  trx: Tx,
  ref: SubscriptionRef,
  refusal: string,
): Promise<void> {
  await ownRow(trx, ref)
    .where({ state: 'requested' })
    .update({ state: 'refused', refusal, updated_at: trx.fn.now() })
}

/** Stripe stored an error under the attempt's key, so the next request needs a new key. */
export async function startNextSubscriptionAttempt(trx: Tx, ref: SubscriptionRef): Promise<void> {
  await ownRow(trx, ref)
    .where({ state: 'requested' })
    .update({ attempt: trx.raw('attempt + 1'), updated_at: trx.fn.now() })
}

export async function saveEndDate(
  trx: Tx,
  ref: SubscriptionRef,
  endDate: string | null,
): Promise<void> {
  await ownRow(trx, ref).update({ end_date: endDate, updated_at: trx.fn.now() })
}

export async function saveTaxRates(
  trx: Tx,
  ref: SubscriptionRef,
  taxRates: readonly string[],
): Promise<void> {
  await ownRow(trx, ref).update({ tax_rates: [...taxRates], updated_at: trx.fn.now() })
}

/** Records who requested the cancellation. The status comes from Stripe. */
export async function recordCancelRequest(
  trx: Tx,
  ref: SubscriptionRef,
  by: string,
): Promise<void> {
  await ownRow(trx, ref).update({
    cancel_requested_by: by,
    cancel_requested_at: trx.fn.now(),
    updated_at: trx.fn.now(),
  })
}

/** SQL for the present day by the database's clock, in UTC. */
export const TODAY = `(now() at time zone 'utc')::date`

/** @throws AppError `validation_failed` for a past day. */
export async function assertEndDate(trx: Tx, endDate: string | null): Promise<void> {
  if (endDate === null) return
  const { rows } = await trx.raw<{ rows: { is_over: boolean }[] }>(
    `select ?::date < ${TODAY} as is_over`,
    [endDate],
  )
  if (rows[0]?.is_over === true) throw invalidField('/end_date', 'must be today (UTC) or later')
}
