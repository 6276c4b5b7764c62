import type Stripe from 'stripe'
import { expect, it } from 'vitest'
import { refusal } from './fake-under-test.ts'
import { monthlyPrice, startBilling } from './subscription-fixture.ts'

const DAY = 24 * 60 * 60

it('adds, changes and deletes items, and shows at most ten of them', async () => {
  const { stripe, customer, price, subscribe } = await startBilling()
  const prices = [price]
  for (let amount = 1; amount <= 11; amount += 1)
    prices.push(await monthlyPrice(stripe, amount * 100))
  const subscription = await subscribe(await customer(), {
    items: prices.map((each) => ({ price: each })),
  })
  expect(subscription.items).toMatchObject({ has_more: true, object: 'list' })
  expect(subscription.items.data.map((item) => item.price.id)).toEqual(prices.slice(0, 10))
  const all = await stripe.subscriptionItems
    .list({ subscription: subscription.id, limit: 5 })
    .autoPagingToArray({ limit: 100 })
  expect(all.map((item) => item.price.id)).toEqual(prices)

  const [first, second] = subscription.items.data
  const extra = await monthlyPrice(stripe, 5000)
  const changed = await stripe.subscriptions.update(subscription.id, {
    items: [
      { id: first?.id ?? '', quantity: 7 },
      { id: second?.id ?? '', deleted: true },
      { price: extra },
    ],
  })
  const items = await stripe.subscriptionItems.list({ subscription: subscription.id, limit: 100 })
  expect(items.data).toHaveLength(12)
  expect(changed.items.data.find(({ id }) => id === first?.id)?.quantity).toBe(7)
  const gone = stripe.subscriptionItems.retrieve(second?.id ?? '')
  expect(await refusal(gone)).toMatchObject({ statusCode: 404, code: 'resource_missing' })
  const updated = await stripe.subscriptionItems.update(first?.id ?? '', { metadata: { a: '1' } })
  expect(updated.metadata).toEqual({ a: '1' })
  expect(await stripe.subscriptionItems.del(first?.id ?? '')).toMatchObject({ deleted: true })
})

it('refuses items that one subscription cannot have', async () => {
  const { stripe, customer, price, subscribe } = await startBilling()
  const owner = await customer()
  const once = await stripe.prices.create({
    currency: 'eur',
    unit_amount: 100,
    product_data: { name: 'Mug' },
  })
  const usd = await stripe.prices.create({
    currency: 'usd',
    unit_amount: 100,
    recurring: { interval: 'month' },
    product_data: { name: 'Other' },
  })
  const create = (items: Stripe.SubscriptionCreateParams.Item[]) =>
    refusal(subscribe(owner, { items }))
  expect((await create([{ price: once.id }])).message).toMatch(/type=recurring/)
  expect((await create([{ price }, { price: usd.id }])).message).toMatch(/expected currency/)
  expect((await create([{ price }, { price }])).message).toMatch(/same plan/)
  expect(await create([{ price: 'price_none' }])).toMatchObject({ code: 'resource_missing' })
  expect(await create([])).toMatchObject({ code: 'parameter_missing', param: 'items' })
})

it('applies a coupon or a code to every invoice, or only to the first', async () => {
  const { stripe, customer, subscribe, control, newEvents } = await startBilling()
  const half = await stripe.coupons.create({ percent_off: 50, duration: 'forever' })
  const twoOff = await stripe.coupons.create({ amount_off: 200, currency: 'eur', duration: 'once' })
  const code = await stripe.promotionCodes.create({
    promotion: { type: 'coupon', coupon: twoOff.id },
  })
  const subscription = await subscribe(await customer(), {
    discounts: [{ coupon: half.id }, { promotion_code: code.id }],
    expand: ['latest_invoice.discounts', 'discounts'],
  })
  expect(subscription.latest_invoice).toMatchObject({
    subtotal: 1000,
    total: 300,
    amount_paid: 300,
    total_discount_amounts: [{ amount: 500 }, { amount: 200 }],
    discounts: [
      { object: 'discount', source: { coupon: half.id } },
      { source: { coupon: twoOff.id }, promotion_code: code.id },
    ],
  })
  expect(subscription.discounts).toMatchObject([{ source: { coupon: half.id } }])
  expect((await stripe.coupons.retrieve(half.id)).times_redeemed).toBe(1)
  expect(newEvents().filter((type) => type === 'customer.discount.created')).toHaveLength(2)
  control.clock.advance(32 * DAY)
  const [latest] = (await stripe.invoices.list({ subscription: subscription.id })).data
  expect(latest).toMatchObject({ billing_reason: 'subscription_cycle', total: 500 })
  expect(await stripe.subscriptions.deleteDiscount(subscription.id)).toMatchObject({
    object: 'discount',
    deleted: true,
  })
  expect((await stripe.subscriptions.retrieve(subscription.id)).discounts).toEqual([])
  expect(newEvents()).toContain('customer.discount.deleted')
})
