import type Stripe from 'stripe'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { invoices } from '../objects/invoice.ts'
import {
  changeSubscription,
  subscriptions,
  type WireSubscription,
} from '../objects/subscription.ts'
import { nowBy } from '../objects/test-clock.ts'
import { voidInvoice } from './end-invoice.ts'
import { reschedule } from './subscription-timer.ts'

type Details = Partial<Stripe.Subscription.CancellationDetails>

/** The states from which nothing leads back. */
export const ENDED = ['canceled', 'incomplete_expired']

/**
 * Ends a subscription now. It stays readable; nothing can be changed any more.
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

/** A first payment that nobody made in time ends the subscription too. */
export function expireSubscription(scope: Scope, id: string): WireSubscription {
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
