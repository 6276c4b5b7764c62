import { beforeEach, describe, expect, it, vi } from 'vitest'
import { databaseNow } from '../../src/mirror/fetch-time.ts'
import { ALL_RESOURCES } from '../../src/mirror/resource-registry.ts'
import { StripeCustomerAction } from '../../src/mirror/resources/customer-resource.ts'
import { StripeDisputeAction } from '../../src/mirror/resources/dispute-resource.ts'
import { syncAll } from '../../src/mirror/runs/execute-sync-run.ts'
import { tableOf } from '../../src/mirror/stripe-resource.ts'
import { idOf } from '../support/shop.ts'
import type { Body } from '../support/test-app.ts'
import { TEST_TIMEOUT } from '../support/timeouts.ts'
import { storedRow } from './expect-mirrored.ts'
import { useSyncScene, type WiredShop } from './sync-scene.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

const scene = useSyncScene()
let one: WiredShop
let two: WiredShop
beforeEach(async () => {
  one = await scene.openWiredShop()
  two = await scene.openWiredShop({ stripe_secret_key: one.stripeKey })
})

/** A paid and disputed order, a customer with a card, and an invoice, all of one conference. */
async function trade(shop: WiredShop) {
  const stripe = scene.stripeOf(shop)
  const order = await scene.paidOrder(shop)
  const session = await stripe.checkout.sessions.retrieve(order.session)
  const intent = idOf(session.payment_intent)
  const dispute = scene.fake.control.dispute(intent)
  const { body } = await scene.request<{ stripe_customer: string }>(
    'POST',
    `${shop.path}/customers`,
    { as: shop.sponsorKey, body: {} },
  )
  const customer = body.stripe_customer
  const path = '/v1/payment_methods/pm_card_visa/attach'
  const card = scene.fake.control.call(shop.stripeKey, 'POST', path, { customer }) as Body
  await stripe.invoiceItems.create({ customer, amount: 500, currency: 'eur' })
  const invoice = await stripe.invoices.create({
    customer,
    collection_method: 'send_invoice',
    days_until_due: 3,
  })
  await scene.settle()
  return { intent, dispute: dispute.id, customer, card: String(card['id']), invoice: invoice.id }
}

async function syncResources(shop: WiredShop): Promise<void> {
  for (const resource of ALL_RESOURCES) {
    const run = await syncAll(resource.createAction(scene.context(shop)))
    expect(run, JSON.stringify(run.error)).toMatchObject({ state: 'succeeded' })
  }
}

/** `table id` of every live row. */
async function mirrored(shop: WiredShop): Promise<string[]> {
  const found: string[] = []
  for (const resource of ALL_RESOURCES) {
    const rows = await scene.rows<{ id: string }>(
      `select id from ${tableOf(resource)} where conference_id = $1 and deleted_at is null`,
      [shop.conference],
    )
    found.push(...rows.map(({ id }) => `${resource.name} ${id}`))
  }
  return found
}

describe('two conferences on one Stripe account', () => {
  it('mirror what belongs to them, and neither what nobody can attribute (issue 8, line 18)', async () => {
    const ours = await trade(one)
    const theirs = await trade(two)
    const product = await scene.stripeOf(one).products.create({ name: 'From the dashboard' })
    await scene.settle()
    await syncResources(one)
    await syncResources(two)
    const [first, second] = [await mirrored(one), await mirrored(two)]
    expect(first.filter((object) => second.includes(object))).toEqual([])
    for (const [objects, own] of [
      [first, ours],
      [second, theirs],
    ] as const) {
      expect(objects).toEqual(
        expect.arrayContaining([
          `payment-intents ${own.intent}`,
          `disputes ${own.dispute}`,
          `customers ${own.customer}`,
          `payment-methods ${own.card}`,
          `invoices ${own.invoice}`,
        ]),
      )
      // The payment, and the withdrawal of the dispute.
      const transactions = objects.filter((object) => object.startsWith('balance-transactions'))
      expect(transactions).toHaveLength(2)
      expect(objects).not.toContain(`products ${product.id}`)
    }
  })

  it('lose what they had mirrored of each other before (issue 8, line 18)', async () => {
    const theirs = await trade(two)
    const dispute = await scene.stripeOf(one).disputes.retrieve(theirs.dispute)
    const earlier = { ...scene.context(one), ownsAll: true }
    await new StripeDisputeAction(earlier).sync(dispute, await databaseNow(scene.db))
    await new StripeDisputeAction(scene.context(one)).syncAll()
    const row = await storedRow(scene, one, 'disputes', theirs.dispute)
    expect(row).toMatchObject({
      deleted_at: expect.any(Date),
      payment_intent: null,
      data: { id: theirs.dispute, object: 'dispute', deleted: true },
    })
    expect(Object.keys(row?.data ?? {})).toHaveLength(3)
  })

  it('are recognised by their objects if Stripe does not name the account (issue 8, line 18)', async () => {
    const theirs = await trade(two)
    await scene.rows(
      'update conferences set stripe_key_fingerprint = id, stripe_account = null, sees_other_conference = false',
    )
    await new StripeCustomerAction(scene.context(one)).syncAll()
    await new StripeDisputeAction(scene.context(one)).syncAll()
    expect(await mirrored(one)).not.toContain(`disputes ${theirs.dispute}`)
    expect(await mirrored(two)).toContain(`disputes ${theirs.dispute}`)
  })

  it('are told so (issue 8, line 18)', async () => {
    const shown = async (shop: WiredShop) => (await scene.request('GET', shop.path)).body
    expect(await shown(one)).toMatchObject({ stripe_account_shared: true })
    const alone = await scene.openWiredShop()
    expect(await shown(alone)).toMatchObject({ stripe_account_shared: false })
    const changed = await scene.request('PATCH', alone.path, {
      body: { stripe_secret_key: one.stripeKey },
    })
    expect(changed.body).toMatchObject({ stripe_account_shared: true })
    const { body } = await scene.request<{ data: Body[] }>('GET', '/v1/conferences?limit=3')
    expect(body.data.map((each) => each['stripe_account_shared'])).toEqual([true, true, true])
  })
})

describe('an object that is given to another conference', () => {
  it('leaves the mirror of the first one (issue 8, line 26)', async () => {
    const shop = await scene.openWiredShop()
    const stripe = scene.stripeOf(shop)
    const { id } = await stripe.customers.create({ email: 'payer@example.com' })
    await scene.settle()
    expect(await storedRow(scene, shop, 'customers', id)).toMatchObject({ deleted_at: null })
    await stripe.customers.update(id, { metadata: { conference_id: two.conference } })
    await scene.settle()
    expect(await storedRow(scene, shop, 'customers', id)).toMatchObject({
      deleted_at: expect.any(Date),
      email: null,
    })
    await stripe.customers.update(id, { metadata: { conference_id: shop.conference } })
    await scene.settle()
    expect(await storedRow(scene, shop, 'customers', id)).toMatchObject({
      deleted_at: null,
      email: 'payer@example.com',
    })
  })

  it('leaves it in a full sync too, which reports the deletion (issue 8, line 26)', async () => {
    const shop = await scene.openWiredShop()
    const stripe = scene.stripeOf(shop)
    const { id } = await stripe.customers.create({ email: 'payer@example.com' })
    const customers = new StripeCustomerAction(scene.context(shop))
    await customers.syncAll()
    await stripe.customers.update(id, { metadata: { conference_id: two.conference } })
    const run = await customers.syncAll()
    expect(run).toMatchObject({
      state: 'succeeded',
      counts: { deleted: 1 },
      details: [{ id, outcome: 'deleted', message: expect.stringContaining('another conference') }],
    })
  })
})
