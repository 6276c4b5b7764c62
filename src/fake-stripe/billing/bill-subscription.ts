import type Stripe from 'stripe'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { customers } from '../objects/customer.ts'
import { invoiceFollowers, invoices } from '../objects/invoice.ts'
import {
  changeSubscription,
  subscriptions,
  type WireSubscription,
  type WireSubscriptionItem,
} from '../objects/subscription.ts'
import { nowBy } from '../objects/test-clock.ts'
import type { DeclineCode } from '../payments/payment-failure.ts'
import { lastingDiscounts } from './apply-discount.ts'
import { addItems, draftInvoice, pendingItems } from './draft-invoice.ts'
import { finalizeInvoice } from './finalize-invoice.ts'
import { subscriptionLine } from './invoice-lines.ts'
import { collectInvoice } from './pay-invoice.ts'
import { reschedule, subscriptionPlans } from './subscription-timer.ts'

const DAY = 24 * 60 * 60

export type Bill = {
  reason: 'subscription_create' | 'subscription_cycle' | 'subscription_update'
  /** Those whose period begins. */
  items: readonly WireSubscriptionItem[]
  trial?: boolean
  /** False: the payer confirms the intent. */
  collect?: boolean
  decline?: DeclineCode | null
}

/**
 * Invoices the period that begins and collects the money; the subscription's status follows. Unlike
 * at Stripe, where a renewal stays a draft for an hour, the invoice is opened at once.
 *
 * @see https://docs.stripe.com/billing/invoices/subscription
 */
export function billSubscription(scope: Scope, id: string, bill: Bill): void {
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
  scope.account.rows(invoiceFollowers).insert({
    id: invoice.id,
    paid: (cause) => follow(cause, id, invoice.id, 'paid'),
    failed: (cause) => follow(cause, id, invoice.id, 'failed'),
  })
  finalizeInvoice(scope, invoice.id)
  const open = requireRow(scope, invoices, invoice.id).status === 'open'
  if (!open || byMail || !collect) return
  const result = collectInvoice(scope, invoice.id, { decline })
  // A debit that is under way counts as paid until the bank sends it back.
  if (result === 'processing') follow(scope, id, invoice.id, 'paid')
}

function parentOf({ id, metadata }: WireSubscription): Stripe.Invoice.Parent {
  return {
    quote_details: null,
    subscription_details: { metadata, subscription: id },
    type: 'subscription_details',
  }
}

const WAITING = ['incomplete', 'past_due', 'unpaid', 'paused']

function follow(scope: Scope, id: string, invoice: string, outcome: 'paid' | 'failed'): void {
  const subscription = scope.account.rows(subscriptions).get(id)
  if (subscription === undefined || idOf(subscription.latest_invoice) !== invoice) return
  const { status } = subscription
  if (outcome === 'paid' && WAITING.includes(status)) setStatus(scope, id, 'active')
  if (outcome === 'failed' && status === 'active') setStatus(scope, id, 'past_due')
}

/** Moves the status and tells of it; a pause and its end have events of their own too. */
export function setStatus(
  scope: Scope,
  id: string,
  status: Stripe.Subscription.Status,
  patch: Partial<WireSubscription> = {},
): WireSubscription {
  const { status_details: _gone, ...before } = requireRow(scope, subscriptions, id)
  scope.account.rows(subscriptions).replace(before)
  const after = changeSubscription(scope, id, { ...patch, status })
  reschedule(scope, id)
  if (scope.account.rows(subscriptionPlans).get(id)?.quiet === true) return after
  emitEvent(scope, 'customer.subscription.updated', after, before)
  if (status === 'paused') emitEvent(scope, 'customer.subscription.paused', after, before)
  if (before.status === 'paused' && status === 'active')
    emitEvent(scope, 'customer.subscription.resumed', after, before)
  return after
}
