import { describe, expect, it } from 'vitest'
import { openChargeScene } from '../billing/charges/charge-scene.ts'
import { useInboxApp } from '../stripe-events/inbox-app.ts'
import type { Body } from '../support/test-app.ts'

const app = useInboxApp()

async function wired(card: string) {
  const shop = await app.openWiredShop()
  const scene = await openChargeScene(app, app, shop)
  scene.save(card)
  const { id } = await shop.buy()
  const pay = () =>
    app.request<Body>('POST', `${shop.path}/purchases/${id}/pay`, { as: shop.sponsorKey, body: {} })
  const drift = async () => {
    const { body } = await app.request<{ data: Body[] }>('GET', `${shop.path}/stripe/drift`)
    return body.data
  }
  return { shop, id, pay, drift }
}

const CONFIRM = '/v1/payment_intents/*/confirm'

describe('a purchase that is paid with a saved card', () => {
  it('is PAID by webhooks alone when the response was lost, and the mirror agrees', async () => {
    const { shop, id, pay, drift } = await wired('pm_card_visa')
    app.fake.control.injectFault({ path: CONFIRM, times: 'always', action: { kind: 'fail_after' } })
    app.fake.control.injectFault({
      method: 'GET',
      path: '/v1/payment_intents/*',
      times: 'always',
      action: { kind: 'cut' },
    })
    expect((await pay()).status).toBe(503)
    expect((await shop.get(id)).status).toBe('PROCESSING')
    app.fake.control.clearFaults()
    await app.settle()
    expect(await shop.get(id)).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
    expect((await app.events(shop)).filter(({ status }) => status === 'failed')).toEqual([])
    expect(await drift()).toEqual([])
  })

  it('F3: that is declined stays FAILED after all webhooks, without drift', async () => {
    const { shop, id, pay, drift } = await wired('pm_card_chargeCustomerFail')
    expect((await pay()).body).toMatchObject({ status: 'FAILED' })
    await app.settle()
    expect(await shop.get(id)).toMatchObject({
      status: 'FAILED',
      failure: { code: 'generic_decline' },
    })
    expect(await drift()).toEqual([])
  })

  it('handles a refund and a dispute as after a checkout', async () => {
    const { shop, id, pay } = await wired('pm_card_visa')
    const { body } = await pay()
    const intent = String(body['payment_intent'])
    app.fake.control.refund(intent, { amount: 3_000 })
    await app.settle()
    expect(await shop.get(id)).toMatchObject({
      status: 'PAID',
      amount_refunded: 3_000,
      vouchers: { active: 7, deactivated: 3 },
    })
    app.fake.control.dispute(intent)
    await app.settle()
    expect((await shop.get(id)).flags).toMatchObject([{ code: 'dispute' }])
  })
})
