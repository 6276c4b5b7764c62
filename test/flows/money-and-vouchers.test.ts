import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { unique } from '../support/fixtures.ts'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import { useAppBehindProxy } from '../support/stripe-app.ts'
import type { Body } from '../support/test-app.ts'

const { app, stripe, proxy } = useAppBehindProxy()

let shop: Shop
beforeEach(async () => {
  shop = await openShop(app)
})
afterEach(() => stripe.fake.control.clearFaults())

const control = () => stripe.fake.control
const reconcile = async (id: string, body?: Body) => (await shop.act(id, 'reconcile', body)).body
const resolve = (id: string, code: string, action: string) =>
  shop.act(id, 'resolve-flag', { code, action, note: 'decided with the sponsor' })
const transitions = async (id: string) => {
  const url = `${shop.path}/purchases/${id}/transitions`
  const { body } = await app.request<{ data: { event: string }[] }>('GET', url)
  return body.data.map(({ event }) => event).toReversed()
}

/** A purchase of 10 codes at 10.00 EUR whose page was paid. */
async function paid(): Promise<{ id: string; session: string }> {
  const { id } = await shop.buy()
  const session = await shop.openSession(id)
  control().pay(session)
  expect(await reconcile(id)).toMatchObject({ status: 'PAID', vouchers: { active: 10 } })
  return { id, session }
}

/** A purchase whose page was paid with another amount, which staff must decide about. */
async function mismatched(amount: number, currency = 'eur') {
  const { id } = await shop.buy()
  const session = await shop.openSession(id)
  control().pay(session, { amount, currency })
  const { flags } = await reconcile(id)
  expect(flags).toMatchObject([{ code: 'amount_mismatch' }])
  return { id, session }
}

/** A payment of the whole price that staff take in Stripe's dashboard. */
function payInDashboard(purchase: string): string {
  const params = {
    amount: 10_000,
    currency: 'eur',
    confirm: true,
    payment_method: 'pm_card_visa',
    return_url: 'https://shop.example/',
    metadata: { purchase_id: purchase, conference_id: shop.conference },
  }
  const intent = control().call(shop.stripeKey, 'POST', '/v1/payment_intents', params) as Body
  return String(intent['id'])
}

/** A refund that staff make in Stripe's dashboard. Absent: of the whole payment. */
function refundInDashboard(payment: string, amount?: number): string {
  const params = { payment_intent: payment, ...(amount === undefined ? {} : { amount }) }
  const refund = control().call(shop.stripeKey, 'POST', '/v1/refunds', params) as Body
  return String(refund['id'])
}

const refunds = () =>
  control()
    .list(shop.stripeKey, 'refund')
    .map((refund): Body => ({ ...refund }))

describe('after a failed refund, staff reinstate a purchase', () => {
  it('whose inquiry was closed while it was REFUNDED: every code is active (issue 8, line 10)', async () => {
    const { id, session } = await paid()
    const inquiry = control().dispute(session, { status: 'warning_needs_response' })
    expect((await reconcile(id)).vouchers).toMatchObject({ frozen: 10 })
    const refund = control().refund(session)
    expect((await reconcile(id)).status).toBe('REFUNDED')
    control().closeDispute(inquiry.id, 'warning_closed')
    await reconcile(id)
    control().failRefund(refund.id)
    expect((await reconcile(id)).flags).toContainEqual(
      expect.objectContaining({ code: 'refund_failed' }),
    )
    expect((await resolve(id, 'refund_failed', 'reinstate')).body).toMatchObject({
      status: 'PAID',
      vouchers: { active: 10, frozen: 0, deactivated: 0 },
    })
  })

  it('whose dispute was opened while it was REFUNDED: every code is frozen until it ends (issue 8, line 10)', async () => {
    const { id, session } = await paid()
    await shop.act(id, 'refund')
    const dispute = control().dispute(session)
    expect((await reconcile(id)).status).toBe('REFUNDED')
    control().failRefund(String(refunds()[0]?.['id']))
    await reconcile(id)
    expect((await resolve(id, 'refund_failed', 'reinstate')).body).toMatchObject({
      status: 'PAID',
      vouchers: { active: 0, frozen: 10 },
    })
    control().closeDispute(dispute.id, 'won')
    expect(await reconcile(id)).toMatchObject({ status: 'PAID', vouchers: { active: 10 } })
  })
})

describe('a payment of another amount', () => {
  it('cannot be accepted once another payment has paid: what is due stays (issue 8, line 12)', async () => {
    const { id } = await mismatched(9_000)
    const second = payInDashboard(id)
    expect(await reconcile(id, { payment_intent: second })).toMatchObject({ status: 'PAID' })
    expect(await resolve(id, 'amount_mismatch', 'accept_payment')).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state: 'PAID' },
    })
    expect((await shop.get(id)).flags).toMatchObject([{ code: 'amount_mismatch' }])
    // 90.00 of the 100.00 EUR that the codes cost are left.
    const { body } = await shop.act(id, 'refund', { payment_intent: second })
    expect(body).toMatchObject({ status: 'PAID', vouchers: { active: 9, deactivated: 1 } })
  })

  it('in another currency is measured in its own currency once it is accepted (issue 8, line 12)', async () => {
    const { id } = await mismatched(1_500_000, 'jpy')
    expect((await resolve(id, 'amount_mismatch', 'accept_payment')).body).toMatchObject({
      status: 'PAID',
      vouchers: { active: 10 },
    })
    expect((await shop.act(id, 'refund', { amount: 750_000 })).body).toMatchObject({
      status: 'PAID',
      vouchers: { active: 5, deactivated: 5 },
    })
    expect((await shop.act(id, 'refund')).body).toMatchObject({
      status: 'REFUNDED',
      vouchers: { active: 0, deactivated: 10 },
    })
  })

  it('with an open dispute freezes the codes when another payment pays (issue 8, line 29)', async () => {
    const { id, session } = await mismatched(9_000)
    const dispute = control().dispute(session)
    await reconcile(id)
    expect(await reconcile(id, { payment_intent: payInDashboard(id) })).toMatchObject({
      status: 'PAID',
      vouchers: { active: 0, frozen: 10 },
    })
    control().closeDispute(dispute.id, 'won')
    expect((await reconcile(id)).vouchers).toMatchObject({ active: 10, frozen: 0 })
  })

  it('that was refunded in full loses its flag and cannot be accepted (issue 8, line 5)', async () => {
    const { id, session } = await mismatched(9_000)
    const refund = control().refund(session)
    expect(await reconcile(id)).toMatchObject({
      status: 'FAILED',
      failure: { code: 'payment_refunded' },
      flags: [],
    })
    expect(await resolve(id, 'amount_mismatch', 'accept_payment')).toMatchObject({
      status: 409,
      body: { code: 'wrong_state' },
    })
    control().failRefund(refund.id)
    expect((await reconcile(id)).flags).toMatchObject([{ code: 'amount_mismatch' }])
    expect((await resolve(id, 'amount_mismatch', 'accept_payment')).body).toMatchObject({
      status: 'PAID',
      vouchers: { active: 10 },
    })
  })

  it('that was refunded in part before staff accept it deactivates its codes (issue 8, line 29)', async () => {
    const { id, session } = await mismatched(9_000)
    control().refund(session, { amount: 4_500 })
    await reconcile(id)
    expect((await resolve(id, 'amount_mismatch', 'accept_payment')).body).toMatchObject({
      status: 'PAID',
      amount_refunded: 4_500,
      vouchers: { active: 5, deactivated: 5 },
    })
  })
})

describe('a second payment', () => {
  /** A purchase that was paid twice: by its page, and by a payment in Stripe's dashboard. */
  async function paidTwice() {
    const { id } = await paid()
    const second = payInDashboard(id)
    expect((await reconcile(id, { payment_intent: second })).flags).toMatchObject([
      { code: 'overpaid', detail: expect.stringContaining(second) },
    ])
    return { id, second }
  }

  it("loses its flag when staff refund it in Stripe's dashboard, and its history is kept (issue 8, line 5)", async () => {
    const { id, second } = await paidTwice()
    refundInDashboard(second)
    expect(await reconcile(id)).toMatchObject({
      status: 'PAID',
      flags: [],
      vouchers: { active: 10 },
    })
    expect(await transitions(id)).toContain('SECOND_PAYMENT')
  })

  it('is flagged again when its refund fails (issue 8, line 5)', async () => {
    const { id, second } = await paidTwice()
    const refund = refundInDashboard(second)
    await reconcile(id)
    control().failRefund(refund)
    const { flags } = await reconcile(id)
    expect(flags.map(({ code }) => code).toSorted()).toEqual(['overpaid', 'refund_failed'])
  })

  it('keeps its flag while a part of it is left (issue 8, line 5)', async () => {
    const { id, second } = await paidTwice()
    refundInDashboard(second, 4_000)
    expect((await reconcile(id)).flags).toMatchObject([{ code: 'overpaid' }])
  })

  it('that was refunded before its first snapshot raises no flag (issue 8, line 5)', async () => {
    const { id } = await paid()
    const second = payInDashboard(id)
    refundInDashboard(second)
    expect(await reconcile(id, { payment_intent: second })).toMatchObject({
      status: 'PAID',
      amount_refunded: 10_000,
      flags: [],
    })
    expect(await transitions(id)).not.toContain('SECOND_PAYMENT')
  })

  it('whose flag staff resolved is not flagged again when its refund fails (issue 8, line 5)', async () => {
    const { id, second } = await paidTwice()
    const note = 'the sponsor wants the money back'
    expect((await shop.act(id, 'resolve-flag', { code: 'overpaid', note })).status).toBe(200)
    const refund = refundInDashboard(second)
    await reconcile(id)
    control().failRefund(refund)
    expect((await reconcile(id)).flags).toMatchObject([{ code: 'refund_failed' }])
    const [flag] = await app.rows(
      `select note, resolved_at is not null as resolved from purchase_flags where fact = $1`,
      [second],
    )
    expect(flag).toEqual({ note, resolved: true })
  })
})

describe('a refund', () => {
  it('that is pending counts: the same money is not refunded twice (issue 8, line 31)', async () => {
    const { id } = await paid()
    control().setRefundMode('pending', 1)
    await shop.act(id, 'refund', { amount: 3_000 })
    expect(await shop.act(id, 'refund', { amount: 7_001 })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/amount' }] },
    })
    expect((await shop.act(id, 'refund', { amount: 7_000 })).status).toBe(200)
    expect(refunds()).toHaveLength(2)
  })

  it('that is pending freezes the codes after those of one that succeeds (issue 8, line 29)', async () => {
    const { id } = await paid()
    control().setRefundMode('pending', 1)
    await shop.act(id, 'refund', { amount: 3_000 })
    const pending = String(refunds()[0]?.['id'])
    expect((await shop.act(id, 'refund', { amount: 2_000 })).body).toMatchObject({
      vouchers: { active: 5, frozen: 3, deactivated: 2 },
    })
    control().failRefund(pending)
    expect((await reconcile(id)).vouchers).toMatchObject({ active: 8, frozen: 0, deactivated: 2 })
  })

  it('of a disputed payment is refused, so that it is not paid out twice (issue 8, line 31)', async () => {
    const { id, session } = await paid()
    const dispute = control().dispute(session, { amount: 4_000 })
    const disputed = await reconcile(id)
    expect(disputed.allowed_actions).not.toContain('refund')
    const intent = String(disputed['payment_intent'])
    for (const body of [{}, { amount: 100 }, { amount: 6_000, payment_intent: intent }]) {
      expect(await shop.act(id, 'refund', body)).toMatchObject({
        status: 409,
        body: { code: 'wrong_state' },
      })
    }
    expect(control().requests({ method: 'POST', path: '/v1/refunds' })).not.toContainEqual(
      expect.objectContaining({ params: expect.objectContaining({ payment_intent: intent }) }),
    )
    control().closeDispute(dispute.id, 'won')
    expect((await reconcile(id)).allowed_actions).toContain('refund')
    expect((await shop.act(id, 'refund')).body.status).toBe('REFUNDED')
  })

  it('of another payment than the disputed one is possible (issue 8, line 31)', async () => {
    const { id, session } = await paid()
    const second = payInDashboard(id)
    await reconcile(id, { payment_intent: second })
    control().dispute(session)
    await reconcile(id)
    const { body } = await shop.act(id, 'refund', {})
    expect(body).toMatchObject({ status: 'PAID', amount_refunded: 10_000 })
    expect(refunds()).toMatchObject([{ payment_intent: second }])
  })

  const refund = (id: string, amount: number) =>
    app.request<PurchaseAnswer>('POST', `${shop.path}/purchases/${id}/refund`, {
      body: { amount },
      headers: { 'idempotency-key': unique('refund') },
    })
  const TOO_MUCH = { status: 400, body: { errors: [{ pointer: '/amount' }] } }

  it('that Stripe accepted counts before it is read (issue 8, line 31)', async () => {
    const { id } = await paid()
    // The snapshot after the refund waits: until then the refund is in none.
    const held = proxy.holdRequest({ method: 'GET', path: /^\/v1\/(payment_intents|checkout)/ })
    const first = refund(id, 6_000)
    await held.reached
    expect(refunds()).toMatchObject([{ amount: 6_000, status: 'succeeded' }])
    expect(await refund(id, 6_000)).toMatchObject(TOO_MUCH)
    expect(await refund(id, 4_001)).toMatchObject(TOO_MUCH)
    expect((await refund(id, 4_000)).status).toBe(200)
    held.release()
    expect((await first).status).toBe(200)
    expect(refunds().map(({ amount }) => amount)).toEqual([4_000, 6_000])
    expect(await shop.get(id)).toMatchObject({ status: 'REFUNDED', amount_refunded: 10_000 })
  })

  it('that Stripe has not answered yet counts too (issue 8, line 31)', async () => {
    const { id } = await paid()
    const held = proxy.holdRequest({ method: 'POST', path: /^\/v1\/refunds$/ })
    const first = refund(id, 6_000)
    await held.reached
    expect(await refund(id, 6_000)).toMatchObject(TOO_MUCH)
    held.release()
    expect((await first).status).toBe(200)
    expect(refunds()).toHaveLength(1)
  })

  it('that Stripe accepted and nobody could read counts until a snapshot shows it (issue 8, line 31)', async () => {
    const { id } = await paid()
    const action = { kind: 'refuse', status: 403 } as const
    control().injectFault({ method: 'GET', path: '/v1/**', times: 'always', action })
    await refund(id, 6_000)
    control().clearFaults()
    expect(await shop.get(id)).toMatchObject({ amount_refunded: 0 })
    expect(await refund(id, 6_000)).toMatchObject(TOO_MUCH)
    expect(await reconcile(id)).toMatchObject({ amount_refunded: 6_000 })
    expect((await refund(id, 4_000)).body.status).toBe('REFUNDED')
    expect(await transitions(id)).toContain('REFUNDED')
  })
})
