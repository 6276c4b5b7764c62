import { changeMetadata } from '../api/metadata.ts'
import { type Call, existing } from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { givenFields } from '../core/given-fields.ts'
import { idOf } from '../core/reference.ts'
import { requireRow } from '../core/require-row.ts'
import { invalidParameter, refused, StripeError } from '../core/stripe-error.ts'
import { customers } from '../objects/customer.ts'
import { invoiceLines, invoices, type WireInvoice } from '../objects/invoice.ts'
import { defaultPayment } from '../objects/invoice-payment.ts'
import { paymentIntents } from '../objects/payment-intent.ts'
import { nowBy } from '../objects/test-clock.ts'
import { resolvePaymentMethod } from '../payments/test-payment-methods.ts'
import type {
  InvoiceCreateInput,
  InvoicePayInput,
  InvoiceUpdateInput,
} from '../resources/invoice-params.ts'
import { applyDiscounts } from './apply-discount.ts'
import { addItems, draftInvoice, pendingItems, setLines } from './draft-invoice.ts'
import { finalizeInvoice } from './finalize-invoice.ts'
import { collectInvoice, invoicePaid } from './pay-invoice.ts'

const DAY = 24 * 60 * 60

/**
 * A draft that invoice items are put on.
 *
 * @see https://docs.stripe.com/api/invoices/create
 */
export function createInvoice(call: Call, input: InvoiceCreateInput): WireInvoice {
  const customer = existing(call, customers, input.customer, 'customer')
  const now = nowBy(call, idOf(customer.test_clock))
  const byMail = input.collection_method === 'send_invoice'
  if (byMail && input.days_until_due === undefined && input.due_date === undefined)
    throw invalidParameter(
      'days_until_due',
      "If `collection_method` is set to 'send_invoice', you must specify `days_until_due` or `due_date`.",
      'parameter_missing',
    )
  const currency = input.currency ?? customer.currency ?? call.account.profile.defaultCurrency
  const { auto_advance, collection_method, default_payment_method, default_source } = input
  const { description, effective_at, footer, number, statement_descriptor } = input
  const { id } = draftInvoice(
    call,
    {
      customer,
      currency,
      now,
      ...givenFields({ auto_advance, collection_method, default_payment_method, default_source }),
      ...givenFields({ description, effective_at, footer, number, statement_descriptor }),
      discounts: applyDiscounts(call, input.discounts ?? [], { customer: customer.id }, now),
      due_date: dueDate(input, now),
      metadata: changeMetadata({}, input.metadata),
    },
    [],
  )
  if (input.pending_invoice_items_behavior === 'include')
    return addItems(call, id, pendingItems(call, customer.id, currency))
  return requireRow(call, invoices, id)
}

/** Only a draft can be changed, beside its notes. @throws StripeError `invoice_not_editable`. */
export function updateInvoice(call: Call, id: string, input: InvoiceUpdateInput): WireInvoice {
  const before = existing(call, invoices, id, 'invoice', 404)
  const { metadata, auto_advance, default_payment_method, default_source, ...others } = input
  if (Object.values(others).some((value) => value !== undefined)) requireDraft(before)
  const { collection_method, description, effective_at, footer, number } = others
  const now = nowBy(call, idOf(before.test_clock))
  const due = dueDate(others, now)
  changeRow(call, invoices, id, {
    ...givenFields({ auto_advance, collection_method, default_payment_method, default_source }),
    ...givenFields({ description, effective_at, footer, number }),
    ...givenFields({ statement_descriptor: others.statement_descriptor }),
    ...(due === null ? {} : { due_date: due }),
    ...(others.discounts === undefined
      ? {}
      : { discounts: applyDiscounts(call, others.discounts ?? [], { invoice: id }, now) }),
    metadata: changeMetadata(before.metadata ?? {}, metadata),
  })
  const after =
    before.status === 'draft'
      ? setLines(call, id, requireRow(call, invoiceLines, id).items)
      : requireRow(call, invoices, id)
  emitEvent(call, 'invoice.updated', after, before)
  return after
}

/**
 * Pays an invoice now; a draft is finalized first.
 *
 * @throws StripeError 402 when the card is declined; the events exist then.
 * @see https://docs.stripe.com/api/invoices/pay
 */
export function payInvoice(call: Call, id: string, input: InvoicePayInput): WireInvoice {
  const before = existing(call, invoices, id, 'invoice', 404)
  if (before.status === 'paid') throw refused('Invoice is already paid')
  if (before.status === 'void') throw refused('Invoice is void and cannot be paid')
  if (before.status === 'uncollectible') changeRow(call, invoices, id, { status: 'open' })
  const open =
    before.status === 'draft' ? finalizeInvoice(call, id) : requireRow(call, invoices, id)
  if (open.status === 'paid') return open
  if (input.paid_out_of_band) return invoicePaid(call, id)
  const wanted = input.payment_method ?? input.source
  const method =
    wanted === undefined ? undefined : resolvePaymentMethod(call, wanted, 'payment_method')
  const result = collectInvoice(call, id, { method, decline: call.decline })
  if (result === 'failed' || result === 'requires_action') throw notPaid(call, id)
  if (result === 'no_method')
    throw refused(
      'There is no `default_payment_method` set on this Customer or Invoice. Please attach a payment method and set it as the default.',
      { code: 'resource_missing' },
    )
  return requireRow(call, invoices, id)
}

/** @throws StripeError `invoice_not_editable` unless the invoice is a draft. */
export function requireDraft({ status }: WireInvoice): void {
  if (status === 'draft') return
  throw refused("This invoice is no longer editable because it's finalized.", {
    code: 'invoice_not_editable',
  })
}

function dueDate(
  input: { days_until_due?: number | undefined; due_date?: number | undefined },
  now: number,
): number | null {
  if (input.due_date !== undefined) return input.due_date
  return input.days_until_due === undefined ? null : now + input.days_until_due * DAY
}

function notPaid(call: Call, id: string): StripeError {
  const intentId = idOf(defaultPayment(call, id)?.payment.payment_intent)
  const intent = requireRow(call, paymentIntents, intentId)
  const error = intent.last_payment_error
  if (intent.status === 'requires_action' || error === null)
    return new StripeError(
      402,
      'card_error',
      'This payment requires additional user action before it can be completed successfully.',
      { code: 'invoice_payment_intent_requires_action', payment_intent: intent },
      { stored: true },
    )
  const { code = 'card_declined', decline_code: decline = '', message = '' } = error
  const details = { code, decline_code: decline, payment_intent: intent }
  return new StripeError(402, 'card_error', message, details, { stored: true })
}
