import { afterEach, describe, expect, it } from 'vitest'
import { withTenant } from '../../src/db/tenant-scope.ts'
import type { PaymentGateway } from '../../src/payments/payment-gateway.ts'
import { insertAttempt } from '../../src/payments/payment-store.ts'
import { claimEvents } from '../../src/stripe-events/claim-events.ts'
import { groupByPurchase } from '../../src/stripe-events/group-events.ts'
import { processEvents } from '../../src/stripe-events/process-events.ts'
import { PARAMS } from '../stripe/stripe-scene.ts'
import { purchaseService } from '../support/purchase-service.ts'
import { eventOf, useInboxApp, type WiredShop } from './inbox-app.ts'

const app = useInboxApp()

afterEach(() => app.fake.control.clearFaults())

/** The events of the shop's account, in the order in which Stripe created them. */
const stripeEvents = (shop: WiredShop, type = '*') =>
  app.fake.control.events({ account: shop.stripeKey, type })

async function withWebhooksHeld<T>(work: () => Promise<T>): Promise<T> {
  app.fake.control.pause()
  try {
    return await work()
  } finally {
    app.fake.control.resume()
  }
}

describe('an event that arrives late or out of order', () => {
  it('of a completed checkout does not make a refunded purchase PAID again (D3, D20)', async () => {
    const shop = await app.openWiredShop()
    const { session, now } = await app.paidOrder(shop)
    app.fake.control.refund(session)
    await app.settle()
    expect((await now()).status).toBe('REFUNDED')
    for (const { id } of stripeEvents(shop, 'checkout.session.*')) {
      await app.rows(`delete from stripe_events where id = $1`, [id])
      await app.fake.control.deliver(id)
    }
    await app.drain()
    expect(await now()).toMatchObject({ status: 'REFUNDED', vouchers: { active: 0, issued: 10 } })
  })

  it('of a refund counts even when it is the first event of the payment (D14)', async () => {
    const shop = await app.openWiredShop()
    const made = await withWebhooksHeld(async () => {
      const one = await app.order(shop)
      app.fake.control.pay(one.session)
      app.fake.control.refund(one.session)
      await app.fake.control.deliverInOrder(stripeEvents(shop, 'refund.created').map((e) => e.id))
      await app.drain()
      return one
    })
    expect(await made.now()).toMatchObject({ status: 'REFUNDED', amount_refunded: 10_000 })
    await app.settle()
    expect(await made.now()).toMatchObject({
      status: 'REFUNDED',
      vouchers: { issued: 10, active: 0 },
    })
  })

  it('finds its purchase by the payment when it contains none of our ids', async () => {
    const shop = await app.openWiredShop()
    const made = await app.order(shop)
    app.fake.control.injectWebhookFault({ kind: 'drop' })
    app.fake.control.pay(made.session)
    const [charge] = app.fake.control.list(shop.stripeKey, 'charge')
    // An old refund names only the charge.
    const refund = { id: 're_old', object: 'refund', charge: charge?.id, payment_intent: null }
    await app.post(shop, eventOf('refund.updated', refund))
    await app.drain()
    expect(await made.now()).toMatchObject({ status: 'PAID' })
    expect(await app.events(shop)).toMatchObject([{ status: 'done', purchase_id: made.id }])
  })

  it('whose snapshot is applied late does not undo a newer snapshot', async () => {
    const shop = await app.openWiredShop()
    const made = await app.order(shop)
    app.fake.control.pay(made.session)
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const slow: PaymentGateway = {
      ...app.deps.gateway,
      async fetchSnapshot(query) {
        const facts = await app.deps.gateway.fetchSnapshot(query)
        await held
        return facts
      },
    }
    await app.fake.control.waitForDeliveries()
    const claimed = await claimEvents(app.db, { lane: 'purchase', limit: 50, leaseSeconds: 60 })
    const [group] = groupByPurchase(claimed)
    let hasRead = false
    const processing = processEvents(
      {
        ...app.deps,
        purchases: purchaseService(app.db, {
          ...slow,
          fetchSnapshot: (query) => {
            hasRead = true
            return slow.fetchSnapshot(query)
          },
        }),
      },
      group ?? [],
    )
    await expect.poll(() => hasRead).toBe(true)
    app.fake.control.refund(made.session)
    await app.settle()
    const before = await made.now()
    expect(before).toMatchObject({ status: 'REFUNDED', vouchers: { active: 0 } })
    release()
    await processing
    expect(await made.now()).toEqual(before)
    // Its events are done too: the newer snapshot already included them.
    expect((await app.events(shop)).filter(({ status }) => status === 'pending')).toEqual([])
  })
})

describe('a session that was created but not recorded here', () => {
  async function crashed(shop: WiredShop) {
    const purchase = await shop.buy()
    const ref = { conferenceId: shop.conference, purchaseId: purchase.id }
    const owner = { conferenceId: shop.conference, kind: 'purchase', id: purchase.id } as const
    const attempt = { attempt: 1, kind: 'checkout', params: PARAMS, requestedBy: 'test' } as const
    await withTenant(app.db, ref, (trx) => insertAttempt(trx, owner, attempt))
    const opened = await app.deps.gateway.openCheckout(
      owner,
      { ...attempt, createdAt: new Date() },
      { customer: null, askedBefore: false },
    )
    if (opened.kind !== 'made') throw new Error(opened.message)
    return { ...purchase, session: opened.session.sessionId, now: () => shop.get(purchase.id) }
  }

  it('is recorded on its attempt when its event arrives', async () => {
    const shop = await app.openWiredShop()
    const made = await crashed(shop)
    expect(await made.now()).toMatchObject({ status: 'PENDING' })
    app.fake.control.pay(made.session)
    await app.settle()
    expect(await made.now()).toMatchObject({
      status: 'PAID',
      vouchers: { issued: 10 },
    })
    const attempts = await app.rows(
      'select attempt, state, session_id from payment_attempts where purchase_id = $1',
      [made.id],
    )
    expect(attempts).toEqual([{ attempt: 1, state: 'paid', session_id: made.session }])
  })

  it('fails the purchase when it expired', async () => {
    const shop = await app.openWiredShop()
    const made = await crashed(shop)
    app.fake.control.expire(made.session)
    await app.settle()
    expect(await made.now()).toMatchObject({
      status: 'FAILED',
      failure: { code: 'checkout_expired' },
    })
  })

  it('is not adopted because of the event’s data alone', async () => {
    const shop = await app.openWiredShop()
    const made = await crashed(shop)
    const stranger = await app.order(shop)
    const metadata = { purchase_id: made.id, conference_id: shop.conference, attempt: '1' }
    const forged = { id: stranger.session, object: 'checkout.session', metadata }
    await app.post(shop, eventOf('checkout.session.completed', forged))
    await app.drain()
    expect(
      await app.rows('select session_id from payment_attempts where purchase_id = $1', [made.id]),
    ).toEqual([{ session_id: null }])
    expect((await stranger.now()).status).toBe('PROCESSING')
  })
})
