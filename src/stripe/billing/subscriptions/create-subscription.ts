import { getConference } from '../../../conferences/conference-store.ts'
import type { Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import type { Caller } from '../../../http/caller.ts'
import { addJob } from '../../../jobs/add-job.ts'
import { AppError, invalidField } from '../../../shared/errors.ts'
import { newId } from '../../../shared/ids.ts'
import type { BillingDeps } from '../customers/billing-deps.ts'
import { getCustomer } from '../customers/customer-store.ts'
import { ensureCustomer } from '../customers/ensure-customer.ts'
import type { Plan } from '../plans/plan.ts'
import { findPlans } from '../plans/plan-store.ts'
import { assertEndDate } from './end-date.ts'
import { orderSubscription, type SubscriptionOrdered } from './order-subscription.ts'
import { readSubscription } from './read-subscription.ts'
import type { Subscription, SubscriptionRef } from './subscription.ts'
import { orderedPrices } from './subscription-items.ts'
import {
  getSubscription,
  giveUpSubscriptionAttempt,
  insertSubscription,
  noteTry,
  saveSubscriptionId,
  saveSubscriptionRefusal,
} from './subscription-store.ts'

export type SubscriptionInput = {
  customer: string
  items: readonly { plan: string; quantity: number }[]
  /** Null: the customer's default. */
  paymentMethod: string | null
  /** Of Stripe's; null: none. */
  coupon: string | null
  /** Null: the longest of the plans'. */
  trialPeriodDays: number | null
  metadata: { [key: string]: string }
  /** `YYYY-MM-DD`, in UTC. */
  endDate: string | null
}

/** Longer than a request may take with all its retries, so that the job finds it done as a rule. */
const LOOK_AFTER_MS = 60_000

/**
 * Writes a subscription down before Stripe is asked for it, and asks for the job that asks again
 * should this process die.
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
    throw new AppError('stripe_key_missing', 'The conference has no Stripe key yet.')
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
    { runAt: new Date(Date.now() + LOOK_AFTER_MS) },
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
    if (ids.indexOf(id) !== index) throw invalidField(pointer, 'is there twice: raise its quantity')
    return plan
  })
}

/**
 * Makes a subscription at Stripe that is written down here. May be repeated and run beside itself:
 * Stripe makes one. One whose first payment failed exists too, as `incomplete`.
 *
 * @throws AppError `not_found`, `stripe_refused`, `stripe_unavailable`, `stripe_failed`.
 */
export async function finishSubscription(
  deps: BillingDeps,
  ref: SubscriptionRef,
): Promise<Subscription> {
  const load = () => withTenant(deps.db, ref, (trx) => getSubscription(trx, ref))
  let order = await load()
  if (order.state === 'refused') throw refused(order.refusal)
  if (order.state === 'created' && order.reading !== null) return order
  for (let tries = 1; order.state === 'requested'; tries += 1) {
    const ordered = await ask(deps, ref, order)
    const { attempt } = order
    await withTenant(deps.db, ref, (trx) => save(trx, ref, attempt, ordered))
    if (ordered.kind === 'refused') throw refused(ordered.message)
    if (ordered.kind === 'stored_error' && tries === 2) {
      throw new AppError('stripe_failed', ordered.message, { retryAfterSeconds: 2 })
    }
    order = await load()
  }
  return readSubscription(deps, ref)
}

async function ask(
  deps: BillingDeps,
  ref: SubscriptionRef,
  order: Subscription,
): Promise<SubscriptionOrdered> {
  const { conferenceId } = ref
  const customer = await ensureCustomer(deps, { conferenceId, customerId: order.customerId })
  const { stripe } = await deps.clients.connect(conferenceId)
  const { items, isRepeat } = await withTenant(deps.db, ref, async (trx) => ({
    items: await orderedPrices(trx, conferenceId, order.id),
    isRepeat: await noteTry(trx, ref),
  }))
  return orderSubscription(stripe, { ...order, customer, items, isRepeat })
}

function save(
  trx: Tx,
  ref: SubscriptionRef,
  attempt: number,
  ordered: SubscriptionOrdered,
): Promise<void> {
  switch (ordered.kind) {
    case 'created':
      return saveSubscriptionId(trx, ref, ordered.stripeId)
    case 'refused':
      return saveSubscriptionRefusal(trx, ref, ordered.message)
    case 'stored_error':
      return giveUpSubscriptionAttempt(trx, ref, attempt)
  }
}

function refused(message: string | null): AppError {
  return new AppError('stripe_refused', message ?? 'Stripe refused the subscription.')
}
