import { beforeAll, describe, expect, it } from 'vitest'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'

const { app, stripe } = useAppOnStripe()

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

async function paid(): Promise<{ purchase: string; session: string }> {
  const { id } = await shop.buy()
  const session = await shop.openSession(id)
  stripe.fake.control.pay(session)
  const { body } = await shop.act(id, 'reconcile')
  expect(body).toMatchObject({ status: 'PAID', amount_received: 10_000 })
  return { purchase: id, session }
}

const REFUNDS = '/v1/refunds'
const refundsMade = async (purchase: string) => {
  const { payment_intent: intent } = await shop.get(purchase)
  return stripe.fake.control
    .events({ type: 'refund.created' })
    .filter(({ data }) => JSON.stringify(data).includes(String(intent)))
}

describe('a refund by staff', () => {
  it('of a part deactivates whole codes only', async () => {
    const { purchase } = await paid()
    const { status, body } = await shop.act(purchase, 'refund', { amount: 2_500 })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      status: 'PAID',
      amount_refunded: 2_500,
      vouchers: { active: 8, deactivated: 2 },
    })
  })

  it('of everything leaves no active code and nothing to refund', async () => {
    const { purchase } = await paid()
    const { body } = await shop.act(purchase, 'refund', { reason: 'requested_by_customer' })
    expect(body).toMatchObject({
      status: 'REFUNDED',
      amount_refunded: 10_000,
      vouchers: { active: 0, deactivated: 10, remaining: 0 },
    })
    expect(body.allowed_actions).not.toContain('refund')
    expect(await shop.act(purchase, 'refund')).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state: 'REFUNDED' },
    })
  })

  it('twice of the same amount is two refunds (D27)', async () => {
    const { purchase } = await paid()
    await shop.act(purchase, 'refund', { amount: 1_000 })
    const { body } = await shop.act(purchase, 'refund', { amount: 1_000 })
    expect(body).toMatchObject({ amount_refunded: 2_000, vouchers: { deactivated: 2 } })
    expect(await refundsMade(purchase)).toHaveLength(2)
  })

  it('never exceeds the payment, also for two parallel requests', async () => {
    const { purchase } = await paid()
    expect(await shop.act(purchase, 'refund', { amount: 10_001 })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/amount' }] },
    })
    const both = await Promise.all([
      shop.act(purchase, 'refund', { amount: 6_000 }),
      shop.act(purchase, 'refund', { amount: 6_000 }),
    ])
    expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 400])
    expect(await refundsMade(purchase)).toHaveLength(1)
  })

  it('that is pending freezes its codes; when it fails, they are released and a flag is raised', async () => {
    const { purchase } = await paid()
    stripe.fake.control.setRefundMode('pending', 1)
    const pending = await shop.act(purchase, 'refund', { amount: 3_000 })
    expect(pending.body).toMatchObject({
      status: 'PAID',
      amount_refunded: 0,
      vouchers: { active: 7, frozen: 3 },
    })
    const [refund] = stripe.fake.control.list(shop.stripeKey, 'refund')
    stripe.fake.control.failRefund(refund?.id ?? '')
    const failed = await shop.act(purchase, 'reconcile')
    expect(failed.body).toMatchObject({
      vouchers: { active: 10, frozen: 0 },
      flags: [{ code: 'refund_failed' }],
    })
    const resolved = await shop.act(purchase, 'resolve-flag', {
      code: 'refund_failed',
      note: 'paid back by bank transfer',
    })
    expect(resolved.body).toMatchObject({ flags: [] })
    expect((await shop.act(purchase, 'reconcile')).body).toMatchObject({ flags: [] })
  })

  it('whose response is lost is made once: the retry under the same key finds it', async () => {
    const { purchase } = await paid()
    const send = () =>
      app.request<PurchaseAnswer>('POST', `${shop.path}/purchases/${purchase}/refund`, {
        body: { amount: 1_000 },
        headers: { 'idempotency-key': `refund-${purchase}` },
      })
    stripe.fake.control.injectFault({
      path: REFUNDS,
      times: 'always',
      action: { kind: 'fail_after' },
    })
    expect((await send()).status).toBe(503)
    stripe.fake.control.clearFaults()
    expect((await send()).body).toMatchObject({ amount_refunded: 1_000 })
    expect((await send()).body).toMatchObject({ amount_refunded: 1_000 })
    expect(await refundsMade(purchase)).toHaveLength(1)
  })

  it('that Stripe refuses returns Stripe’s message and can be requested again', async () => {
    const { purchase, session } = await paid()
    // Staff refund it in Stripe's dashboard; no snapshot has it yet.
    stripe.fake.control.refund(session)
    expect(await shop.act(purchase, 'refund', { amount: 1_000 })).toMatchObject({
      status: 409,
      body: { code: 'stripe_refused', detail: expect.stringMatching(/refund/i) },
    })
    expect((await shop.act(purchase, 'reconcile')).body).toMatchObject({
      status: 'REFUNDED',
      vouchers: { deactivated: 10 },
    })
  })

  it('is not possible for a sponsor', async () => {
    const { purchase } = await paid()
    const url = `${shop.path}/purchases/${purchase}/refund`
    expect((await app.request('POST', url, { as: shop.sponsorKey, body: {} })).status).toBe(403)
  })
})

describe('at Stripe', () => {
  it('a refund in the dashboard deactivates the codes (R8)', async () => {
    const { purchase, session } = await paid()
    stripe.fake.control.refund(session, { amount: 4_000 })
    expect((await shop.act(purchase, 'reconcile')).body).toMatchObject({
      status: 'PAID',
      vouchers: { active: 6, deactivated: 4 },
    })
  })

  it('a dispute freezes the codes until it ends', async () => {
    const { purchase, session } = await paid()
    const dispute = stripe.fake.control.dispute(session)
    expect((await shop.act(purchase, 'reconcile')).body).toMatchObject({
      status: 'PAID',
      vouchers: { frozen: 10 },
      flags: [{ code: 'dispute' }],
    })
    const [code] = await shop.codes(purchase)
    const redeem = () =>
      app.request('POST', `${shop.path}/vouchers/${code}/redemptions`, {
        body: { reference: 'o-1' },
      })
    expect(await redeem()).toMatchObject({
      status: 409,
      body: { code: 'voucher_invalid', invalid_reason: 'frozen' },
    })
    stripe.fake.control.closeDispute(dispute.id, 'won')
    await shop.act(purchase, 'reconcile')
    expect((await redeem()).status).toBe(201)
  })

  it('a lost dispute has the effect of a refund', async () => {
    const { purchase, session } = await paid()
    const dispute = stripe.fake.control.dispute(session)
    stripe.fake.control.closeDispute(dispute.id, 'lost')
    expect((await shop.act(purchase, 'reconcile')).body).toMatchObject({
      status: 'REFUNDED',
      vouchers: { deactivated: 10 },
    })
  })

  it('an early fraud warning raises a flag', async () => {
    const { purchase, session } = await paid()
    stripe.fake.control.earlyFraudWarning(session)
    expect((await shop.act(purchase, 'reconcile')).body).toMatchObject({
      status: 'PAID',
      flags: [{ code: 'early_fraud_warning' }],
    })
  })

  it('a payment of another amount issues no codes until staff accept it (D12)', async () => {
    const { id } = await shop.buy()
    stripe.fake.control.pay(await shop.openSession(id), { amount: 9_000 })
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({
      status: 'PROCESSING',
      vouchers: { issued: 0 },
      flags: [{ code: 'amount_mismatch' }],
    })
    expect((await shop.checkout(id)).body).toMatchObject({ code: 'payment_in_progress' })
    const accepted = await shop.act(id, 'resolve-flag', {
      code: 'amount_mismatch',
      action: 'accept_payment',
      note: 'the bank kept a fee',
    })
    expect(accepted.body).toMatchObject({ status: 'PAID', vouchers: { active: 10 }, flags: [] })
  })

  it('a refunded code cannot be activated by staff', async () => {
    const { purchase } = await paid()
    const [first, second, third] = await shop.codes(purchase)
    const deactivate = (code: string | undefined) =>
      app.request('POST', `${shop.path}/vouchers/${code}/deactivate`)
    await deactivate(first)
    await shop.act(purchase, 'refund', { amount: 2_000 })
    const off = await shop.get(purchase)
    expect(off.vouchers).toMatchObject({ active: 8, deactivated: 2 })
    const activate = (code: string | undefined) =>
      app.request('POST', `${shop.path}/vouchers/${code}/activate`)
    expect(await activate(first)).toMatchObject({ status: 409, body: { code: 'voucher_refunded' } })
    await deactivate(second)
    expect((await shop.get(purchase)).vouchers).toMatchObject({ active: 8, deactivated: 2 })
    await deactivate(third)
    expect((await activate(first)).status).toBe(200)
    expect((await shop.get(purchase)).vouchers).toMatchObject({ active: 8, deactivated: 2 })
  })
})
