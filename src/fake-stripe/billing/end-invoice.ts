import type Stripe from 'stripe'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { invoiceLines, invoices, type WireInvoice } from '../objects/invoice.ts'
import { invoiceItems } from '../objects/invoice-item.ts'
import { defaultPayment, invoicePayments } from '../objects/invoice-payment.ts'
import { paymentIntents } from '../objects/payment-intent.ts'
import { nowBy } from '../objects/test-clock.ts'
import { CANCELABLE, cancelIntent } from '../payments/cancel-intent.ts'

/** Nobody owes an invoice any more; its intent ends with it. The caller has checked its status. */
export function voidInvoice(scope: Scope, id: string): WireInvoice {
  const voided = end(scope, id, 'void', 'voided_at')
  const payment = defaultPayment(scope, id)
  const intent = scope.account.rows(paymentIntents).get(idOf(payment?.payment.payment_intent) ?? '')
  if (payment !== undefined && intent !== undefined && CANCELABLE.includes(intent.status)) {
    cancelIntent(scope, intent.id, 'void_invoice')
    const now = nowBy(scope, idOf(voided.test_clock))
    changeRow(scope, invoicePayments, payment.id, {
      status: 'canceled',
      status_transitions: { canceled_at: now, paid_at: null },
    })
  }
  return voided
}

/** The money is given up, but can still be paid. */
export function markUncollectible(scope: Scope, id: string): WireInvoice {
  return end(scope, id, 'uncollectible', 'marked_uncollectible_at')
}

/** Forgets a draft; what was put on it by hand waits for another invoice. */
export function deleteInvoice(scope: Scope, id: string): Stripe.DeletedInvoice {
  const { account } = scope
  const invoice = requireRow(scope, invoices, id)
  for (const item of account.rows(invoiceItems).all((row) => row.invoice === id))
    changeRow(scope, invoiceItems, item.id, { invoice: null })
  account.rows(invoices).remove(id)
  account.rows(invoiceLines).remove(id)
  emitEvent(scope, 'invoice.deleted', invoice)
  return { id, object: 'invoice', deleted: true }
}

const EVENTS = { void: 'invoice.voided', uncollectible: 'invoice.marked_uncollectible' } as const

function end(
  scope: Scope,
  id: string,
  status: 'void' | 'uncollectible',
  moment: 'voided_at' | 'marked_uncollectible_at',
): WireInvoice {
  const before = requireRow(scope, invoices, id)
  const now = nowBy(scope, idOf(before.test_clock))
  const after = changeRow(scope, invoices, id, {
    status,
    auto_advance: false,
    next_payment_attempt: null,
    status_transitions: { ...before.status_transitions, [moment]: now },
  })
  emitEvent(scope, 'invoice.updated', after, before)
  emitEvent(scope, EVENTS[status], after, before)
  return after
}
