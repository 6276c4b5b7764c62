import { changeMetadata } from '../api/common-params.ts'
import { type Call, existing } from '../api/operations.ts'
import { changeRow, emitEvent, givenFields, requireRow } from '../core/changes.ts'
import { invalidParameter, refused } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import { cancelAtPeriodEnd, ownMethod } from './create-subscription.ts'
import { customers } from './customer.ts'
import { applyDiscounts } from './discount.ts'
import {
  changeItems,
  changeSubscription,
  itemsOf,
  reschedule,
  restartPeriods,
  subscriptionItems,
  subscriptions,
  type WireSubscription,
} from './subscription.ts'
import {
  billSubscription,
  cancellation,
  changeStatus,
  ENDED,
  emitTrialWillEnd,
  pausedDetails,
} from './subscription-billing.ts'
import type { SubscriptionUpdateInput } from './subscription-params.ts'
import { nowBy } from './test-clock.ts'

/**
 * Changes a subscription. Prorations are not computed.
 *
 * @throws StripeError for a change that Stripe refuses; nothing is changed then.
 * @see https://docs.stripe.com/api/subscriptions/update
 */
export function updateSubscription(
  call: Call,
  id: string,
  input: SubscriptionUpdateInput,
): WireSubscription {
  const before = existing(call, subscriptions, id, 'id', 404)
  if (ENDED.includes(before.status)) checkEnded(input)
  const now = nowBy(call, idOf(before.test_clock))
  const customer = call.account.rows(customers).get(idOf(before.customer) ?? '')
  if (customer !== undefined) ownMethod(call, input, customer)
  if (typeof input.trial_end === 'number' && input.trial_end <= now)
    throw invalidParameter('trial_end', 'Invalid timestamp: must be in the future.')
  if (input.items !== undefined) changeItems(call, before, input.items, now)
  changeSubscription(call, id, patchOf(call, before, input, now))
  if (input.cancel_at_period_end === true) cancelAtPeriodEnd(call, id, now)
  if (typeof input.trial_end === 'number') moveTrialEnd(call, id, input.trial_end)
  const endsTrial = input.trial_end === 'now' && before.status === 'trialing'
  if (endsTrial) endTrial(call, id, now)
  const after = requireRow(call, subscriptions, id)
  emitEvent(call, 'customer.subscription.updated', after, before)
  if (endsTrial) {
    emitTrialWillEnd(call, after)
    billSubscription(call, id, {
      reason: 'subscription_update',
      items: itemsOf(call, id),
      decline: call.decline,
    })
  }
  reschedule(call, id)
  return requireRow(call, subscriptions, id)
}

/** Only some fields of an ended subscription can be changed. */
function checkEnded({ metadata, cancellation_details: details, ...rest }: SubscriptionUpdateInput) {
  const allowed = { metadata, details }
  const others = Object.values(rest).filter((value) => value !== undefined)
  if (others.length === 0 && Object.keys(allowed).length > 0) return
  throw refused('A canceled subscription can only update its cancellation_details and metadata.', {
    code: 'invalid_canceled_subscription_fields',
  })
}

function patchOf(
  call: Call,
  before: WireSubscription,
  input: SubscriptionUpdateInput,
  now: number,
): Partial<WireSubscription> {
  const { collection_method, days_until_due, default_payment_method, default_source } = input
  const { description, pause_collection: pause, discounts, cancel_at: cancelAt } = input
  const keeps = input.cancel_at_period_end === false || cancelAt === null
  return {
    ...givenFields({ collection_method, days_until_due, description }),
    ...givenFields({ default_payment_method, default_source, cancel_at: cancelAt }),
    ...(pause === undefined
      ? {}
      : {
          pause_collection: pause && {
            behavior: pause.behavior,
            resumes_at: pause.resumes_at ?? null,
          },
        }),
    ...(keeps && before.cancel_at !== null ? NOT_CANCELED : {}),
    ...(discounts === undefined
      ? {}
      : {
          discounts: applyDiscounts(
            call,
            discounts ?? [],
            { customer: idOf(before.customer), subscription: before.id },
            now,
          ),
        }),
    ...(input.cancellation_details === undefined
      ? {}
      : {
          cancellation_details: {
            ...cancellation(before),
            ...givenFields(input.cancellation_details),
          },
        }),
    metadata: changeMetadata(before.metadata, input.metadata),
  }
}

const NOT_CANCELED: Partial<WireSubscription> = {
  cancel_at: null,
  cancel_at_period_end: false,
  canceled_at: null,
  cancellation_details: { comment: null, feedback: null, feedback_option: null, reason: null },
}

function moveTrialEnd(call: Call, id: string, end: number): void {
  const { trial_start: start } = requireRow(call, subscriptions, id)
  const now = nowBy(call, idOf(requireRow(call, subscriptions, id).test_clock))
  for (const item of itemsOf(call, id))
    changeRow(call, subscriptionItems, item.id, { current_period_end: end })
  changeSubscription(call, id, {
    status: 'trialing',
    billing_cycle_anchor: end,
    trial_end: end,
    trial_start: start ?? now,
  })
}

function endTrial(call: Call, id: string, now: number): void {
  restartPeriods(call, id, now)
  changeSubscription(call, id, { status: 'active', trial_end: now })
}

const PAUSABLE = ['active', 'past_due', 'trialing', 'unpaid']

/**
 * Pauses a subscription: no invoices and no new periods until it is resumed.
 *
 * @throws StripeError unless it is active, past due, in its trial or unpaid.
 */
export function pauseSubscription(call: Call, id: string): WireSubscription {
  const before = requireRow(call, subscriptions, id)
  if (!PAUSABLE.includes(before.status)) throw wrongStatus(before, 'paused', PAUSABLE)
  const at = nowBy(call, idOf(before.test_clock))
  return changeStatus(call, id, 'paused', { status_details: pausedDetails('pause_requested', at) })
}

/**
 * Resumes a paused subscription. If its period is over, a new period starts and must be paid first;
 * until then the subscription stays paused.
 *
 * @throws StripeError unless it is paused.
 * @see https://docs.stripe.com/api/subscriptions/resume
 */
export function resumeSubscription(call: Call, id: string): WireSubscription {
  const before = requireRow(call, subscriptions, id)
  if (before.status !== 'paused') throw wrongStatus(before, 'resumed', ['paused'])
  const now = nowBy(call, idOf(before.test_clock))
  if (itemsOf(call, id).every((item) => item.current_period_end > now))
    return changeStatus(call, id, 'active')
  emitEvent(call, 'customer.subscription.updated', restartPeriods(call, id, now), before)
  const items = itemsOf(call, id)
  billSubscription(call, id, { reason: 'subscription_update', items, decline: call.decline })
  return requireRow(call, subscriptions, id)
}

function wrongStatus({ status }: WireSubscription, what: string, allowed: readonly string[]) {
  return refused(
    `Only subscriptions with the status ${allowed.join(', ')} can be ${what}; this one is ${status}.`,
  )
}
