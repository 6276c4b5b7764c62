import { describe, expect, it } from 'vitest'
import type { ChargeDeps } from '../../../src/billing/billing-deps.ts'
import type { ChargeHooks } from '../../../src/billing/charges/charge-hooks.ts'
import { beginChargePayment, finishChargeCard } from '../../../src/billing/charges/pay-charge.ts'
import { reconcileCharge } from '../../../src/billing/charges/reconcile-charge.ts'
import { withTenant } from '../../../src/db/tenant-scope.ts'
import { systemClock } from '../../../src/shared/time.ts'
import { useInboxApp } from '../../stripe-events/inbox-app.ts'
import { RETURN_URLS } from '../../support/shop.ts'
import type { Body } from '../../support/test-app.ts'
import { openChargeScene } from './charge-scene.ts'

const app = useInboxApp()

async function wired() {
  const shop = await app.openWiredShop()
  const scene = await openChargeScene(app, app, shop)
  return { shop, scene }
}

describe('webhooks of charges', () => {
  it('update a charge that was paid on its Checkout page, and finish all events', async () => {
    const { shop, scene } = await wired()
    const charge = await scene.create()
    const link = await scene.act(charge.id, 'checkout', RETURN_URLS)
    app.fake.control.pay(String(link.body['session_id']))
    await app.settle()
    expect(await scene.get(charge.id)).toMatchObject({
      status: 'succeeded',
      amount_received: 1_234,
    })
    const events = await app.events(shop)
    expect(events.map(({ type }) => type)).toContain('checkout.session.completed')
    expect(events.filter(({ status }) => status === 'failed' || status === 'pending')).toEqual([])
    expect(events.map(({ purchase_id }) => purchase_id).filter(Boolean)).toEqual([])
  })

  it('update a charge with an unknown outcome, and book a refund made in Stripe’s dashboard', async () => {
    const { scene } = await wired()
    scene.save()
    const charge = await scene.create()
    for (const path of ['/v1/payment_intents/*/confirm', '/v1/payment_intents/*']) {
      const kind = path.endsWith('confirm') ? 'fail_after' : 'cut'
      app.fake.control.injectFault({ path, times: 'always', action: { kind } })
    }
    expect((await scene.act(charge.id, 'charge')).status).toBe(503)
    app.fake.control.clearFaults()
    await app.settle()
    expect(await scene.get(charge.id)).toMatchObject({ status: 'succeeded' })
    const [intent] = scene.intents(charge.id)
    app.fake.control.refund(String(intent?.['id']))
    await app.settle()
    expect(await scene.get(charge.id)).toMatchObject({ status: 'refunded', amount_refunded: 1_234 })
  })

  it('find a Checkout session whose id was never saved', async () => {
    const { shop, scene } = await wired()
    const charge = await scene.create()
    app.fake.control.injectFault({
      method: 'POST',
      path: '/v1/checkout/sessions',
      times: 'always',
      action: { kind: 'fail_after' },
    })
    expect((await scene.act(charge.id, 'checkout', RETURN_URLS)).status).toBe(503)
    app.fake.control.clearFaults()
    const [session] = app.fake.control.list(shop.stripeKey, 'checkout.session')
    app.fake.control.pay(session?.id ?? '')
    await app.settle()
    expect(await scene.get(charge.id)).toMatchObject({ status: 'succeeded' })
  })

  it('do not change purchases or the mirror', async () => {
    const { shop, scene } = await wired()
    scene.save()
    const order = await app.paidOrder(shop)
    const charge = await scene.create()
    await scene.act(charge.id, 'charge')
    await app.settle()
    expect(await order.now()).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
    const { body } = await app.request<{ data: Body[] }>(
      'GET',
      `${shop.path}/stripe/payment-intents`,
    )
    expect(body.data).toHaveLength(2)
    const drift = await app.request<{ data: Body[] }>('GET', `${shop.path}/stripe/drift`)
    expect(drift.body.data).toEqual([])
  })
})

describe('charge hooks', () => {
  it('run once per change, also when the charge is reconciled repeatedly', async () => {
    const { shop, scene } = await wired()
    const heard: string[] = []
    const hooks: ChargeHooks = {
      async chargeSucceeded(_trx, { charge }) {
        heard.push(`chargeSucceeded ${charge.status} ${charge.amountReceived}`)
      },
      async chargeDeclined(_trx, { attempt, failure }) {
        heard.push(`chargeDeclined ${attempt} ${failure.code}`)
      },
      async chargeRefunded(_trx, { charge, amount }) {
        heard.push(`chargeRefunded ${amount} ${charge.status}`)
      },
    }
    const deps: ChargeDeps = { ...app.deps, clock: systemClock, chargeHooks: [hooks] }
    const bad = scene.save('pm_card_chargeCustomerFail')
    const good = scene.save()
    const { id } = await scene.create({ amount: 500 })
    const ref = { conferenceId: shop.conference, chargeId: id }
    const pay = async (named: string) => {
      const chosen = await withTenant(app.db, ref, (trx) =>
        beginChargePayment(trx, deps, ref, { kind: 'saved_card', named }, 'key_1'),
      )
      await finishChargeCard(deps, ref, chosen, named, 'key_1')
    }
    await pay(bad)
    await pay(good)
    await reconcileCharge(deps, ref)
    const [, paid] = scene.intents(id)
    for (const amount of [100, 400]) {
      app.fake.control.refund(String(paid?.['id']), { amount })
      await reconcileCharge(deps, ref)
    }
    await reconcileCharge(deps, ref)
    expect(heard).toEqual([
      'chargeDeclined 1 generic_decline',
      'chargeSucceeded succeeded 500',
      'chargeRefunded 100 succeeded',
      'chargeRefunded 400 refunded',
    ])
  })

  it('roll the change back when they throw, and run again on the next reconcile', async () => {
    const { shop, scene } = await wired()
    scene.save()
    const { id } = await scene.create()
    await scene.act(id, 'charge')
    const [paid] = scene.intents(id)
    app.fake.control.refund(String(paid?.['id']))
    const ref = { conferenceId: shop.conference, chargeId: id }
    const hooks: ChargeHooks = {
      chargeRefunded: () => Promise.reject(new Error('not today')),
    }
    const reading = reconcileCharge({ ...app.deps, chargeHooks: [hooks] }, ref)
    await expect(reading).rejects.toThrow('not today')
    expect(await scene.get(id)).toMatchObject({ amount_refunded: 0 })
    await reconcileCharge(app.deps, ref)
    expect(await scene.get(id)).toMatchObject({ amount_refunded: 1_234 })
  })

  it('send outbound webhooks', async () => {
    const { shop, scene } = await wired()
    await app.request('POST', `${shop.path}/webhook-endpoints`, {
      body: { url: 'https://receiver.example/hook', event_types: ['charge.succeeded'] },
    })
    scene.save()
    const { id } = await scene.create({ source_reference: 'INV-9' })
    await scene.act(id, 'charge')
    const rows = await app.rows<{ body: string }>(
      `select body from webhook_deliveries where conference_id = $1`,
      [shop.conference],
    )
    expect(rows.map(({ body }) => JSON.parse(body) as Body)).toMatchObject([
      { type: 'charge.succeeded', data: { charge: id, source_reference: 'INV-9', amount: 1_234 } },
    ])
  })
})
