import type Stripe from 'stripe'
import { beforeAll, describe, expect, it } from 'vitest'
import { ALL_RESOURCES } from '../../src/mirror/resource-registry.ts'
import { idOf } from '../support/shop.ts'
import { expectMirrored } from './expect-mirrored.ts'
import { useSyncScene, type WiredShop } from './sync-scene.ts'

const scene = useSyncScene()
let shop: WiredShop
let stripe: Stripe
beforeAll(async () => {
  shop = await scene.openWiredShop()
  stripe = scene.stripeOf(shop)
})

/** Changes of an object, in this order. The first step creates it and returns its id. */
type History = [make: () => Promise<string>, ...then: ((id: string) => unknown)[]]

async function customer(): Promise<string> {
  const { id } = await stripe.customers.create({ email: 'team@acme.example' })
  await stripe.customers.createSource(id, { source: 'tok_visa' })
  return id
}

async function price(): Promise<string> {
  const { id } = await stripe.prices.create({
    currency: 'eur',
    unit_amount: 900,
    recurring: { interval: 'month' },
    product_data: { name: 'Membership' },
  })
  return id
}

async function subscription(): Promise<Stripe.Subscription> {
  return stripe.subscriptions.create({
    customer: await customer(),
    items: [{ price: await price() }],
  })
}

async function paidSession(): Promise<Stripe.Checkout.Session> {
  const { session } = await scene.order(shop)
  scene.fake.control.pay(session)
  return stripe.checkout.sessions.retrieve(session)
}

const paidIntent = async () => idOf((await paidSession()).payment_intent)

async function paidCharge(): Promise<Stripe.Charge> {
  const intent = await stripe.paymentIntents.retrieve(await paidIntent())
  return stripe.charges.retrieve(idOf(intent.latest_charge))
}

const HISTORIES: { [resource: string]: History } = {
  'balance-transactions': [async () => idOf((await paidCharge()).balance_transaction)],
  charges: [
    async () => (await paidCharge()).id,
    (charge) => stripe.charges.update(charge, { description: 'changed' }),
    (charge) => stripe.refunds.create({ charge, amount: 100 }),
  ],
  'checkout-sessions': [
    async () => {
      const { session } = await scene.order(shop)
      scene.fake.control.payLater(session)
      return session
    },
    (session) => scene.fake.control.settle(session),
  ],
  coupons: [
    async () => (await stripe.coupons.create({ percent_off: 10 })).id,
    (id) => stripe.coupons.update(id, { name: 'Early bird' }),
    (id) => stripe.coupons.del(id),
    (id) => stripe.coupons.create({ id, percent_off: 20 }),
  ],
  customers: [
    customer,
    (id) => stripe.customers.update(id, { name: 'Ada' }),
    (id) => stripe.customers.del(id),
  ],
  disputes: [
    async () => scene.fake.control.dispute((await paidCharge()).id).id,
    (dispute) => scene.fake.control.closeDispute(dispute, 'lost'),
  ],
  invoices: [
    async () => {
      const invoice = await stripe.invoices.create({
        customer: await customer(),
        currency: 'eur',
        auto_advance: false,
      })
      const { id, customer: payer } = invoice
      const item = { customer: idOf(payer), amount: 500, currency: 'eur' }
      await stripe.invoiceItems.create({ ...item, invoice: idOf(id) })
      return idOf(id)
    },
    (invoice) => stripe.invoices.finalizeInvoice(invoice),
    (invoice) => stripe.invoices.pay(invoice),
  ],
  'payment-intents': [paidIntent],
  'payment-methods': [
    async () => (await stripe.customers.createSource(await customer(), { source: 'tok_amex' })).id,
    (method) => stripe.paymentMethods.detach(method),
  ],
  payouts: [
    async () => {
      await paidSession()
      return (await stripe.payouts.create({ amount: 100, currency: 'eur' })).id
    },
  ],
  plans: [
    async () => {
      const plan = { amount: 900, currency: 'eur', product: { name: 'Club' } }
      return (await stripe.plans.create({ ...plan, interval: 'month' })).id
    },
    (plan) => stripe.plans.update(plan, { nickname: 'Monthly' }),
    (plan) => stripe.plans.del(plan),
  ],
  prices: [
    price,
    (id) => stripe.prices.update(id, { active: false }),
    (id) => scene.fake.control.deletePrice(id),
  ],
  products: [
    async () => (await stripe.products.create({ name: 'Badge' })).id,
    (id) => stripe.products.update(id, { name: 'Badge with lanyard' }),
    (id) => stripe.products.del(id),
  ],
  'promotion-codes': [
    async () => {
      const { id: coupon } = await stripe.coupons.create({ percent_off: 5 })
      return (await stripe.promotionCodes.create({ promotion: { type: 'coupon', coupon } })).id
    },
    (id) => stripe.promotionCodes.update(id, { active: false }),
  ],
  refunds: [
    async () => {
      scene.fake.control.setRefundMode('pending', 1)
      return (await stripe.refunds.create({ payment_intent: await paidIntent(), amount: 100 })).id
    },
    (refund) => scene.fake.control.failRefund(refund),
  ],
  'setup-intents': [
    async () => (await stripe.setupIntents.create({ customer: await customer() })).id,
    (id) => stripe.setupIntents.cancel(id),
  ],
  subscriptions: [
    async () => (await subscription()).id,
    (id) => stripe.subscriptions.update(id, { metadata: { note: 'changed' } }),
    (id) => stripe.subscriptions.cancel(id),
  ],
}

describe('webhooks alone keep the mirror equal to Stripe', () => {
  it('for every resource', () => {
    expect(Object.keys(HISTORIES)).toEqual(ALL_RESOURCES.map(({ name }) => name))
  })

  it.each(Object.entries(HISTORIES))('for %s', async (name, [make, ...steps]) => {
    const id = await make()
    for (const step of [null, ...steps]) {
      await step?.(id)
      await scene.settle()
      await expectMirrored(scene, shop, name, id)
    }
    const states = (await scene.events(shop)).map(({ status }) => status)
    expect(states.filter((status) => status === 'pending' || status === 'failed')).toEqual([])
  })
})
