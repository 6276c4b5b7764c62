import { expect, it } from 'vitest'
import { type FakeUnderTest, idOf, sessionParams, startFake } from './fake-under-test.ts'
import SAMPLES from './stripe-object-keys.json' with { type: 'json' }

// The keys are those of the sample objects that Stripe publishes (fixtures3.json of its OpenAPI
// repository). The samples are older than the pinned API version; the keys that were added later are
// listed here, so that no other key can differ.
const NEWER_THAN_THE_SAMPLES: Record<string, string[]> = {
  'checkout.session': ['allowed_payment_method_types'],
  dispute: ['intended_submission_method'],
  payment_intent: ['allowed_payment_method_types', 'payment_record'],
  product: ['tax_details'],
  'radar.early_fraud_warning': ['payment_intent'],
  setup_intent: ['allowed_payment_method_types'],
  subscription_item: ['current_trial'],
}

// The samples have these keys, but the pinned version does not (nor do the SDK's types).
const GONE_SINCE_THE_SAMPLES: Record<string, string[]> = {
  invoice: ['subscription'],
}

/** One object of each kind, as the API returns it. */
async function oneOfEach(test: FakeUnderTest): Promise<Record<string, object | undefined>> {
  return {
    ...(await merchantObjects(test)),
    ...(await catalogObjects(test)),
    ...(await customerObjects(test)),
    ...(await billingObjects(test)),
    ...(await paymentObjects(test)),
  }
}

async function merchantObjects({ stripe }: FakeUnderTest) {
  const customer = await stripe.customers.create({ email: 'a@example.com' })
  const setup = await stripe.checkout.sessions.create({
    mode: 'setup',
    currency: 'eur',
    success_url: 'https://shop.example/',
  })
  const { id } = await stripe.webhookEndpoints.create({
    url: 'http://127.0.0.1:1/',
    enabled_events: ['charge.refunded'],
  })
  return {
    account: await stripe.accounts.retrieveCurrent(),
    customer,
    event: (await stripe.events.list({ type: 'customer.created' })).data[0],
    deleted_customer: await stripe.customers.del(customer.id),
    setup_intent: await stripe.setupIntents.retrieve(idOf(setup.setup_intent)),
    webhook_endpoint: await stripe.webhookEndpoints.retrieve(id),
    deleted_webhook_endpoint: await stripe.webhookEndpoints.del(id),
  }
}

async function catalogObjects({ stripe }: FakeUnderTest) {
  const { id: unsold } = await stripe.products.create({ name: 'Unsold' })
  const coupon = await stripe.coupons.create({ percent_off: 10 })
  const plan = await stripe.plans.create({
    currency: 'eur',
    interval: 'month',
    amount: 900,
    product: { name: 'Membership' },
  })
  return {
    product: await stripe.products.retrieve(idOf(plan.product)),
    deleted_product: await stripe.products.del(unsold),
    price: await stripe.prices.retrieve(plan.id),
    plan,
    deleted_plan: await stripe.plans.del(plan.id),
    coupon,
    promotion_code: await stripe.promotionCodes.create({
      promotion: { type: 'coupon', coupon: coupon.id },
    }),
    deleted_coupon: await stripe.coupons.del(coupon.id),
    payout: await stripe.payouts.create({ amount: 100, currency: 'eur' }),
  }
}

async function customerObjects({ stripe }: FakeUnderTest) {
  const { id } = await stripe.customers.create({})
  const card = await stripe.customers.createSource(id, { source: 'tok_visa' })
  const clock = await stripe.testHelpers.testClocks.create({ frozen_time: 1_800_000_000 })
  return {
    card,
    deleted_card: await stripe.customers.deleteSource(id, card.id),
    'test_helpers.test_clock': clock,
    'deleted_test_helpers.test_clock': await stripe.testHelpers.testClocks.del(clock.id),
  }
}

async function billingObjects({ stripe }: FakeUnderTest) {
  const { id: customer } = await stripe.customers.create({ source: 'tok_visa' })
  const coupon = await stripe.coupons.create({ percent_off: 10, duration: 'forever' })
  const items = await Promise.all(
    ['Membership', 'Support'].map(async (name) => {
      const { id: price } = await stripe.prices.create({
        currency: 'eur',
        unit_amount: 1000,
        recurring: { interval: 'month' },
        product_data: { name },
      })
      return { price }
    }),
  )
  const subscription = await stripe.subscriptions.create({
    customer,
    items,
    discounts: [{ coupon: coupon.id }],
    expand: ['discounts'],
  })
  const [item, other] = subscription.items.data
  const paid = await stripe.invoices.retrieve(idOf(subscription.latest_invoice), {
    expand: ['payments'],
  })
  const invoice = await stripe.invoices.create({ customer })
  const onInvoice = { customer, invoice: invoice.id, amount: 100, currency: 'usd' }
  const invoiceItem = await stripe.invoiceItems.create(onInvoice)
  const { payments, ...plain } = paid
  return {
    discount: subscription.discounts.find((discount) => typeof discount !== 'string'),
    subscription,
    subscription_item: await stripe.subscriptionItems.retrieve(item?.id ?? ''),
    deleted_subscription_item: await stripe.subscriptionItems.del(other?.id ?? ''),
    invoice: plain,
    line_item: paid.lines.data[0],
    invoice_payment: payments?.data[0],
    invoiceitem: await stripe.invoiceItems.retrieve(invoiceItem.id),
    deleted_invoiceitem: await stripe.invoiceItems.del(invoiceItem.id),
    deleted_invoice: await stripe.invoices.del(invoice.id),
  }
}

async function paymentObjects({ stripe, control }: FakeUnderTest) {
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  control.pay(id)
  const session = await stripe.checkout.sessions.retrieve(id)
  const [item] = (await stripe.checkout.sessions.listLineItems(id)).data
  const intent = await stripe.paymentIntents.retrieve(idOf(session.payment_intent))
  const charge = await stripe.charges.retrieve(idOf(intent.latest_charge), { expand: ['refunds'] })
  const warning = control.earlyFraudWarning(charge.id)
  return {
    balance_transaction: await stripe.balanceTransactions.retrieve(
      idOf(charge.balance_transaction),
    ),
    charge,
    'checkout.session': session,
    item,
    payment_intent: intent,
    payment_method: await stripe.paymentMethods.retrieve(idOf(intent.payment_method)),
    'radar.early_fraud_warning': await stripe.radar.earlyFraudWarnings.retrieve(warning.id),
    refund: await stripe.refunds.create({ charge: charge.id, amount: 100 }),
    dispute: await stripe.disputes.retrieve(control.dispute(charge.id).id),
  }
}

it('gives every object the keys of Stripe’s own sample of its kind', async () => {
  const objects = await oneOfEach(await startFake())
  expect(Object.keys(objects).toSorted()).toEqual(Object.keys(SAMPLES).toSorted())
  for (const [kind, keys] of Object.entries(SAMPLES)) {
    const gone = GONE_SINCE_THE_SAMPLES[kind] ?? []
    const kept = keys.filter((key) => !gone.includes(key))
    const wanted = [...kept, ...(NEWER_THAN_THE_SAMPLES[kind] ?? [])]
    // lastResponse, which the SDK adds, is not enumerable.
    const found = Object.keys(objects[kind] ?? {}).toSorted()
    expect({ kind, keys: found }).toEqual({ kind, keys: wanted.toSorted() })
  }
})

it('keeps the keys of a session in all its states', async () => {
  const { stripe, control } = await startFake()
  const open = await stripe.checkout.sessions.create(sessionParams())
  const expired = await stripe.checkout.sessions.expire(open.id)
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  control.payLater(id)
  const complete = await stripe.checkout.sessions.retrieve(id)
  expect(Object.keys(expired)).toEqual(Object.keys(open))
  expect(Object.keys(complete)).toEqual(Object.keys(open))
})

it('contains refunds in a charge only when they are expanded, as at Stripe since 2022', async () => {
  const { stripe, control } = await startFake()
  const session = await stripe.checkout.sessions.create(sessionParams())
  const intent = control.pay(session.id).payment_intent
  const { data } = await stripe.charges.list({ payment_intent: idOf(intent) })
  expect(data[0]).not.toHaveProperty('refunds')
})

it('gives the price of a line item the keys of any price', async () => {
  const { stripe } = await startFake()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  const [item] = (await stripe.checkout.sessions.listLineItems(id)).data
  expect(Object.keys(item?.price ?? {}).toSorted()).toEqual(SAMPLES.price.toSorted())
})
