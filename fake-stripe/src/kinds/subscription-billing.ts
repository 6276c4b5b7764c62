import type Stripe from 'stripe'
import { changeRow, emitEvent, requireRow } from '../core/changes.ts'
import { nextPeriodEnd } from '../core/clock.ts'
import type { DeclineCode } from '../core/declines.ts'
import { idOf } from '../core/ids.ts'
import type { Scope } from '../core/scope.ts'
import { customers } from './customer.ts'
import { lastingDiscounts } from './discount.ts'
import {
  addItems,
  draftInvoice,
  invoiceListeners,
  invoices,
  pendingItems,
  subscriptionLine,
} from './invoice.ts'
import {
  collectInvoice,
  customerDefaults,
  finalizeInvoice,
  firstMethod,
  voidInvoice,
} from './invoice-collection.ts'
import {
  changeSubscription,
  itemsOf,
  PAYMENT_WINDOW,
  reschedule,
  subscriptionItems,
  subscriptions,
  subscriptionTimers,
  TRIAL_WARNING,
  type WireSubscription,
  type WireSubscriptionItem,
} from './subscription.ts'
import { nowBy } from './test-clock.ts'

/**
 * Performs what is due in the subscription's time: expiry, cancellation, end of the trial, renewal.
 */
export function processDueSubscription(scope: Scope, id: string): void {
  const subscription = scope.account.rows(subscriptions).get(id)
  if (subscription === undefined) return
  const now = nowBy(scope, idOf(subscription.test_clock))
  const { status, created, cancel_at: cancelAt, trial_end: trialEnd } = subscription
  if (status === 'incomplete') {
    if (now >= created + PAYMENT_WINDOW) expireSubscription(scope, id)
    return
  }
  if (cancelAt !== null && now >= cancelAt) {
    cancelSubscription(scope, id)
    return
  }
  if (status === 'trialing' && trialEnd !== null && now >= trialEnd - TRIAL_WARNING)
    emitTrialWillEnd(scope, subscription)
  if (itemsOf(scope, id).some((item) => item.current_period_end <= now))
    renew(scope, subscription, now)
  reschedule(scope, id)
}

/**
 * Sends `trial_will_end` once: three days before the trial ends, or immediately when fewer are
 * left.
 */
export function emitTrialWillEnd(scope: Scope, subscription: WireSubscription): void {
  const plan = scope.account.rows(subscriptionTimers).get(subscription.id)
  if (plan === undefined || plan.warned) return
  scope.account.rows(subscriptionTimers).replace({ ...plan, warned: true })
  emitEvent(scope, 'customer.subscription.trial_will_end', subscription)
}

function renew(scope: Scope, subscription: WireSubscription, now: number): void {
  const { id, status } = subscription
  if (status === 'trialing' && endTrialWithoutMethod(scope, subscription)) return
  const { items, after } = startNextPeriods(scope, subscription, now)
  if (status === 'trialing') changeStatus(scope, id, 'active')
  else emitEvent(scope, 'customer.subscription.updated', after, subscription)
  billSubscription(scope, id, { reason: 'subscription_cycle', items })
}

/** Starts the next period of the items whose period is over. */
function startNextPeriods(scope: Scope, subscription: WireSubscription, now: number) {
  const { id, billing_cycle_anchor: anchor } = subscription
  const items = itemsOf(scope, id)
    .filter((item) => item.current_period_end <= now)
    .map((item) => {
      const interval = item.price.recurring ?? { interval: 'month', interval_count: 1 }
      const start = item.current_period_end
      return changeRow(scope, subscriptionItems, item.id, {
        current_period_start: start,
        current_period_end: nextPeriodEnd(anchor, interval, start),
      })
    })
  return { items, after: changeSubscription(scope, id, {}) }
}

/** @returns whether the end of the trial canceled or paused the subscription. */
function endTrialWithoutMethod(scope: Scope, subscription: WireSubscription): boolean {
  const behavior = subscription.trial_settings?.end_behavior.missing_payment_method
  const method = firstMethod(scope, [
    subscription.default_payment_method,
    subscription.default_source,
    ...customerDefaults(scope, idOf(subscription.customer)),
  ])
  if (method !== undefined || subscription.collection_method === 'send_invoice') return false
  if (behavior === 'cancel') cancelSubscription(scope, subscription.id)
  else if (behavior === 'pause')
    changeStatus(scope, subscription.id, 'paused', {
      status_details: pausedDetails(
        'trial_end_without_payment_method',
        subscription.trial_end ?? 0,
      ),
    })
  else return false
  return true
}

export function pausedDetails(type: string, at: number) {
  return {
    paused: { subscription: { type }, transitioned_at: at, type: 'subscription' },
  }
}

const DAY = 24 * 60 * 60

export type BillOptions = {
  reason: 'subscription_create' | 'subscription_cycle' | 'subscription_update'
  /** The items whose period starts. */
  items: readonly WireSubscriptionItem[]
  trial?: boolean
  /** False: the payer confirms the intent later. */
  collect?: boolean
  decline?: DeclineCode | null
}

/**
 * Invoices the period that starts and charges the customer; the status of the subscription follows.
 * At Stripe the invoice of a renewal stays a draft for an hour; here it is finalized immediately.
 *
 * @see https://docs.stripe.com/billing/invoices/subscription
 */
export function billSubscription(scope: Scope, id: string, bill: BillOptions): void {
  const subscription = requireRow(scope, subscriptions, id)
  const customer = requireRow(scope, customers, idOf(subscription.customer))
  const now = nowBy(scope, idOf(subscription.test_clock))
  const { reason, items, trial = false, collect = true, decline = null } = bill
  const lines = items.map((item) => {
    const period = { start: item.current_period_start, end: item.current_period_end }
    return subscriptionLine(scope, item, period, trial)
  })
  const byMail = subscription.collection_method === 'send_invoice'
  const invoice = draftInvoice(
    scope,
    {
      customer,
      currency: subscription.currency,
      now,
      billing_reason: reason,
      collection_method: subscription.collection_method,
      auto_advance: true,
      discounts: subscription.discounts.flatMap((discount) => idOf(discount) ?? []),
      due_date: byMail ? now + (subscription.days_until_due ?? 0) * DAY : null,
      parent: parentOf(subscription),
    },
    lines,
  )
  addItems(scope, invoice.id, pendingItems(scope, customer.id, subscription.currency))
  changeSubscription(scope, id, {
    latest_invoice: invoice.id,
    discounts: lastingDiscounts(scope, invoice.discounts, now),
  })
  scope.account.rows(invoiceListeners).insert({
    id: invoice.id,
    paid: (cause) => updateStatusFromInvoice(cause, id, invoice.id, 'paid'),
    failed: (cause) => updateStatusFromInvoice(cause, id, invoice.id, 'failed'),
  })
  finalizeInvoice(scope, invoice.id)
  const open = requireRow(scope, invoices, invoice.id).status === 'open'
  if (!open || byMail || !collect) return
  const result = collectInvoice(scope, invoice.id, { decline })
  // A pending debit counts as paid until the bank returns it.
  if (result === 'processing') updateStatusFromInvoice(scope, id, invoice.id, 'paid')
}

function parentOf({ id, metadata }: WireSubscription): Stripe.Invoice.Parent {
  return {
    quote_details: null,
    subscription_details: { metadata, subscription: id },
    type: 'subscription_details',
  }
}

const WAITING = ['incomplete', 'past_due', 'unpaid', 'paused']

function updateStatusFromInvoice(
  scope: Scope,
  id: string,
  invoice: string,
  outcome: 'paid' | 'failed',
): void {
  const subscription = scope.account.rows(subscriptions).get(id)
  if (subscription === undefined || idOf(subscription.latest_invoice) !== invoice) return
  const { status } = subscription
  if (outcome === 'paid' && WAITING.includes(status)) changeStatus(scope, id, 'active')
  if (outcome === 'failed' && status === 'active') changeStatus(scope, id, 'past_due')
}

/** Changes the status and sends the event; a pause and its end have additional events. */
export function changeStatus(
  scope: Scope,
  id: string,
  status: Stripe.Subscription.Status,
  patch: Partial<WireSubscription> = {},
): WireSubscription {
  const { status_details: _gone, ...before } = requireRow(scope, subscriptions, id)
  scope.account.rows(subscriptions).replace(before)
  const after = changeSubscription(scope, id, { ...patch, status })
  reschedule(scope, id)
  if (scope.account.rows(subscriptionTimers).get(id)?.quiet === true) return after
  emitEvent(scope, 'customer.subscription.updated', after, before)
  if (status === 'paused') emitEvent(scope, 'customer.subscription.paused', after, before)
  if (before.status === 'paused' && status === 'active')
    emitEvent(scope, 'customer.subscription.resumed', after, before)
  return after
}

type Details = Partial<Stripe.Subscription.CancellationDetails>

/** The final statuses. */
export const ENDED = ['canceled', 'incomplete_expired']

/**
 * Cancels a subscription now. It stays readable and cannot be changed any more.
 *
 * @see https://docs.stripe.com/api/subscriptions/cancel
 */
export function cancelSubscription(
  scope: Scope,
  id: string,
  details: Details = {},
): WireSubscription {
  const before = requireRow(scope, subscriptions, id)
  const now = nowBy(scope, idOf(before.test_clock))
  if (before.status === 'incomplete') voidFirstInvoice(scope, before)
  const canceled = changeSubscription(scope, id, {
    status: 'canceled',
    canceled_at: before.canceled_at ?? now,
    ended_at: now,
    cancellation_details: {
      ...cancellation(before),
      reason: 'cancellation_requested',
      ...details,
    },
  })
  reschedule(scope, id)
  emitEvent(scope, 'customer.subscription.deleted', canceled)
  return canceled
}

/** Ends a subscription whose first payment was not made in time. */
function expireSubscription(scope: Scope, id: string): WireSubscription {
  const before = requireRow(scope, subscriptions, id)
  voidFirstInvoice(scope, before)
  const after = changeSubscription(scope, id, {
    status: 'incomplete_expired',
    ended_at: nowBy(scope, idOf(before.test_clock)),
  })
  reschedule(scope, id)
  emitEvent(scope, 'customer.subscription.updated', after, before)
  return after
}

export function cancellation(subscription: WireSubscription) {
  const none = { comment: null, feedback: null, feedback_option: null, reason: null }
  return subscription.cancellation_details ?? none
}

function voidFirstInvoice(scope: Scope, subscription: WireSubscription): void {
  const invoice = scope.account.rows(invoices).get(idOf(subscription.latest_invoice) ?? '')
  if (invoice?.status === 'open') voidInvoice(scope, invoice.id)
}

export const SUBSCRIPTION_STATUSES = [
  'active',
  'canceled',
  'incomplete',
  'incomplete_expired',
  'past_due',
  'paused',
  'trialing',
  'unpaid',
] as const

export type SubscriptionStatus = (typeof SUBSCRIPTION_STATUSES)[number]

const TRIAL = 14 * 24 * 60 * 60

/** Moves a subscription to any status and sends the events of the change. */
export function setSubscriptionStatus(
  scope: Scope,
  id: string,
  status: SubscriptionStatus,
): WireSubscription {
  const before = requireRow(scope, subscriptions, id)
  if (status === 'canceled') return cancelSubscription(scope, id)
  return changeStatus(
    scope,
    id,
    status,
    fieldsOf(before, status, nowBy(scope, idOf(before.test_clock))),
  )
}

function fieldsOf(
  before: WireSubscription,
  status: Stripe.Subscription.Status,
  now: number,
): Partial<WireSubscription> {
  if (status === 'paused') return { status_details: pausedDetails('pause_requested', now) }
  if (status === 'incomplete_expired') return { ended_at: now }
  const ended = { ended_at: null, ...(before.ended_at === null ? {} : { canceled_at: null }) }
  if (status !== 'trialing' || (before.trial_end ?? 0) > now) return ended
  return { ...ended, trial_start: now, trial_end: now + TRIAL }
}
