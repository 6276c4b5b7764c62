import { beforeAll, describe, expect, it } from 'vitest'
import type { IdempotencyRunner } from '../../src/db/idempotency-runner.ts'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { purchaseService } from '../support/purchase-service.ts'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'
import type { Body } from '../support/test-app.ts'

const { app, stripe } = useAppOnStripe()

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

const TRANSFER = { amount: 10_000, method: 'bank_transfer', reference: 'RE-2027-118' }

type Answer = PurchaseAnswer & { recorded_payment: Body & { id: string } }

const post = (purchase: string, action: string, body: Body, key?: string) =>
  app.request<Answer>('POST', `${shop.path}/purchases/${purchase}/${action}`, {
    body,
    ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }),
  })

const markPaid = (purchase: string, more: Body = {}, key?: string) =>
  post(purchase, 'mark-paid', { ...TRANSFER, ...more }, key)

async function recorded(): Promise<{ id: string; payment: string }> {
  const { id } = await shop.buy()
  const { body } = await markPaid(id)
  return { id, payment: body.recorded_payment.id }
}

const historyOf = async (purchase: string, as?: string) => {
  const url = `${shop.path}/purchases/${purchase}/transitions`
  const options = as === undefined ? {} : { as }
  return (await app.request<{ data: Body[] }>('GET', url, options)).body.data
}

const refundRequests = () => stripe.fake.control.requests({ method: 'POST', path: '/v1/refunds' })

/** Staff take a payment in Stripe's dashboard; a refresh that names it adds it. */
async function takeAtStripe(purchase: string): Promise<string> {
  const intent = stripe.fake.control.call(shop.stripeKey, 'POST', '/v1/payment_intents', {
    amount: 10_000,
    currency: 'eur',
    confirm: true,
    payment_method: 'pm_card_visa',
    return_url: 'https://shop.example/',
    metadata: { purchase_id: purchase, conference_id: shop.conference },
  })
  const { id } = (await intent) as unknown as { id: string }
  await shop.act(purchase, 'reconcile', { payment_intent: id })
  return id
}

describe('a payment that came outside Stripe', () => {
  it('makes the purchase PAID, with its codes, its history and its mail', async () => {
    const { id } = await shop.buy()
    expect((await shop.get(id)).allowed_actions).toContain('mark_paid')
    const paidAt = '2026-03-01T00:00:00.000Z'
    const { status, body } = await markPaid(id, { paid_at: paidAt, note: 'seen by Ada' })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      status: 'PAID',
      amount_received: 10_000,
      payment_intent: null,
      paid_at: paidAt,
      vouchers: { issued: 10, active: 10 },
      recorded_payment: {
        id: expect.stringMatching(/^rp_/),
        ...TRANSFER,
        amount_refunded: 0,
        paid_at: paidAt,
      },
      allowed_actions: ['refund'],
    })
    const [step] = await historyOf(id)
    expect(step).toMatchObject({
      event: 'PAYMENT_RECORDED',
      from: 'PENDING',
      to: 'PAID',
      amount: 10_000,
      note: 'seen by Ada',
      cause: 'mark-paid',
    })
    expect((await historyOf(id, shop.sponsorKey))[0]).toMatchObject({ note: null, amount: 10_000 })
    const seen = await app.request<Answer>('GET', `${shop.path}/purchases/${id}`, {
      as: shop.sponsorKey,
    })
    expect(seen.body).toMatchObject({ recorded_payment: TRANSFER, allowed_actions: [] })
    const mails = await app.rows(
      `select payload->>'kind' as kind from graphile_worker._private_jobs
       where payload->>'purchase_id' = $1 and key like 'mail_purchase:%'`,
      [id],
    )
    expect(mails).toEqual([{ kind: 'codes_ready' }])
  })

  it('must be the whole total, have come by now, and is recorded by staff only', async () => {
    const { id } = await shop.buy()
    expect(await markPaid(id, { amount: 9_999 })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/amount', detail: 'must be 10000: the total is 100.00 EUR' }] },
    })
    expect(await markPaid(id, { paid_at: '2999-01-01T00:00:00Z' })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/paid_at' }] },
    })
    expect(await markPaid(id, { method: 'bitcoin' })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/method' }] },
    })
    const url = `${shop.path}/purchases/${id}/mark-paid`
    const bySponsor = await app.request('POST', url, { as: shop.sponsorKey, body: TRANSFER })
    expect(bySponsor.status).toBe(403)
    const free = await app.request<PurchaseAnswer>('POST', `${shop.path}/purchases`, {
      body: { quantity: 2, unit_amount: 0, description: 'Speakers' },
    })
    expect(await markPaid(free.body.id)).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining('free: staff approve it') },
    })
    expect(await shop.get(id)).toMatchObject({ status: 'PENDING', amount_received: 0 })
  })

  it('closes the open payment page at Stripe first, and nothing at Stripe undoes it', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    expect((await markPaid(id)).body).toMatchObject({ status: 'PAID', checkout: { url: null } })
    expect(stripe.fake.control.get(session)).toMatchObject({ status: 'expired' })
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({
      status: 'PAID',
      amount_received: 10_000,
      vouchers: { active: 10 },
      flags: [],
    })
    expect(await shop.checkout(id)).toMatchObject({ status: 409, body: { code: 'wrong_state' } })
  })

  it('is refused if the payer was faster, and the payment at Stripe counts', async () => {
    const { id } = await shop.buy()
    stripe.fake.control.pay(await shop.openSession(id))
    expect(await markPaid(id)).toMatchObject({
      status: 409,
      body: { code: 'payment_in_progress' },
    })
    expect(await shop.get(id)).toMatchObject({
      status: 'PAID',
      recorded_payment: null,
      amount_received: 10_000,
      vouchers: { issued: 10 },
    })
  })

  it('is refused while a bank debit is pending, and while a payment waits for staff', async () => {
    const { id } = await shop.buy()
    stripe.fake.control.payLater(await shop.openSession(id))
    const pending = await shop.act(id, 'reconcile')
    expect(pending.body.allowed_actions).not.toContain('mark_paid')
    expect(await markPaid(id)).toMatchObject({ body: { code: 'payment_in_progress' } })
    const other = await shop.buy()
    stripe.fake.control.pay(await shop.openSession(other.id), { amount: 9_000 })
    await shop.act(other.id, 'reconcile')
    expect(await markPaid(other.id)).toMatchObject({
      status: 409,
      body: { code: 'payment_in_progress' },
    })
  })

  it('pays a purchase that had failed', async () => {
    const { id } = await shop.buy()
    await shop.act(id, 'cancel')
    expect((await shop.get(id)).allowed_actions).toContain('mark_paid')
    expect((await markPaid(id)).body).toMatchObject({ status: 'PAID', failure: null })
  })

  it('is recorded once by parallel requests, also on an open page', async () => {
    const { id } = await shop.buy()
    await shop.openSession(id)
    const answers = await Promise.all(Array.from({ length: 4 }, () => markPaid(id)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(3)
    expect(await shop.get(id)).toMatchObject({
      amount_received: 10_000,
      vouchers: { issued: 10 },
    })
    const paid = (await historyOf(id)).filter(({ to }) => to === 'PAID')
    expect(paid).toHaveLength(1)
  })

  it('under one key is recorded once, whether Stripe or our process fails in between', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    stripe.fake.control.injectFault({
      path: `/v1/checkout/sessions/${session}/expire`,
      times: 'always',
      action: { kind: 'fail_after' },
    })
    const send = () => markPaid(id, {}, `mark-${id}`)
    expect((await send()).status).toBe(503)
    stripe.fake.control.clearFaults()
    const [first, second] = [await send(), await send()]
    expect(first).toMatchObject({ status: 200, body: { status: 'PAID' } })
    expect(second.body).toEqual(first.body)
    expect((await markPaid(id, { reference: 'other' }, `mark-${id}`)).status).toBe(422)
    // The process dies after the commit, so that the repeat finishes the same payment.
    const other = await shop.buy()
    const diesOnce: IdempotencyRunner = {
      run: (work) => withTenant(app.db, { conferenceId: shop.conference }, work),
      async resume({ begin, finish }) {
        const payment = await this.run(begin)
        await finish(payment, false)
        return finish(payment, true)
      },
    }
    const caller = {
      conferenceId: shop.conference,
      actor: { kind: 'staff', id: 'test' },
      sponsorId: null,
    } as const
    const payment = { ...TRANSFER, method: 'bank_transfer', note: null, paidAt: null } as const
    const service = purchaseService(app.db, app.gateway)
    expect(await service.markPaid(caller, other.id, payment, diesOnce)).toMatchObject({
      status: 'PAID',
      amount_received: 10_000,
    })
  })

  it('may have the reference of another purchase: one transfer pays several', async () => {
    await recorded()
    await recorded()
    const { id } = await recorded()
    expect(await markPaid(id)).toMatchObject({ status: 409, body: { code: 'wrong_state' } })
  })

  it('cannot be changed or deleted, and what was received never falls below it', async () => {
    const { id } = await recorded()
    const run = (sql: string) =>
      withTenant(app.db, { conferenceId: shop.conference }, (trx) => trx.raw(sql, [id]))
    await expect(
      run('update recorded_payments set amount = 1 where purchase_id = ?'),
    ).rejects.toThrow(/permission denied/)
    await expect(run('delete from recorded_payments where purchase_id = ?')).rejects.toThrow(
      /permission denied/,
    )
    await expect(run('update bulk_purchases set amount_received = 0 where id = ?')).rejects.toThrow(
      /has a recorded payment/,
    )
  })
})

describe('a refund of a recorded payment', () => {
  it('is booked and not sent to Stripe, and deactivates its codes', async () => {
    const before = refundRequests().length
    const { id } = await recorded()
    const part = await post(id, 'refund', { amount: 2_500, reason: 'requested_by_customer' })
    expect(part.body).toMatchObject({
      status: 'PAID',
      amount_refunded: 2_500,
      vouchers: { active: 8, deactivated: 2 },
      recorded_payment: { amount_refunded: 2_500 },
    })
    expect((await historyOf(id))[0]).toMatchObject({
      event: 'PARTIALLY_REFUNDED',
      amount: 2_500,
      code: 'requested_by_customer',
    })
    expect(await post(id, 'refund', { amount: 7_501 })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/amount', detail: expect.stringContaining('7500') }] },
    })
    const all = await post(id, 'refund', {})
    expect(all.body).toMatchObject({
      status: 'REFUNDED',
      amount_refunded: 10_000,
      vouchers: { deactivated: 10 },
      allowed_actions: [],
    })
    expect(await post(id, 'refund', {})).toMatchObject({ status: 409 })
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({ status: 'REFUNDED' })
    expect(refundRequests()).toHaveLength(before)
  })

  it('never exceeds the payment, and is booked once under one key', async () => {
    const { id } = await recorded()
    const both = await Promise.all([
      post(id, 'refund', { amount: 6_000 }),
      post(id, 'refund', { amount: 6_000 }),
    ])
    expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 400])
    const send = () => post(id, 'refund', { amount: 1_000 }, `refund-${id}`)
    const [first, second] = [await send(), await send()]
    expect(second.body).toEqual(first.body)
    expect(first.body).toMatchObject({ amount_refunded: 7_000 })
    expect((await historyOf(id)).map(({ event }) => event)).toEqual([
      'PARTIALLY_REFUNDED',
      'PARTIALLY_REFUNDED',
      'PAYMENT_RECORDED',
    ])
  })
})

describe('money at Stripe after a recorded payment', () => {
  it('is a second payment, and a refund must say which of the two it takes', async () => {
    const { id, payment } = await recorded()
    const intent = await takeAtStripe(id)
    expect(await shop.get(id)).toMatchObject({
      status: 'PAID',
      amount_received: 20_000,
      flags: [{ code: 'overpaid' }],
    })
    expect(await post(id, 'refund', { amount: 10_000 })).toMatchObject({
      status: 400,
      body: {
        errors: [
          { pointer: '/payment_intent', detail: expect.stringMatching(`${intent}.*${payment}`) },
        ],
      },
    })
    const before = refundRequests().length
    const sent = await post(id, 'refund', { payment_intent: intent })
    expect(sent.body).toMatchObject({
      status: 'PAID',
      amount_refunded: 10_000,
      recorded_payment: { amount_refunded: 0 },
      vouchers: { active: 10 },
      flags: [],
    })
    expect(refundRequests()).toHaveLength(before + 1)
    expect(await post(id, 'refund', { payment_intent: intent })).toMatchObject({ status: 409 })
    const booked = await post(id, 'refund', { payment_intent: payment, amount: 3_000 })
    expect(booked.body).toMatchObject({
      amount_refunded: 13_000,
      recorded_payment: { amount_refunded: 3_000 },
      vouchers: { deactivated: 3 },
    })
    expect(refundRequests()).toHaveLength(before + 1)
  })

  it('leaves the purchase PAID if the recorded payment is the one that goes back', async () => {
    const { id, payment } = await recorded()
    await takeAtStripe(id)
    const { body } = await post(id, 'refund', { payment_intent: payment })
    expect(body).toMatchObject({ status: 'PAID', vouchers: { active: 10 } })
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({
      status: 'PAID',
      amount_received: 20_000,
      amount_refunded: 10_000,
    })
    expect(await post(id, 'refund', { payment_intent: 'rp_unknown' })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/payment_intent' }] },
    })
  })
})

it('reports sum recorded payments apart', async () => {
  const other = await openShop(app)
  const { id } = await other.buy()
  await other.act(id, 'mark-paid', TRANSFER)
  await other.act(id, 'refund', { amount: 1_000 })
  const paid = await other.buy()
  stripe.fake.control.pay(await other.openSession(paid.id))
  await other.act(paid.id, 'reconcile')
  const { body } = await app.request<{ totals: Body[] }>('GET', `${other.path}/reports/purchases`)
  expect(body.totals).toMatchObject([
    {
      count: 2,
      amount_received: 20_000,
      amount_refunded: 1_000,
      recorded_received: 10_000,
      recorded_refunded: 1_000,
    },
  ])
})
