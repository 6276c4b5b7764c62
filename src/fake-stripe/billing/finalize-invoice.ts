import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import type { Scope } from '../core/scope.ts'
import { customers } from '../objects/customer.ts'
import { invoices, type WireInvoice } from '../objects/invoice.ts'
import { insertInvoicePayment } from '../objects/invoice-payment.ts'
import { createPaymentIntent, intentFollowers } from '../objects/payment-intent.ts'
import { nowBy } from '../objects/test-clock.ts'
import { followIntent, invoicePaid } from './pay-invoice.ts'

const DESCRIPTIONS: Record<string, string> = {
  subscription_create: 'Subscription creation',
  subscription_cycle: 'Subscription update',
  subscription_update: 'Subscription update',
}

/**
 * Opens a draft: it gets its number and the intent by which it is paid. Nothing to pay is paid.
 *
 * @see https://docs.stripe.com/api/invoices/finalize
 */
export function finalizeInvoice(scope: Scope, id: string): WireInvoice {
  const before = requireRow(scope, invoices, id)
  const now = nowBy(scope, idOf(before.test_clock))
  const open = changeRow(scope, invoices, id, {
    status: 'open',
    number: before.number ?? nextNumber(scope, idOf(before.customer)),
    effective_at: before.effective_at ?? now,
    ending_balance: 0,
    automatically_finalizes_at: null,
    status_transitions: { ...before.status_transitions, finalized_at: now },
  })
  emitEvent(scope, 'invoice.finalized', open, before)
  if (open.amount_due === 0) return invoicePaid(scope, id)
  makePayment(scope, open, now)
  return open
}

function nextNumber(scope: Scope, customerId: string | null): string {
  const customer = requireRow(scope, customers, customerId)
  const sequence = customer.next_invoice_sequence ?? 1
  changeRow(scope, customers, customer.id, { next_invoice_sequence: sequence + 1 })
  return `${customer.invoice_prefix}-${String(sequence).padStart(4, '0')}`
}

function makePayment(scope: Scope, invoice: WireInvoice, now: number): void {
  const { id, amount_due: amount, currency, billing_reason: reason } = invoice
  const intent = createPaymentIntent(scope, {
    amount,
    currency,
    customer: idOf(invoice.customer),
    description: DESCRIPTIONS[reason ?? ''] ?? `Payment for Invoice ${invoice.number}`,
    statement_descriptor: invoice.statement_descriptor,
  })
  insertInvoicePayment(scope, invoice, intent.id, now)
  scope.account.rows(intentFollowers).insert({
    id: intent.id,
    settled: (cause, settled) => followIntent(cause, id, settled),
  })
  emitEvent(scope, 'payment_intent.created', intent)
}
