import type Stripe from 'stripe'
import { changeMetadata } from '../api/common-params.ts'
import { type Call, existing } from '../api/operations.ts'
import { emitEvent, requireRow } from '../core/changes.ts'
import { cardDecline } from '../core/declines.ts'
import { invalidParameter, refused, StripeError } from '../core/errors.ts'
import { fakeId, idOf } from '../core/ids.ts'
import type { Scope } from '../core/scope.ts'
import { customers } from './customer.ts'
import { applyDiscounts } from './discount.ts'
import { priceAmount } from './invoice.ts'
import { customerDefaults, firstMethod } from './invoice-collection.ts'
import { testBehaviours } from './payment-method.ts'
import {
  changeSubscription,
  checkPrices,
  insertItem,
  itemPrice,
  itemsOf,
  itemsUrl,
  type RecurringPrice,
  reschedule,
  subscriptions,
  subscriptionTimers,
  TRIAL_WARNING,
  type WireSubscription,
} from './subscription.ts'
import {
  billSubscription,
  emitTrialWillEnd,
  processDueSubscription,
} from './subscription-billing.ts'
import type { SubscriptionCreateInput } from './subscription-params.ts'
import { nowBy } from './test-clock.ts'

const DAY = 24 * 60 * 60

/**
 * Creates a subscription, invoices its first period and charges the customer. If the card is
 * declined, the subscription is `incomplete`, unless `payment_behavior` asks for an error.
 *
 * @throws StripeError for a request that Stripe refuses; nothing is created then.
 * @see https://docs.stripe.com/api/subscriptions/create
 */
export function createSubscription(call: Call, input: SubscriptionCreateInput): WireSubscription {
  const customer = existing(call, customers, input.customer, 'customer')
  const now = nowBy(call, idOf(customer.test_clock))
  const wanted = input.items ?? []
  if (wanted.length === 0)
    throw invalidParameter('items', 'Missing required param: items.', 'parameter_missing')
  const found = wanted.map((item, index) => itemPrice(call, item, `items[${index}]`))
  checkPrices(found)
  checkCollection(input)
  const method = ownMethod(call, input, customer)
  const trialEnd = trialEndOf(input, found, now)
  const due = wanted.map((item, index) => amountOf(found[index], item.quantity))
  if (trialEnd === null && due.some((amount) => amount > 0))
    checkPayable(call, input, customer, method)

  const built = buildSubscription(call, input, customer, {
    now,
    trialEnd,
    currency: found[0]?.currency ?? '',
  })
  const { id } = call.account.rows(subscriptions).insert(built)
  changeSubscription(call, id, {
    discounts: applyDiscounts(
      call,
      input.discounts ?? [],
      { customer: customer.id, subscription: id },
      now,
    ),
  })
  // Lists show the newest item first, and the first requested item must be the first of the list.
  for (const [index, item] of [...wanted.entries()].toReversed()) {
    const price = found[index]
    if (price !== undefined) insertItem(call, built, { ...item, price }, now)
  }
  changeSubscription(call, id, {})
  billFirstPeriod(call, id, input)
  if (input.cancel_at_period_end) cancelAtPeriodEnd(call, id, now)
  const created = requireRow(call, subscriptions, id)
  emitEvent(call, 'customer.subscription.created', created)
  if (trialEnd !== null && trialEnd - TRIAL_WARNING <= now) emitTrialWillEnd(call, created)
  reschedule(call, id)
  return created
}

/** Sets the subscription to end with its current period. */
export function cancelAtPeriodEnd(scope: Scope, id: string, now: number): WireSubscription {
  const ends = itemsOf(scope, id).map((item) => item.current_period_end)
  const before = requireRow(scope, subscriptions, id)
  return changeSubscription(scope, id, {
    cancel_at_period_end: true,
    cancel_at: Math.max(...ends),
    canceled_at: now,
    cancellation_details: {
      comment: null,
      feedback: null,
      feedback_option: null,
      ...before.cancellation_details,
      reason: 'cancellation_requested',
    },
  })
}

/** @throws StripeError unless the payment method belongs to the customer. */
export function ownMethod(
  scope: Scope,
  input: {
    default_payment_method?: string | undefined
    default_source?: string | null | undefined
  },
  customer: Stripe.Customer,
): Stripe.PaymentMethod | undefined {
  for (const param of ['default_payment_method', 'default_source'] as const) {
    const id = input[param]
    if (id === undefined || id === null) continue
    const method = firstMethod(scope, [id])
    if (method !== undefined && idOf(method.customer) === customer.id) return method
    throw invalidParameter(
      param,
      `The customer does not have a payment method with the ID ${id}. The payment method must be attached to the customer.`,
      'resource_missing',
    )
  }
  return firstMethod(scope, customerDefaults(scope, customer.id))
}

/** Invoices the first period without events for the changes between. */
function billFirstPeriod(call: Call, id: string, input: SubscriptionCreateInput): void {
  call.account.rows(subscriptionTimers).insert({
    id,
    onDue: (scope) => processDueSubscription(scope, id),
    cancel: () => {},
    warned: false,
    quiet: true,
  })
  billSubscription(call, id, {
    reason: 'subscription_create',
    items: itemsOf(call, id),
    trial: requireRow(call, subscriptions, id).status === 'trialing',
    collect: input.payment_behavior !== 'default_incomplete',
    decline: call.decline,
  })
  const plan = requireRow(call, subscriptionTimers, id)
  call.account.rows(subscriptionTimers).replace({ ...plan, quiet: false })
}

function checkCollection(input: SubscriptionCreateInput): void {
  const byMail = input.collection_method === 'send_invoice'
  if (byMail && input.days_until_due === undefined)
    throw invalidParameter(
      'days_until_due',
      "If `collection_method` is set to 'send_invoice', you must specify `days_until_due`.",
      'parameter_missing',
    )
  if (!byMail && input.days_until_due !== undefined)
    throw invalidParameter(
      'days_until_due',
      'You can only set `days_until_due` if `collection_method` is set to `send_invoice`.',
    )
}

function checkPayable(
  call: Call,
  { collection_method: collection, payment_behavior: behavior }: SubscriptionCreateInput,
  customer: Stripe.Customer,
  method: Stripe.PaymentMethod | undefined,
): void {
  if (collection === 'send_invoice' || behavior === 'default_incomplete') return
  if (method === undefined)
    throw refused(
      'This customer has no attached payment source or default payment method. Please consider adding a default payment method. For more information, visit https://docs.stripe.com/billing/subscriptions/payment-methods-setting#payment-method-priority.',
      { code: 'resource_missing', param: customer.id },
    )
  if (behavior !== 'error_if_incomplete') return
  const test = call.account.rows(testBehaviours).get(method.id)
  const code = call.decline ?? test?.decline ?? null
  if (code === null && test?.needsAuthentication !== true) return
  const failure = cardDecline(code ?? 'authentication_required')
  throw new StripeError(
    402,
    'card_error',
    failure.message,
    { code: failure.code, decline_code: code ?? 'authentication_required', payment_method: method },
    { stored: true },
  )
}

/** Seconds since 1970, or null without a trial. */
function trialEndOf(
  input: SubscriptionCreateInput,
  found: readonly RecurringPrice[],
  now: number,
): number | null {
  const { trial_end: end, trial_period_days: days, trial_from_plan: fromPlan } = input
  if (end !== undefined && days !== undefined)
    throw invalidParameter(
      'trial_period_days',
      'You may only specify one of these parameters: trial_end, trial_period_days.',
      'parameters_exclusive',
    )
  if (end === 'now') return null
  if (end !== undefined) {
    if (end > now) return end
    throw invalidParameter('trial_end', 'Invalid timestamp: must be in the future.')
  }
  const planned = fromPlan ? found[0]?.recurring.trial_period_days : undefined
  const length = days ?? planned ?? 0
  return length === 0 ? null : now + length * DAY
}

function amountOf(price: RecurringPrice | undefined, quantity = 1): number {
  return price === undefined ? 0 : priceAmount(price, quantity)
}

type Terms = { now: number; trialEnd: number | null; currency: string }

function buildSubscription(
  { account }: Scope,
  input: SubscriptionCreateInput,
  customer: Stripe.Customer,
  { now, trialEnd, currency }: Terms,
): WireSubscription {
  const id = fakeId('sub_1')
  const byMail = input.collection_method === 'send_invoice'
  const missing = input.trial_settings?.end_behavior.missing_payment_method ?? 'create_invoice'
  return {
    id,
    object: 'subscription',
    application: null,
    application_fee_percent: null,
    automatic_tax: { disabled_reason: null, enabled: false, liability: null },
    billing_cycle_anchor: trialEnd ?? now,
    billing_cycle_anchor_config: null,
    billing_mode: { flexible: { proration_discounts: 'included' }, type: 'flexible' },
    billing_schedules: [],
    billing_thresholds: null,
    cancel_at: input.cancel_at ?? null,
    cancel_at_period_end: false,
    canceled_at: null,
    cancellation_details: { comment: null, feedback: null, feedback_option: null, reason: null },
    collection_method: input.collection_method ?? 'charge_automatically',
    created: now,
    currency,
    customer: customer.id,
    customer_account: null,
    days_until_due: input.days_until_due ?? null,
    default_payment_method: input.default_payment_method ?? null,
    default_source: input.default_source ?? null,
    default_tax_rates: [],
    description: input.description ?? null,
    discounts: [],
    ended_at: null,
    invoice_settings: {
      account_tax_ids: null,
      custom_fields: null,
      description: null,
      footer: null,
      issuer: { type: 'self' },
    },
    items: { object: 'list', data: [], has_more: false, url: itemsUrl(id) },
    latest_invoice: null,
    livemode: account.livemode,
    managed_payments: null,
    metadata: changeMetadata({}, input.metadata),
    next_pending_invoice_item_invoice: null,
    on_behalf_of: null,
    pause_collection: null,
    payment_settings: {
      payment_method_options: null,
      payment_method_types: null,
      save_default_payment_method: 'off',
    },
    pending_invoice_item_interval: null,
    pending_setup_intent: null,
    pending_update: null,
    schedule: null,
    start_date: now,
    status: trialEnd !== null ? 'trialing' : byMail ? 'active' : 'incomplete',
    test_clock: customer.test_clock ?? null,
    transfer_data: null,
    trial_end: trialEnd,
    trial_settings: {
      end_behavior: { billing_cycle_anchor: null, missing_payment_method: missing },
    },
    trial_start: trialEnd === null ? null : now,
  }
}
