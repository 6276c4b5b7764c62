import { afterEach, describe, expect, it } from 'vitest'
import { reconcilePurchase } from '../../src/purchases/reconcile-purchase.ts'
import { roundTripsOf } from '../support/round-trips.ts'
import { useInboxApp } from './inbox-app.ts'

const app = useInboxApp()

afterEach(() => app.fake.control.clearFaults())

async function withWebhooksHeld<T>(work: () => Promise<T>): Promise<T> {
  app.fake.control.pause()
  try {
    return await work()
  } finally {
    app.fake.control.resume()
  }
}

describe('webhooks alone', () => {
  it('make a paid purchase PAID with exactly its codes', async () => {
    const shop = await app.openWiredShop()
    const { id, now } = await app.paidOrder(shop)
    expect(await now()).toMatchObject({ status: 'PAID', vouchers: { issued: 10, active: 10 } })
    const events = await app.events(shop)
    const handled = events.filter(({ status }) => status === 'done')
    expect(handled.map(({ type }) => type).toSorted()).toEqual(
      [
        'charge.succeeded', // this one and the next are for the mirror
        'payment_intent.created',
        'checkout.session.completed',
        'payment_intent.succeeded',
      ].toSorted(),
    )
    expect(new Set(handled.map(({ purchase_id }) => purchase_id))).toEqual(new Set([id]))
    expect(new Set(events.map(({ status }) => status))).toEqual(new Set(['done']))
  })

  it('record the actor and the cause of a transition', async () => {
    const shop = await app.openWiredShop()
    const { id } = await app.paidOrder(shop)
    const { body } = await app.request<{ data: { to: string; actor: unknown; cause: string }[] }>(
      'GET',
      `${shop.path}/purchases/${id}/transitions`,
    )
    expect(body.data[0]).toMatchObject({
      to: 'PAID',
      actor: { kind: 'stripe', id: expect.stringMatching(/^evt_/), name: 'Stripe' },
      cause: expect.stringMatching(/^(payment_intent\.succeeded|checkout\.session\.completed)$/),
    })
  })

  it('cost at most 14 round trips from the claim to the commit that issues the codes', async () => {
    const shop = await app.openWiredShop()
    const { session, now } = await app.order(shop)
    await app.drain()
    app.fake.control.pay(session)
    await app.fake.control.waitForDeliveries()
    const trips = await roundTripsOf(async () => {
      while ((await app.workOn('purchase')) > 0);
    })
    expect(await now()).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
    const list = trips.map((trip) => trip.slice(0, 120))
    expect(
      list.filter((trip) => !trip.includes('stripe_request_budgets')).length,
      list.join('\n'),
    ).toBeLessThanOrEqual(14)
    // What this process has just stored in the mirror is not read back.
    expect(trips.filter((trip) => trip.includes(' as fetched_at'))).toEqual([])
  })

  it('of one purchase share one fetch from Stripe', async () => {
    const shop = await app.openWiredShop()
    const made = await withWebhooksHeld(async () => {
      const one = await app.order(shop)
      app.fake.control.decline(one.session)
      app.fake.control.pay(one.session)
      return one
    })
    await app.fake.control.waitForDeliveries()
    app.fake.control.clearRequests()
    await app.drain()
    expect(await made.now()).toMatchObject({ status: 'PAID' })
    const reads = app.fake.control.requests({ path: `/v1/checkout/sessions/${made.session}` })
    expect(reads).toHaveLength(1)
  })

  it('issue the codes when a bank debit succeeds, and fail the purchase when it fails (D8)', async () => {
    const shop = await app.openWiredShop()
    const [arrives, fails] = [await app.order(shop), await app.order(shop)]
    for (const { session } of [arrives, fails]) app.fake.control.payLater(session)
    await app.settle()
    expect(await arrives.now()).toMatchObject({ status: 'PROCESSING', vouchers: { issued: 0 } })
    app.fake.control.settle(arrives.session)
    app.fake.control.failAsync(fails.session)
    await app.settle()
    expect(await arrives.now()).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
    expect(await fails.now()).toMatchObject({ status: 'FAILED', vouchers: { issued: 0 } })
  })

  it('do not count a partial bank transfer as paid', async () => {
    const shop = await app.openWiredShop()
    const { session, now } = await app.order(shop)
    app.fake.control.payLater(session, { method: 'customer_balance' })
    app.fake.control.fundPartially(session, 4_000)
    await app.settle()
    expect(await now()).toMatchObject({ status: 'PROCESSING', vouchers: { issued: 0 } })
  })

  it('deactivate codes when a purchase is refunded in Stripe’s dashboard (D1)', async () => {
    const shop = await app.openWiredShop()
    const { session, now } = await app.paidOrder(shop)
    app.fake.control.refund(session, { amount: 3_000 })
    await app.settle()
    expect(await now()).toMatchObject({ status: 'PAID', vouchers: { active: 7, deactivated: 3 } })
    app.fake.control.refund(session)
    await app.settle()
    expect(await now()).toMatchObject({ status: 'REFUNDED', vouchers: { active: 0 } })
  })

  it('flag a purchase with an early fraud warning', async () => {
    const shop = await app.openWiredShop()
    const { session, now } = await app.paidOrder(shop)
    app.fake.control.earlyFraudWarning(session)
    await app.settle()
    expect((await now()).flags).toMatchObject([{ code: 'early_fraud_warning' }])
    expect(await now()).toMatchObject({ status: 'PAID', vouchers: { active: 10 } })
  })

  it('freeze the codes during a dispute and apply its outcome', async () => {
    const shop = await app.openWiredShop()
    const [won, lost] = [await app.paidOrder(shop), await app.paidOrder(shop)]
    const disputes = [won, lost].map(({ session }) => app.fake.control.dispute(session).id)
    await app.settle()
    for (const { now } of [won, lost]) {
      expect(await now()).toMatchObject({ status: 'PAID', vouchers: { frozen: 10, active: 0 } })
    }
    app.fake.control.closeDispute(disputes[0] ?? '', 'won')
    app.fake.control.closeDispute(disputes[1] ?? '', 'lost')
    await app.settle()
    expect(await won.now()).toMatchObject({ status: 'PAID', vouchers: { active: 10, frozen: 0 } })
    expect(await lost.now()).toMatchObject({ status: 'REFUNDED', vouchers: { deactivated: 10 } })
  })
})

describe('a repeated reconcile', () => {
  it('by several triggers at the same time issues the codes once', async () => {
    const shop = await app.openWiredShop()
    const made = await app.order(shop)
    app.fake.control.pay(made.session)
    await app.fake.control.waitForDeliveries()
    const ref = { conferenceId: shop.conference, purchaseId: made.id }
    const cause = { actor: { kind: 'system', id: 'timer' }, cause: 'sweep' } as const
    await Promise.all([
      app.drain(),
      shop.act(made.id, 'reconcile'),
      ...Array.from({ length: 4 }, () => reconcilePurchase(app.deps, ref, cause)),
    ])
    expect(await made.now()).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
    expect(new Set(await shop.codes(made.id)).size).toBe(10)
  })
})
