import type Stripe from 'stripe'
import { createdWithin, type FiltersOf, listOperation } from '../api/list-operation.ts'
import { choice, group, text, timeRange, unsupported } from '../api/params.ts'
import { type Resource, retrieveOperation } from '../api/resource.ts'
import { idOf } from '../core/reference.ts'
import { invoicePayments } from '../objects/invoice-payment.ts'

/** @see https://docs.stripe.com/api/invoice-payment */
export const invoicePaymentResource: Resource = {
  kind: invoicePayments.name,
  expandable: {
    invoice: { kind: 'invoice' },
    payment: { kind: 'invoice_payment.payment', inline: true },
  },
  operations: [
    retrieveOperation('/v1/invoice_payments/:id', invoicePayments),
    listOperation({
      path: '/v1/invoice_payments',
      table: invoicePayments,
      filters: {
        created: timeRange().optional(),
        invoice: text().optional(),
        payment: group({
          payment_intent: text().optional(),
          payment_record: unsupported('payment records'),
          type: choice('type', ['payment_intent', 'payment_record']),
        }).optional(),
        status: choice('status', ['canceled', 'open', 'paid']).optional(),
      } satisfies FiltersOf<Stripe.InvoicePaymentListParams>,
      where({ created, invoice, payment, status }) {
        const within = createdWithin(created)
        return (row) => {
          const intent = idOf(row.payment.payment_intent)
          return (
            within(row) &&
            (invoice ?? row.invoice) === row.invoice &&
            (payment?.payment_intent ?? intent) === intent &&
            (status ?? row.status) === row.status
          )
        }
      },
    }),
  ],
}

/** Part of an invoice payment; it has no endpoint of its own. */
export const paymentOfInvoiceResource: Resource = {
  kind: 'invoice_payment.payment',
  expandable: { payment_intent: { kind: 'payment_intent' } },
  operations: [],
}
