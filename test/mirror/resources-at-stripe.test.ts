import type Stripe from 'stripe'
import { beforeAll, describe, expect, it } from 'vitest'
import { ALL_RESOURCES, findResource } from '../../src/mirror/resource-registry.ts'
import { isForeignId, tableOf } from '../../src/mirror/stripe-resource.ts'
import type { StripeObject } from '../../src/stripe/stripe-objects.ts'
import { idOf } from '../support/shop.ts'
import { actionOf } from './mirrored-row.ts'
import { type SyncScene, useSyncScene, type WiredShop } from './sync-scene.ts'

const scene = useSyncScene()
let shop: WiredShop
let stripe: Stripe
beforeAll(async () => {
  shop = await scene.openWiredShop()
  stripe = scene.stripeOf(shop)
})

const product = (name = 'Membership') => stripe.products.create({ name })

async function monthlyPrice(): Promise<string> {
  const { id } = await stripe.prices.create({
    currency: 'eur',
    unit_amount: 900,
    recurring: { interval: 'month' },
    product: (await product()).id,
  })
  return id
}

async function payer(): Promise<string> {
  const { id: customer } = await stripe.customers.create({ email: 'payer@example.com' })
  await stripe.customers.createSource(customer, { source: 'tok_visa' })
  return customer
}

async function subscription(items = 1): Promise<Stripe.Subscription> {
  const prices = await Promise.all(Array.from({ length: items }, monthlyPrice))
  return stripe.subscriptions.create({
    customer: await payer(),
    items: prices.map((price) => ({ price })),
  })
}

/** The objects of a paid purchase at Stripe. */
async function payment(control: SyncScene['fake']['control']) {
  const { id } = await stripe.checkout.sessions.create({
    mode: 'payment',
    customer: await payer(),
    success_url: 'https://shop.example/thanks',
    line_items: [
      {
        price_data: { currency: 'eur', unit_amount: 2500, product_data: { name: 'Voucher' } },
        quantity: 4,
      },
    ],
  })
  control.pay(id)
  const session = await stripe.checkout.sessions.retrieve(id)
  const intent = await stripe.paymentIntents.retrieve(idOf(session.payment_intent))
  const charge = await stripe.charges.retrieve(idOf(intent.latest_charge))
  return {
    session: id,
    intent: intent.id,
    charge: charge.id,
    entry: idOf(charge.balance_transaction),
  }
}

/** Creates an object of the kind at Stripe and returns its id. */
const MAKERS: { [resource: string]: () => Promise<string> } = {
  'balance-transactions': async () => (await payment(scene.fake.control)).entry,
  charges: async () => (await payment(scene.fake.control)).charge,
  'checkout-sessions': async () => (await payment(scene.fake.control)).session,
  coupons: async () => (await stripe.coupons.create({ percent_off: 10 })).id,
  customers: async () => (await stripe.customers.create({ name: 'Ada' })).id,
  async disputes() {
    const { charge } = await payment(scene.fake.control)
    return scene.fake.control.dispute(charge).id
  },
  invoices: async () => idOf((await subscription()).latest_invoice),
  'payment-intents': async () => (await payment(scene.fake.control)).intent,
  async 'payment-methods'() {
    return (await stripe.customers.createSource(await payer(), { source: 'tok_mastercard' })).id
  },
  async payouts() {
    return (await stripe.payouts.create({ amount: 100, currency: 'eur' })).id
  },
  plans: monthlyPrice,
  prices: monthlyPrice,
  products: async () => (await product()).id,
  async 'promotion-codes'() {
    const { id: coupon } = await stripe.coupons.create({ percent_off: 5 })
    return (await stripe.promotionCodes.create({ promotion: { type: 'coupon', coupon } })).id
  },
  async refunds() {
    const { intent } = await payment(scene.fake.control)
    return (await stripe.refunds.create({ payment_intent: intent, amount: 100 })).id
  },
  async 'setup-intents'() {
    return (await stripe.setupIntents.create({ customer: await payer() })).id
  },
  subscriptions: async () => (await subscription()).id,
}

async function storedData(name: string, id: string): Promise<StripeObject | undefined> {
  const [row] = await scene.rows<{ data: StripeObject }>(
    `select data from ${tableOf({ name })} where conference_id = $1 and id = $2`,
    [shop.conference, id],
  )
  return row?.data
}

/** The ids in all lists of a resource. */
async function listed(name: string): Promise<string[]> {
  const listing = findResource(name)?.listing
  if (listing?.by !== 'pages') throw new Error(`${name} has no list of its own`)
  const ids: string[] = []
  for (const variant of listing.variants ?? [{}]) {
    let last: string | undefined
    for (let more = true; more; ) {
      const after = last === undefined ? {} : { starting_after: last }
      const page = await listing.page(stripe, { limit: 2, ...after, ...variant })
      ids.push(...page.data.map(({ id }) => id))
      last = page.data.at(-1)?.id
      more = page.has_more
    }
  }
  return ids
}

async function listedObject(name: string, id: string): Promise<unknown> {
  const listing = findResource(name)?.listing
  if (listing?.by !== 'pages') throw new Error(`${name} has no list of its own`)
  const { data } = await listing.page(stripe, { limit: 100 })
  return JSON.parse(JSON.stringify(data.find((object) => object.id === id)))
}

describe('every resource', () => {
  it('has an object in this test', () => {
    expect(Object.keys(MAKERS)).toEqual(ALL_RESOURCES.map(({ name }) => name))
  })

  it.each(Object.entries(MAKERS))(
    'is fetched by id and stored completely: %s',
    async (name, make) => {
      const id = await make()
      const resource = findResource(name)
      expect(isForeignId(resource ?? { idPrefixes: ['-'] }, id)).toBe(false)
      const action = actionOf(scene, shop, name)
      expect(await action.syncByIds([id])).toEqual([{ id, result: 'synced', outcome: 'created' }])
      expect(await action.syncByIds([id])).toEqual([{ id, result: 'synced', outcome: 'unchanged' }])
      const original = await resource?.retrieve(stripe, id)
      expect(await storedData(name, id)).toEqual(JSON.parse(JSON.stringify(original)))
      expect(resource?.objects).toContain(original?.object)
    },
  )

  it.each(Object.entries(MAKERS).filter(([name]) => findResource(name)?.references !== undefined))(
    'names the objects that it refers to, which exist at Stripe: %s',
    async (name, make) => {
      const object = await findResource(name)?.retrieve(stripe, await make())
      const references = (object && findResource(name)?.references?.(object)) ?? []
      expect(references).not.toEqual([])
      for (const { resource, id } of references) {
        const action = actionOf(scene, shop, resource)
        expect(await action.syncByIds([id])).toMatchObject([{ id, result: 'synced' }])
      }
    },
  )

  it.each(Object.entries(MAKERS).filter(([name]) => findResource(name)?.listing.by === 'pages'))(
    'is in its list: %s',
    async (name, make) => {
      const id = await make()
      expect(await listed(name)).toContain(id)
    },
  )
})

describe('a list includes objects that Stripe omits by default', () => {
  it('inactive products, prices and plans (E6)', async () => {
    const { id: archived } = await product('Archived')
    await stripe.products.update(archived, { active: false })
    const price = await monthlyPrice()
    await stripe.prices.update(price, { active: false })
    const active = await monthlyPrice()
    expect(await listed('products')).toContain(archived)
    expect(await listed('prices')).toEqual(expect.arrayContaining([price, active]))
    expect(await listed('plans')).toEqual(expect.arrayContaining([price, active]))
  })

  it('ended subscriptions (E6)', async () => {
    const { id } = await subscription()
    await stripe.subscriptions.cancel(id)
    expect(await listed('subscriptions')).toContain(id)
    const action = actionOf(scene, shop, 'subscriptions')
    expect(await action.syncByIds([id])).toMatchObject([{ id, result: 'synced' }])
    const [row] = await scene.rows(
      `select status, deleted_at from stripe.subscriptions where conference_id = $1 and id = $2`,
      [shop.conference, id],
    )
    expect(row).toEqual({ status: 'canceled', deleted_at: null })
  })
})

describe('an embedded list that Stripe truncates', () => {
  it('is fetched completely: the items of a subscription', async () => {
    const { id, items } = await subscription(12)
    expect(items).toMatchObject({ has_more: true, data: { length: 10 } })
    await actionOf(scene, shop, 'subscriptions').syncByIds([id])
    expect(await storedData('subscriptions', id)).toMatchObject({ items: { has_more: false } })
    const rows = await scene.rows<{ id: string }>(
      `select id from stripe.subscription_items where conference_id = $1 and subscription = $2`,
      [shop.conference, id],
    )
    expect(new Set(rows.map((row) => row.id)).size).toBe(12)
  })

  it('is fetched completely: the lines of an invoice', async () => {
    const id = idOf((await subscription(11)).latest_invoice)
    await actionOf(scene, shop, 'invoices').syncByIds([id])
    expect(await storedData('invoices', id)).toMatchObject({ lines: { has_more: false } })
    const rows = await scene.rows<{ amount: string }>(
      `select amount from stripe.invoice_lines where conference_id = $1 and invoice = $2`,
      [shop.conference, id],
    )
    expect(rows).toEqual(Array.from({ length: 11 }, () => ({ amount: '900' })))
  })
})

it('an invoice names its payment, fetched by id and in lists', async () => {
  const id = idOf((await subscription()).latest_invoice)
  await actionOf(scene, shop, 'invoices').syncByIds([id])
  const [row] = await scene.rows<{ payment_intent: string }>(
    `select payment_intent from stripe.invoices where conference_id = $1 and id = $2`,
    [shop.conference, id],
  )
  const intent = await stripe.paymentIntents.retrieve(row?.payment_intent ?? '')
  expect(intent).toMatchObject({ amount: 900, status: 'succeeded' })
  expect(await listedObject('invoices', id)).toEqual(await storedData('invoices', id))
})

describe('a payment method', () => {
  it('that is a legacy card is fetched as a payment method (E13)', async () => {
    const customer = await payer()
    const { id } = await stripe.customers.createSource(customer, { source: 'tok_visa' })
    expect(id).toMatch(/^card_/)
    const action = actionOf(scene, shop, 'payment-methods')
    expect(await action.syncByIds([id])).toEqual([{ id, result: 'synced', outcome: 'created' }])
    const [row] = await scene.rows(
      `select customer, brand, last4, data ->> 'object' as object from stripe.payment_methods
       where conference_id = $1 and id = $2`,
      [shop.conference, id],
    )
    expect(row).toEqual({ customer, brand: 'visa', last4: '4242', object: 'payment_method' })
  })

  it('is in the list of its customer until it is detached, and stays in the mirror', async () => {
    const { id: customer } = await stripe.customers.create({})
    const { id } = await stripe.paymentMethods.attach('pm_card_visa', { customer })
    const listing = findResource('payment-methods')?.listing
    const ids = async () => {
      if (listing?.by !== 'parent') throw new Error('not listed by customer')
      return (await listing.page(stripe, customer, { limit: 100 })).data.map((each) => each.id)
    }
    expect(await ids()).toEqual([id])
    const action = actionOf(scene, shop, 'payment-methods')
    await action.syncByIds([id])
    await stripe.paymentMethods.detach(id)
    expect(await ids()).toEqual([])
    expect(await action.syncByIds([id])).toEqual([{ id, result: 'synced', outcome: 'updated' }])
    const unlisted = findResource('payment-methods')?.unlisted ?? ''
    const rows = await scene.rows<{ id: string }>(
      `select id from stripe.payment_methods as mirror
       where conference_id = $1 and deleted_at is null and ${unlisted}`,
      [shop.conference],
    )
    expect(rows).toEqual([{ id }])
  })
})

describe('an object that can be deleted at Stripe', () => {
  it.each([
    ['coupons', (id: string) => stripe.coupons.del(id)],
    ['customers', (id: string) => stripe.customers.del(id)],
    ['plans', (id: string) => stripe.plans.del(id)],
    ['products', (id: string) => stripe.products.del(id)],
  ] as const)('becomes a tombstone that keeps what it was: %s', async (name, del) => {
    const id = (await MAKERS[name]?.()) ?? ''
    const action = actionOf(scene, shop, name)
    await action.syncByIds([id])
    const before = await storedData(name, id)
    await del(id)
    expect(await action.syncByIds([id])).toEqual([{ id, result: 'gone' }])
    const [row] = await scene.rows(
      `select data, deleted_at from ${tableOf({ name })} where conference_id = $1 and id = $2`,
      [shop.conference, id],
    )
    expect(row).toEqual({ data: before, deleted_at: expect.any(Date) })
    expect(findResource(name)?.deletable).toBe(true)
  })
})
