import type Stripe from 'stripe'
import { expect, it } from 'vitest'
import { idOf, refusal } from './fake-under-test.ts'
import { monthlyPrice, startBilling } from './subscription-fixture.ts'

const DAY = 24 * 60 * 60

it('starts active with its first month paid, and sends all events', async () => {
  const { stripe, customer, subscribe, newEvents, price } = await startBilling()
  const owner = await customer()
  newEvents()
  const subscription = await subscribe(owner, {
    items: [{ price, quantity: 3 }],
    description: 'Gold',
    metadata: { a: '1' },
    expand: ['latest_invoice.payments.data.payment.payment_intent'],
  })
  expect(subscription).toMatchObject({
    status: 'active',
    customer: owner,
    currency: 'eur',
    description: 'Gold',
    metadata: { a: '1' },
    cancel_at_period_end: false,
    latest_invoice: {
      status: 'paid',
      amount_paid: 3000,
      billing_reason: 'subscription_create',
      parent: { subscription_details: { subscription: subscription.id } },
      payments: {
        data: [{ status: 'paid', payment: { payment_intent: { status: 'succeeded' } } }],
      },
    },
  })
  const [item] = subscription.items.data
  expect(item).toMatchObject({ quantity: 3, price: { id: price }, plan: { amount: 1000 } })
  expect(subscription).not.toHaveProperty('current_period_end')
  const days = ((item?.current_period_end ?? 0) - (item?.current_period_start ?? 0)) / DAY
  expect(days).toBeGreaterThanOrEqual(28)
  expect(newEvents()).toEqual([
    'invoice.created',
    'invoice.finalized',
    'payment_intent.created',
    'charge.succeeded',
    'payment_intent.succeeded',
    'invoice_payment.paid',
    'invoice.updated',
    'invoice.paid',
    'invoice.payment_succeeded',
    'customer.subscription.created',
  ])
  expect((await stripe.charges.list({ customer: owner })).data).toMatchObject([{ amount: 3000 }])
})

it('stays incomplete when the card is declined, and becomes active once the invoice is paid', async () => {
  const { stripe, customer, subscribe, newEvents } = await startBilling()
  const owner = await customer('pm_card_chargeCustomerFail')
  const subscription = await subscribe(owner)
  expect(subscription.status).toBe('incomplete')
  expect(newEvents()).toContain('invoice.payment_failed')
  const good = await stripe.paymentMethods.attach('pm_card_visa', { customer: owner })
  const invoice = idOf(subscription.latest_invoice)
  const declined = stripe.invoices.pay(invoice)
  expect(await refusal(declined)).toMatchObject({ statusCode: 402, code: 'card_declined' })
  newEvents()
  const paid = await stripe.invoices.pay(invoice, { payment_method: good.id })
  expect(paid).toMatchObject({ status: 'paid', attempt_count: 3 })
  expect((await stripe.subscriptions.retrieve(subscription.id)).status).toBe('active')
  expect(newEvents().at(-1)).toBe('customer.subscription.updated')
})

it('waits for the payer to confirm with default_incomplete', async () => {
  const { stripe, customer, subscribe } = await startBilling()
  const owner = await customer()
  const subscription = await subscribe(owner, { payment_behavior: 'default_incomplete' })
  expect(subscription.status).toBe('incomplete')
  const payments = await stripe.invoicePayments.list({
    invoice: idOf(subscription.latest_invoice),
  })
  const intent = idOf(payments.data[0]?.payment.payment_intent)
  await stripe.paymentIntents.confirm(intent, { payment_method: 'pm_card_visa' })
  expect((await stripe.subscriptions.retrieve(subscription.id)).status).toBe('active')
})

it('expires when the first payment is not made within 23 hours', async () => {
  const { stripe, control, customer, subscribe } = await startBilling()
  const subscription = await subscribe(await customer('pm_card_chargeCustomerFail'))
  control.clock.advance(24 * 60 * 60)
  const expired = await stripe.subscriptions.retrieve(subscription.id, {
    expand: ['latest_invoice'],
  })
  expect(expired).toMatchObject({
    status: 'incomplete_expired',
    latest_invoice: { status: 'void' },
  })
})

it('creates nothing when the payment must not be incomplete, or no method can be charged', async () => {
  const { stripe, customer, subscribe } = await startBilling()
  const poor = await customer('pm_card_chargeCustomerFail')
  const strict = subscribe(poor, { payment_behavior: 'error_if_incomplete' })
  expect(await refusal(strict)).toMatchObject({ statusCode: 402, code: 'card_declined' })
  const { id: bare } = await stripe.customers.create({})
  expect((await refusal(subscribe(bare))).message).toMatch(/no attached payment source/)
  expect((await stripe.subscriptions.list({ status: 'all' })).data).toEqual([])
  expect((await stripe.invoices.list()).data).toEqual([])
})

it('renews by the clock, and is past due when the card is declined', async () => {
  const { stripe, control, customer, subscribe, newEvents } = await startBilling()
  const owner = await customer()
  const { id, items } = await subscribe(owner)
  newEvents()
  control.clock.advance(32 * DAY)
  const renewed = await stripe.subscriptions.retrieve(id)
  expect(renewed.status).toBe('active')
  expect(renewed.items.data[0]?.current_period_start).toBe(items.data[0]?.current_period_end)
  const invoices = await stripe.invoices.list({ subscription: id })
  expect(invoices.data.map(({ billing_reason }) => billing_reason)).toEqual([
    'subscription_cycle',
    'subscription_create',
  ])
  expect(newEvents()).toContain('customer.subscription.updated')
  const broken = await stripe.paymentMethods.attach('pm_card_chargeCustomerFail', {
    customer: owner,
  })
  await stripe.subscriptions.update(id, { default_payment_method: broken.id })
  control.clock.advance(31 * DAY)
  const late = await stripe.subscriptions.retrieve(id, { expand: ['latest_invoice'] })
  expect(late).toMatchObject({ status: 'past_due', latest_invoice: { status: 'open' } })
})

it('starts with a trial, sends a warning three days before its end, and then charges', async () => {
  const { stripe, control, customer, subscribe, newEvents } = await startBilling()
  const subscription = await subscribe(await customer(), { trial_period_days: 10 })
  expect(subscription).toMatchObject({ status: 'trialing', trial_start: subscription.created })
  expect(subscription.trial_end).toBe(subscription.created + 10 * DAY)
  expect(subscription.items.data[0]?.current_period_end).toBe(subscription.trial_end)
  newEvents()
  control.clock.advance(8 * DAY)
  expect(newEvents()).toEqual(['customer.subscription.trial_will_end'])
  control.clock.advance(3 * DAY)
  const after = await stripe.subscriptions.retrieve(subscription.id, { expand: ['latest_invoice'] })
  expect(after).toMatchObject({ status: 'active', latest_invoice: { amount_paid: 1000 } })
  expect(newEvents()).not.toContain('customer.subscription.trial_will_end')
})

it('ends a trial immediately, and pauses one that ends without a card', async () => {
  const { stripe, control, customer, subscribe, newEvents } = await startBilling()
  const { id } = await subscribe(await customer(), { trial_period_days: 30 })
  const ended = await stripe.subscriptions.update(id, { trial_end: 'now' })
  expect(ended.status).toBe('active')
  const { id: bare } = await stripe.customers.create({})
  const trial = await subscribe(bare, {
    trial_period_days: 2,
    trial_settings: { end_behavior: { missing_payment_method: 'pause' } },
  })
  newEvents()
  control.clock.advance(3 * DAY)
  expect(newEvents()).toEqual(['customer.subscription.updated', 'customer.subscription.paused'])
  const paused = await stripe.subscriptions.retrieve(trial.id)
  expect(paused.status_details?.paused.subscription.type).toBe('trial_end_without_payment_method')
  const unpaid = await stripe.subscriptions.resume(trial.id, { expand: ['latest_invoice'] })
  expect(unpaid).toMatchObject({ status: 'paused', latest_invoice: { status: 'open' } })
  await stripe.invoices.pay(idOf(unpaid.latest_invoice), { payment_method: 'pm_card_visa' })
  const resumed = await stripe.subscriptions.retrieve(trial.id)
  expect(resumed.status).toBe('active')
  expect(resumed).not.toHaveProperty('status_details')
  expect(newEvents().slice(-2)).toEqual([
    'customer.subscription.updated',
    'customer.subscription.resumed',
  ])
})

it('is paused and resumed within its period without a new invoice', async () => {
  const { stripe, customer, subscribe } = await startBilling()
  const { id } = await subscribe(await customer())
  const paused = await stripe.subscriptions.pause(id, { type: 'subscription' })
  expect(paused.status_details?.paused.subscription.type).toBe('pause_requested')
  expect((await refusal(stripe.subscriptions.pause(id))).message).toMatch(/is paused/)
  expect((await stripe.subscriptions.resume(id)).status).toBe('active')
  expect((await refusal(stripe.subscriptions.resume(id))).message).toMatch(/is active/)
  expect((await stripe.invoices.list({ subscription: id })).data).toHaveLength(1)
})

it('is canceled immediately or at the end of the period, and stays readable', async () => {
  const { stripe, control, customer, subscribe, newEvents } = await startBilling()
  const owner = await customer()
  const { id } = await subscribe(owner)
  newEvents()
  const canceled = await stripe.subscriptions.cancel(id, {
    cancellation_details: { comment: 'too many', feedback: 'unused' },
  })
  expect(canceled).toMatchObject({
    status: 'canceled',
    cancellation_details: {
      reason: 'cancellation_requested',
      comment: 'too many',
      feedback: 'unused',
    },
  })
  expect(newEvents()).toEqual(['customer.subscription.deleted'])
  expect((await stripe.subscriptions.retrieve(id)).ended_at).toBe(canceled.ended_at)
  expect(await refusal(stripe.subscriptions.cancel(id))).toMatchObject({ statusCode: 404 })
  const late = stripe.subscriptions.update(id, { description: 'x' })
  expect(await refusal(late)).toMatchObject({ code: 'invalid_canceled_subscription_fields' })

  const second = await subscribe(owner)
  const ending = await stripe.subscriptions.update(second.id, { cancel_at_period_end: true })
  expect(ending.cancel_at).toBe(ending.items.data[0]?.current_period_end)
  const kept = await stripe.subscriptions.update(second.id, { cancel_at_period_end: false })
  expect(kept).toMatchObject({ cancel_at: null, canceled_at: null })
  await stripe.subscriptions.update(second.id, { cancel_at_period_end: true })
  control.clock.advance(32 * DAY)
  expect((await stripe.subscriptions.retrieve(second.id)).status).toBe('canceled')
  expect(newEvents().at(-1)).toBe('customer.subscription.deleted')
})

it('sends an invoice with a due date instead of charging', async () => {
  const { stripe, subscribe } = await startBilling()
  const { id: bare } = await stripe.customers.create({})
  const subscription = await subscribe(bare, {
    collection_method: 'send_invoice',
    days_until_due: 14,
    expand: ['latest_invoice'],
  })
  expect(subscription).toMatchObject({
    status: 'active',
    latest_invoice: { status: 'open', due_date: subscription.created + 14 * DAY },
  })
  const missing = subscribe(bare, { collection_method: 'send_invoice' })
  expect(await refusal(missing)).toMatchObject({ param: 'days_until_due' })
})

it('lists all but the canceled ones by default', async () => {
  const { stripe, control, customer, subscribe, price } = await startBilling()
  const owner = await customer()
  const active = await subscribe(owner)
  const canceled = await subscribe(owner)
  await stripe.subscriptions.cancel(canceled.id)
  control.clock.advance(100)
  const trial = await subscribe(await customer(), { trial_period_days: 5 })
  const ids = async (params: Stripe.SubscriptionListParams) =>
    (await stripe.subscriptions.list(params)).data.map(({ id }) => id)
  expect(await ids({})).toEqual([trial.id, active.id])
  expect(await ids({ status: 'all' })).toEqual([trial.id, canceled.id, active.id])
  expect(await ids({ status: 'ended' })).toEqual([canceled.id])
  expect(await ids({ status: 'trialing' })).toEqual([trial.id])
  expect(await ids({ customer: owner, status: 'all' })).toEqual([canceled.id, active.id])
  expect(await ids({ price, created: { gt: active.created } })).toEqual([trial.id])
  expect(await ids({ price: 'price_none' })).toEqual([])
  expect(await ids({ current_period_end: { lte: trial.trial_end ?? 0 } })).toEqual([trial.id])
})

it.each([
  'incomplete',
  'incomplete_expired',
  'trialing',
  'past_due',
  'canceled',
  'unpaid',
  'paused',
] as const)('can be put into the state %s', async (status) => {
  const { stripe, control, customer, subscribe, newEvents } = await startBilling()
  const { id } = await subscribe(await customer())
  newEvents()
  control.setSubscriptionStatus(id, status)
  expect((await stripe.subscriptions.retrieve(id)).status).toBe(status)
  const told = status === 'canceled' ? 'deleted' : 'updated'
  expect(newEvents()[0]).toBe(`customer.subscription.${told}`)
  expect((await stripe.subscriptions.list({ status })).data).toHaveLength(1)
})

it('cancels the subscriptions of a deleted customer', async () => {
  const { stripe, customer, subscribe, newEvents } = await startBilling()
  const owner = await customer()
  const { id } = await subscribe(owner)
  newEvents()
  await stripe.customers.del(owner)
  expect((await stripe.subscriptions.retrieve(id)).status).toBe('canceled')
  expect(newEvents()).toEqual([
    'customer.subscription.deleted',
    'payment_method.detached',
    'customer.deleted',
  ])
})

it('renews when the test clock of its customer is advanced', async () => {
  const { stripe, customer } = await startBilling()
  const start = Date.UTC(2027, 0, 31) / 1000
  const clock = await stripe.testHelpers.testClocks.create({ frozen_time: start })
  const owner = await customer('pm_card_visa', { test_clock: clock.id })
  const monthly = await monthlyPrice(stripe, 500)
  const { id, created } = await stripe.subscriptions.create({
    customer: owner,
    items: [{ price: monthly }],
  })
  expect(created).toBe(start)
  const advance = (time: number) =>
    stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: time / 1000 })
  const tooFar = await refusal(advance(Date.UTC(2027, 3, 1)))
  expect(tooFar.message).toMatch(/two intervals of the shortest subscription/)
  await advance(Date.UTC(2027, 2, 31))
  const moved = await stripe.subscriptions.retrieve(id)
  // The 31st, the last day of February, and the 31st again.
  expect(moved.items.data[0]?.current_period_start).toBe(Date.UTC(2027, 2, 31) / 1000)
  const invoices = await stripe.invoices.list({ customer: owner })
  expect(invoices.data.map((invoice) => invoice.created * 1000)).toEqual([
    Date.UTC(2027, 2, 31),
    Date.UTC(2027, 1, 28),
    Date.UTC(2027, 0, 31),
  ])
  expect((await stripe.subscriptions.list()).data).toEqual([])
  expect((await stripe.subscriptions.list({ test_clock: clock.id })).data).toHaveLength(1)
  await stripe.testHelpers.testClocks.del(clock.id)
  expect(await refusal(stripe.subscriptions.retrieve(id))).toMatchObject({ statusCode: 404 })
  expect((await stripe.invoices.list({ customer: owner })).data).toEqual([])
})
