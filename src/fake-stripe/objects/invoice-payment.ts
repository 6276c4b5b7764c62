import type Stripe from 'stripe'
import { fakeId } from '../core/fake-id.ts'
import { idOf } from '../core/reference.ts'
import type { Scope } from '../core/scope.ts'
import { defineTable } from '../core/table.ts'

/** Which payment intents are for which invoice. @see https://docs.stripe.com/api/invoice-payment */
export const invoicePayments = defineTable<Stripe.InvoicePayment>('invoice_payment')

export function insertInvoicePayment(
  { account }: Scope,
  invoice: { id: string; amount_due: number; currency: string },
  intent: string,
  now: number,
): Stripe.InvoicePayment {
  return account.rows(invoicePayments).insert({
    id: fakeId('inpay_1'),
    object: 'invoice_payment',
    amount_paid: null,
    amount_requested: invoice.amount_due,
    created: now,
    currency: invoice.currency,
    invoice: invoice.id,
    is_default: true,
    livemode: account.livemode,
    payment: { payment_intent: intent, type: 'payment_intent' },
    status: 'open',
    status_transitions: { canceled_at: null, paid_at: null },
  })
}

/** The payment by which an invoice is to be paid, made when the invoice is finalized. */
export function defaultPayment({ account }: Scope, invoice: string) {
  return account.rows(invoicePayments).all((payment) => idOf(payment.invoice) === invoice)[0]
}
