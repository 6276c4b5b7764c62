import { beforeEach, describe, expect, it } from 'vitest'
import type { Shop } from '../../support/shop.ts'
import { useDriftScene } from './drift-scene.ts'

const drift = useDriftScene()
const { scene, paid, sync, lines, report } = drift

let shop: Shop
beforeEach(async () => {
  shop = await drift.deafShop()
})

describe('a consistent shop', () => {
  it('has no drift after paid, declined, refunded and expired purchases', async () => {
    const wired = await scene.openWiredShop()
    await scene.paidOrder(wired)
    const partly = await scene.paidOrder(wired)
    scene.fake.control.refund(partly.session, { amount: 300 })
    const whole = await scene.paidOrder(wired)
    scene.fake.control.refund(whole.session)
    const declined = await scene.order(wired)
    scene.fake.control.decline(declined.session)
    await scene.settle()
    scene.fake.control.pay(declined.session)
    scene.fake.control.expire((await scene.order(wired)).session)
    const disputed = await scene.paidOrder(wired)
    scene.fake.control.closeDispute(scene.fake.control.dispute(disputed.session).id, 'lost')
    await scene.order(wired)
    await wired.buy()
    // Recorded payments, one of them with money at Stripe too.
    const transfer = { amount: 10_000, method: 'bank_transfer', reference: 'RE-1' }
    const mixed = await scene.order(wired)
    for (const { id } of [mixed, await wired.buy()]) {
      expect((await wired.act(id, 'mark-paid', transfer)).status).toBe(200)
      expect((await wired.act(id, 'refund', { amount: 3_000 })).status).toBe(200)
    }
    scene.fake.control.call(wired.stripeKey, 'POST', '/v1/payment_intents', {
      amount: 10_000,
      currency: 'eur',
      confirm: true,
      payment_method: 'pm_card_visa',
      return_url: 'https://shop.example/',
      metadata: { purchase_id: mixed.id, conference_id: wired.conference },
    })
    await scene.settle()
    expect((await wired.get(mixed.id)).flags).toMatchObject([{ code: 'overpaid' }])
    const byWebhooks = await report(wired)
    expect(byWebhooks).toMatchObject({
      data: [],
      has_more: false,
      next_cursor: null,
      summary: { missing: 0, extra: 0, different: 0 },
    })
    await sync(wired)
    const bySync = await report(wired)
    expect(bySync.data).toEqual([])
    expect(Object.values(bySync.mirror)).toEqual(
      Array.from({ length: 4 }, () => ({ synced_at: expect.any(String), repair: null })),
    )
    expect((await drift.live(wired)).lines).toEqual([])
  })

  it('has no drift in a currency that Stripe counts in hundredths', async () => {
    const icelandic = await drift.deafShop({ currency: 'ISK' })
    const { payment } = await paid(icelandic)
    scene.fake.control.refund(payment)
    const { data } = (
      await scene.request<{ data: { id: string }[] }>('GET', `${icelandic.path}/purchases`)
    ).body
    await icelandic.act(data[0]?.id ?? '', 'reconcile')
    await sync(icelandic)
    expect(await lines(icelandic)).toEqual([])
  })

  it('does not report flagged payments, which wait for staff', async () => {
    const { id } = await shop.buy()
    scene.fake.control.pay(await shop.openSession(id), { amount: 900 })
    const { body } = await shop.act(id, 'reconcile')
    expect(body).toMatchObject({ status: 'PROCESSING', flags: [{ code: 'amount_mismatch' }] })
    await sync(shop)
    expect(await lines(shop)).toEqual([])
  })
})
