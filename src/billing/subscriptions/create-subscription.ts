import type Stripe from 'stripe'
import { z } from 'zod'
import { getConference } from '../../conferences/conference-store.ts'
import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { addJob } from '../../jobs/job-queue.ts'
import type { Caller } from '../../shared/caller.ts'
import { AppError, afterWrite, invalidField } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import { isMissing } from '../../stripe/stripe-errors.ts'
import { parseStripeObject } from '../../stripe/stripe-objects.ts'
import type { BillingDeps } from '../billing-deps.ts'
import { getCustomer } from '../customers/customer-store.ts'
import { ensureCustomer } from '../customers/ensure-customer.ts'
import { makeRecorded } from '../make-recorded.ts'
import { fetchSubscription } from './change-subscription.ts'
import { findPlans, type Plan } from './plan-store.ts'
import type { Subscription, SubscriptionRef } from './subscription.ts'
import { requestedPrices } from './subscription-items.ts'
import {
  assertEndDate,
  getSubscription,
  insertSubscription,
  noteSubscriptionRequest,
  saveSubscriptionId,
  saveSubscriptionRefusal,
  startNextSubscriptionAttempt,
} from './subscription-store.ts'

export type SubscriptionInput = {
  customer: string
  items: readonly { plan: string; quantity: number }[]
  /** Null: the customer's default. */
  paymentMethod: string | null
  /** Stripe's id; null: no coupon. */
  coupon: string | null
  /** Stripe's ids. */
  taxRates: readonly string[]
  /** Null: the longest trial of the plans. */
  trialPeriodDays: number | null
  metadata: { [key: string]: string }
  /** `YYYY-MM-DD`, in UTC. */
  endDate: string | null
}

/** Longer than a request with all its retries, so that the job usually has nothing to do. */
const FINISH_JOB_DELAY_MS = 60_000

/**
 * Records a subscription before the request is sent to Stripe. It also adds a job that repeats the
 * request if this process dies.
 *
 * @returns the subscription's id.
 * @throws AppError `validation_failed`, `stripe_key_missing`.
 */
export async function beginSubscription(
  trx: Tx,
  caller: Caller,
  input: SubscriptionInput,
): Promise<string> {
  const { conferenceId } = caller
  const { stripeKeySetAt } = await getConference(trx, conferenceId)
  if (stripeKeySetAt === null) {
    throw new AppError(
      'stripe_key_missing',
      'The conference has no Stripe key. An operator must set one.',
    )
  }
  await assertCustomer(trx, conferenceId, input.customer)
  await assertEndDate(trx, input.endDate)
  const plans = await plansOf(trx, conferenceId, input.items)
  const id = newId('subscription')
  await insertSubscription(trx, {
    conferenceId,
    id,
    customerId: input.customer,
    paymentMethod: input.paymentMethod,
    coupon: input.coupon,
    taxRates: input.taxRates,
    trialPeriodDays:
      input.trialPeriodDays ?? Math.max(...plans.map(({ trialPeriodDays: days }) => days)),
    metadata: input.metadata,
    endDate: input.endDate,
    createdBy: caller.actor.id,
    items: input.items.map(({ plan, quantity }) => ({ planId: plan, quantity })),
  })
  await addJob(
    trx,
    'finish_subscription',
    { conference_id: conferenceId, id },
    { runAt: new Date(Date.now() + FINISH_JOB_DELAY_MS) },
  )
  return id
}

async function assertCustomer(trx: Tx, conferenceId: string, customerId: string): Promise<void> {
  try {
    await getCustomer(trx, { conferenceId, customerId })
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'not_found')) throw error
    throw invalidField('/customer', 'is not a customer of this conference')
  }
}

async function plansOf(
  trx: Tx,
  conferenceId: string,
  items: SubscriptionInput['items'],
): Promise<Plan[]> {
  const ids = items.map(({ plan }) => plan)
  const found = new Map((await findPlans(trx, conferenceId, ids)).map((plan) => [plan.id, plan]))
  return ids.map((id, index) => {
    const pointer = `/items/${index}/plan`
    const plan = found.get(id)
    if (plan === undefined) throw invalidField(pointer, 'is not a plan of this conference')
    if (!plan.active) throw invalidField(pointer, 'is archived, or does not exist at Stripe')
    if (ids.indexOf(id) !== index)
      throw invalidField(pointer, 'is listed twice: increase its quantity instead')
    return plan
  })
}

/**
 * Creates a recorded subscription at Stripe. It may be repeated and may run concurrently: Stripe creates
 * one subscription. When the first payment fails, the subscription exists as `incomplete`.
 *
 * @throws AppError `not_found`, `stripe_refused`, `stripe_key_rejected`, `stripe_unavailable`, `stripe_failed`.
 */
export async function finishSubscription(
  deps: BillingDeps,
  ref: SubscriptionRef,
): Promise<Subscription> {
  const order = await withTenant(deps.db, ref, (trx) => getSubscription(trx, ref))
  if (order.state === 'refused') throw refused(order.refusal)
  if (order.state === 'created' && order.snapshot !== null) return order
  if (order.state === 'requested') await createAtStripe(deps, ref, order)
  return afterWrite(() => fetchSubscription(deps, ref))
}

/** @throws AppError `stripe_refused` when nothing was created; `stripe_…` after an unknown outcome. */
async function createAtStripe(
  deps: BillingDeps,
  ref: SubscriptionRef,
  order: Subscription,
): Promise<void> {
  const { conferenceId } = ref
  const customer = await ensureCustomer(deps, { conferenceId, customerId: order.customerId })
  const { stripe } = await deps.clients.connect(conferenceId)
  const items = await withTenant(deps.db, ref, (trx) =>
    requestedPrices(trx, conferenceId, order.id),
  )
  const params = createParams({ ...order, customer, items })
  const outcome = await makeRecorded(deps.db, ref, {
    noteRequest: (trx) => noteSubscriptionRequest(trx, ref),
    send: async (options) => toId(await stripe.subscriptions.create(params, options)),
    find: () => findAtStripe(stripe, customer, order.id),
    saveMade: (trx, id) => saveSubscriptionId(trx, ref, id),
    saveRefusal: (trx, message) => saveSubscriptionRefusal(trx, ref, message),
    renewKey: (trx) => startNextSubscriptionAttempt(trx, ref),
  })
  if (outcome.kind === 'refused') throw refused(outcome.message)
}

function refused(message: string | null): AppError {
  return new AppError('stripe_refused', message ?? 'Stripe refused the subscription.')
}

/**
 * Refreshes a subscription from Stripe. A `requested` one, whose creation may have failed, is created
 * unless it exists at Stripe. For a refused one it is a no-op.
 *
 * @throws AppError `not_found`, `stripe_refused`, `stripe_unavailable`, `stripe_failed`.
 */
export async function refreshSubscription(
  deps: BillingDeps,
  ref: SubscriptionRef,
): Promise<Subscription> {
  const subscription = await withTenant(deps.db, ref, (trx) => getSubscription(trx, ref))
  if (subscription.state === 'refused') return subscription
  return subscription.state === 'requested'
    ? finishSubscription(deps, ref)
    : fetchSubscription(deps, ref)
}

type CreationRequest = Subscription & {
  /** Stripe's id of the customer. */
  customer: string
  items: readonly { price: string; quantity: number }[]
}

/**
 * With `allow_incomplete`, a declined card leaves an `incomplete` subscription instead of none: its
 * invoice can be paid within 23 hours. @see https://docs.stripe.com/billing/subscriptions/overview#requires-payment-method
 */
function createParams(order: CreationRequest): Stripe.SubscriptionCreateParams {
  return {
    customer: order.customer,
    items: order.items.map(({ price, quantity }) => ({ price, quantity })),
    payment_behavior: 'allow_incomplete',
    off_session: true,
    metadata: {
      ...order.metadata,
      conference_id: order.conferenceId,
      sponsor_id: order.sponsorId,
      subscription_id: order.id,
    },
    ...(order.paymentMethod === null ? {} : { default_payment_method: order.paymentMethod }),
    ...(order.coupon === null ? {} : { discounts: [{ coupon: order.coupon }] }),
    ...(order.taxRates.length === 0 ? {} : { default_tax_rates: order.taxRates }),
    ...(order.trialPeriodDays === 0 ? {} : { trial_period_days: order.trialPeriodDays }),
  }
}

const subscriptionObject = z.object({ id: z.string().min(1) })

const toId = (response: unknown) =>
  parseStripeObject(subscriptionObject, response, 'subscription').id

/** The id of the customer's Stripe subscription with our id in its metadata, or null. */
async function findAtStripe(stripe: Stripe, customer: string, id: string): Promise<string | null> {
  try {
    const all = stripe.subscriptions.list({ customer, status: 'all', limit: 100 })
    for await (const found of all) {
      if (found.metadata?.['subscription_id'] === id) return found.id
    }
    return null
  } catch (error) {
    // A deleted customer has no subscriptions.
    if (isMissing(error)) return null
    throw error
  }
}
