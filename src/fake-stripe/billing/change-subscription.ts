import { changeMetadata } from '../api/metadata.ts'
import { type Call, existing } from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { givenFields } from '../core/given-fields.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import { invalidParameter, refused } from '../core/stripe-error.ts'
import { customers } from '../objects/customer.ts'
import {
  changeSubscription,
  itemsOf,
  subscriptionItems,
  subscriptions,
  type WireSubscription,
} from '../objects/subscription.ts'
import { nowBy } from '../objects/test-clock.ts'
import type { SubscriptionUpdateInput } from '../resources/subscription-params.ts'
import { applyDiscounts } from './apply-discount.ts'
import { billSubscription } from './bill-subscription.ts'
import { cancellation, ENDED } from './cancel-subscription.ts'
import { cancelAtPeriodEnd, ownMethod } from './create-subscription.ts'
import { restartPeriods } from './restart-periods.ts'
import { warnOfTrialEnd } from './subscription-due.ts'
import { changeItems } from './subscription-items.ts'
import { reschedule } from './subscription-timer.ts'

/**
 * Changes a subscription. Prorations are not computed.
 *
 * @throws StripeError for what Stripe refuses; nothing has changed then.
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
    warnOfTrialEnd(call, after)
    billSubscription(call, id, {
      reason: 'subscription_update',
      items: itemsOf(call, id),
      decline: call.decline,
    })
  }
  reschedule(call, id)
  return requireRow(call, subscriptions, id)
}

/** What can still be changed of a subscription that has ended. */
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
