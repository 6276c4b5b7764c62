import type Stripe from 'stripe'
import { expect, it } from 'vitest'
import { idOf, refusal } from './fake-under-test.ts'
import { type BillingUnderTest, startBilling } from './subscription-fixture.ts'

const DAY = 24 * 60 * 60

/** A draft over this number of cents of EUR. */
async function draftOf(
  { stripe }: BillingUnderTest,
  customer: string,
  amount: number,
  params: Partial<Stripe.InvoiceCreateParams> = {},
): Promise<Stripe.Invoice> {
  const { id } = await stripe.invoices.create({ customer, currency: 'eur', ...params })
  if (amount > 0)
    await stripe.invoiceItems.create({
      customer,
      invoice: id,
      amount,
      currency: 'eur',
      description: 'Booth',
    })
  return stripe.invoices.retrieve(id)
}

it('is created manually, finalized and paid with the default card', async () => {
  const test = await startBilling()
  const { stripe, customer, newEvents } = test
  const owner = await customer()
  newEvents()
  const draft = await draftOf(test, owner, 2500, { metadata: { a: '1' }, description: 'Fair' })
  expect(draft).toMatchObject({
    status: 'draft',
    total: 2500,
    amount_due: 2500,
    number: null,
    billing_reason: 'manual',
    customer_name: 'Sponsor',
    parent: null,
    description: 'Fair',
    metadata: { a: '1' },
    lines: { data: [{ amount: 2500, description: 'Booth' }], has_more: false },
  })
  expect(newEvents()).toEqual(['invoice.created', 'invoice.updated', 'invoiceitem.created'])
  const open = await stripe.invoices.finalizeInvoice(draft.id)
  expect(open).toMatchObject({ status: 'open', amount_remaining: 2500 })
  expect(open.number).toMatch(/^[0-9A-Z]{8}-0001$/)
  expect(newEvents()).toEqual(['invoice.finalized', 'payment_intent.created'])
  const paid = await stripe.invoices.pay(draft.id)
  expect(paid).toMatchObject({ status: 'paid', amount_paid: 2500, amount_remaining: 0 })
  expect(paid.status_transitions.paid_at).toEqual(expect.any(Number))
  expect(newEvents()).toEqual([
    'charge.succeeded',
    'payment_intent.succeeded',
    'invoice_payment.paid',
    'invoice.updated',
    'invoice.paid',
    'invoice.payment_succeeded',
  ])
  expect((await refusal(stripe.invoices.pay(draft.id))).message).toMatch(/already paid/)
})

it('contains payments only when they are expanded', async () => {
  const test = await startBilling()
  const draft = await draftOf(test, await test.customer(), 2500)
  expect(draft).not.toHaveProperty('payments')
  await test.stripe.invoices.pay(draft.id)
  const paid = await test.stripe.invoices.retrieve(draft.id, { expand: ['payments'] })
  expect(paid.payments?.data).toMatchObject([
    { object: 'invoice_payment', amount_paid: 2500, is_default: true, status: 'paid' },
  ])
})

it('stays open when the card is declined or the payer must authenticate', async () => {
  const test = await startBilling()
  const { stripe, customer, newEvents } = test
  const draft = await draftOf(test, await customer('pm_card_chargeCustomerFail'), 2500)
  newEvents()
  expect(await refusal(stripe.invoices.pay(draft.id))).toMatchObject({
    statusCode: 402,
    code: 'card_declined',
    payment_intent: { status: 'requires_payment_method' },
  })
  expect(newEvents().at(-1)).toBe('invoice.payment_failed')
  expect(await stripe.invoices.retrieve(draft.id)).toMatchObject({
    status: 'open',
    attempted: true,
    attempt_count: 1,
  })
  const other = await draftOf(test, await customer('pm_card_authenticationRequired'), 2500)
  const waiting = await refusal(stripe.invoices.pay(other.id))
  expect(waiting.code).toBe('invoice_payment_intent_requires_action')
  expect(newEvents().at(-1)).toBe('invoice.payment_action_required')
})

it('is paid outside Stripe, or by a debit that settles days later', async () => {
  const test = await startBilling()
  const { stripe, control, customer } = test
  const owner = await customer()
  const cash = await draftOf(test, owner, 2500)
  const paid = await stripe.invoices.pay(cash.id, { paid_out_of_band: true })
  expect(paid.status).toBe('paid')
  expect((await stripe.charges.list()).data).toEqual([])
  const bank = await stripe.paymentMethods.attach('pm_sepaDebit', { customer: owner })
  const debit = await draftOf(test, owner, 3500)
  const pending = await stripe.invoices.pay(debit.id, { payment_method: bank.id })
  expect(pending.status).toBe('open')
  const payments = await stripe.invoicePayments.list({ invoice: debit.id })
  control.settle(idOf(payments.data[0]?.payment.payment_intent))
  expect((await stripe.invoices.retrieve(debit.id)).status).toBe('paid')
})

it('is voided or marked uncollectible, with an event for each', async () => {
  const test = await startBilling()
  const { stripe, customer, newEvents } = test
  const owner = await customer()
  const draft = await draftOf(test, owner, 2500)
  expect(await refusal(stripe.invoices.voidInvoice(draft.id))).toMatchObject({
    code: 'status_transition_invalid',
  })
  await stripe.invoices.finalizeInvoice(draft.id)
  newEvents()
  const voided = await stripe.invoices.voidInvoice(draft.id)
  expect(voided).toMatchObject({ status: 'void' })
  expect(newEvents()).toEqual(['invoice.updated', 'invoice.voided', 'payment_intent.canceled'])
  const second = await draftOf(test, owner, 2500)
  await stripe.invoices.finalizeInvoice(second.id)
  newEvents()
  const lost = await stripe.invoices.markUncollectible(second.id)
  expect(lost.status).toBe('uncollectible')
  expect(newEvents()).toEqual(['invoice.updated', 'invoice.marked_uncollectible'])
  expect((await stripe.invoices.pay(second.id)).status).toBe('paid')
})

it('can be deleted only as a draft', async () => {
  const test = await startBilling()
  const { stripe, customer, newEvents } = test
  const owner = await customer()
  const draft = await draftOf(test, owner, 2500)
  newEvents()
  expect(await stripe.invoices.del(draft.id)).toMatchObject({
    id: draft.id,
    object: 'invoice',
    deleted: true,
  })
  expect(newEvents()).toEqual(['invoice.deleted'])
  expect(await refusal(stripe.invoices.retrieve(draft.id))).toMatchObject({
    statusCode: 404,
    code: 'resource_missing',
  })
  // Its items wait for the next invoice.
  const next = await stripe.invoices.create({
    customer: owner,
    currency: 'eur',
    pending_invoice_items_behavior: 'include',
  })
  expect(next.total).toBe(2500)
  await stripe.invoices.finalizeInvoice(next.id)
  expect((await refusal(stripe.invoices.del(next.id))).statusCode).toBe(400)
  const late = stripe.invoices.update(next.id, { description: 'x' })
  expect(await refusal(late)).toMatchObject({ code: 'invoice_not_editable' })
  expect(await stripe.invoices.update(next.id, { metadata: { a: '1' } })).toMatchObject({
    metadata: { a: '1' },
  })
})

it('is sent with a due date', async () => {
  const test = await startBilling()
  const { stripe, customer, newEvents } = test
  const draft = await draftOf(test, await customer(), 2500, {
    collection_method: 'send_invoice',
    days_until_due: 30,
  })
  const sent = await stripe.invoices.sendInvoice(draft.id)
  expect(sent).toMatchObject({ status: 'open', due_date: draft.created + 30 * DAY })
  expect(newEvents().at(-1)).toBe('invoice.sent')
  const missing = draftOf(test, await customer(), 0, { collection_method: 'send_invoice' })
  expect(await refusal(missing)).toMatchObject({ param: 'days_until_due' })
})

it('shows ten lines and lists the rest; its items can be priced, changed and deleted', async () => {
  const test = await startBilling()
  const { stripe, customer } = test
  const owner = await customer()
  const draft = await draftOf(test, owner, 0)
  const price = await stripe.prices.create({
    currency: 'eur',
    unit_amount: 700,
    product_data: { name: 'Mug' },
  })
  const priced = await stripe.invoiceItems.create({
    customer: owner,
    invoice: draft.id,
    pricing: { price: price.id },
    quantity: 3,
  })
  expect(priced).toMatchObject({ amount: 2100, quantity: 3, invoice: draft.id })
  for (let amount = 1; amount <= 11; amount += 1)
    await stripe.invoiceItems.create({
      customer: owner,
      invoice: draft.id,
      amount,
      currency: 'eur',
    })
  const full = await stripe.invoices.retrieve(draft.id)
  expect(full).toMatchObject({ total: 2166, lines: { has_more: true } })
  expect(full.lines.data).toHaveLength(10)
  expect(full.lines.data[0]).toMatchObject({
    pricing: { price_details: { price: price.id } },
    parent: { invoice_item_details: { invoice_item: priced.id } },
  })
  const all = await stripe.invoices
    .listLineItems(draft.id, { limit: 5 })
    .autoPagingToArray({ limit: 100 })
  expect(all.map(({ amount }) => amount)).toEqual([2100, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
  await stripe.invoiceItems.update(priced.id, { amount: 2000, description: 'Three mugs' })
  const items = await stripe.invoiceItems.list({ invoice: draft.id, limit: 100 })
  expect(items.data).toHaveLength(12)
  await stripe.invoiceItems.del(items.data[0]?.id ?? '')
  expect(await stripe.invoices.retrieve(draft.id)).toMatchObject({
    total: 2055,
    lines: { data: [{ amount: 2000, description: 'Three mugs' }, ...Array(9).fill({})] },
  })
})

it('adds waiting items to the next invoice of a subscription', async () => {
  const test = await startBilling()
  const { stripe, customer, subscribe } = test
  const owner = await customer()
  await stripe.invoiceItems.create({ customer: owner, amount: 300, currency: 'eur' })
  expect((await stripe.invoiceItems.list({ pending: true })).data).toHaveLength(1)
  const subscription = await subscribe(owner, { expand: ['latest_invoice'] })
  expect(subscription.latest_invoice).toMatchObject({ total: 1300 })
  expect((await stripe.invoiceItems.list({ pending: true })).data).toEqual([])
})

it('lists by status, customer, subscription, time and due date', async () => {
  const test = await startBilling()
  const { stripe, control, customer, subscribe } = test
  const owner = await customer()
  const subscription = await subscribe(owner)
  control.clock.advance(100)
  const draft = await draftOf(test, await customer(), 2500, {
    collection_method: 'send_invoice',
    days_until_due: 10,
  })
  const ids = async (params: Stripe.InvoiceListParams) =>
    (await stripe.invoices.list(params)).data.map(({ id }) => id)
  const first = idOf(subscription.latest_invoice)
  expect(await ids({})).toEqual([draft.id, first])
  expect(await ids({ status: 'paid' })).toEqual([first])
  expect(await ids({ customer: owner })).toEqual([first])
  expect(await ids({ subscription: subscription.id })).toEqual([first])
  expect(await ids({ collection_method: 'send_invoice' })).toEqual([draft.id])
  expect(await ids({ created: { lt: draft.created } })).toEqual([first])
  expect(await ids({ due_date: { lte: draft.created + 10 * DAY } })).toEqual([draft.id])
  const expanded = await stripe.invoices.retrieve(first, {
    expand: ['parent.subscription_details.subscription', 'customer'],
  })
  expect(expanded).toMatchObject({
    customer: { id: owner },
    parent: { subscription_details: { subscription: { id: subscription.id, status: 'active' } } },
  })
})
