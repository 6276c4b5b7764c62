import { beforeAll, describe, expect, it } from 'vitest'
import { generator } from '../support/random.ts'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'
import type { Body } from '../support/test-app.ts'

const { app, stripe } = useAppOnStripe()

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

type Bought = { id: string; session: string; codes: string[] }

/** A paid purchase of ten; its codes newest first, which is the order in which a refund takes them. */
async function paid(): Promise<Bought> {
  const { id } = await shop.buy()
  const session = await shop.openSession(id)
  stripe.fake.control.pay(session)
  await shop.act(id, 'reconcile')
  return { id, session, codes: await newestFirst(id) }
}

const newestFirst = async (purchase: string) => {
  const url = `${shop.path}/vouchers?purchase=${purchase}&limit=100`
  return (await app.request<{ data: { code: string }[] }>('GET', url)).body.data.map(
    ({ code }) => code,
  )
}

const refund = (purchase: string, body: Body, key?: string) =>
  app.request<PurchaseAnswer & { errors?: { pointer: string; detail: string }[] }>(
    'POST',
    `${shop.path}/purchases/${purchase}/refund`,
    { body, ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }) },
  )

type Preview = { amount: number; quantity: number; codes: string[]; payment_intent: string }

const preview = (purchase: string, body: Body, key?: string) =>
  app.request<Preview & Body>('POST', `${shop.path}/purchases/${purchase}/refund?dry_run=true`, {
    body,
    ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }),
  })

const inState = async (purchase: string, state: string) => {
  const url = `${shop.path}/vouchers?purchase=${purchase}&state=${state}&limit=100`
  const { body } = await app.request<{ data: { code: string }[] }>('GET', url)
  return body.data.map(({ code }) => code).toSorted()
}

const inactive = (purchase: string) => inState(purchase, 'deactivated')
const frozen = (purchase: string) => inState(purchase, 'frozen')

const redeem = (code: string | undefined, reference = 'order-1') =>
  app.request('POST', `${shop.path}/vouchers/${code}/redemptions`, { body: { reference } })

const lastRefund = () => stripe.fake.control.list(shop.stripeKey, 'refund')[0]?.id ?? ''

const pick = (codes: string[], ...at: number[]) => at.map((i) => codes[i] ?? '').toSorted()

describe('a refund by quantity', () => {
  it('is that many times the price, and takes the newest unredeemed codes', async () => {
    const { id, codes } = await paid()
    const { body } = await refund(id, { quantity: 3 })
    expect(body).toMatchObject({ amount_refunded: 3_000, vouchers: { deactivated: 3 } })
    expect(await inactive(id)).toEqual(pick(codes, 0, 1, 2))
    expect(await refund(id, { quantity: 8 })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/quantity', detail: expect.stringContaining('at most 7') }] },
    })
  })

  it('goes with neither an amount nor codes', async () => {
    const { id, codes } = await paid()
    expect(await refund(id, { amount: 1_000, quantity: 1, codes: [codes[0]] })).toMatchObject({
      status: 400,
      body: {
        errors: [
          { pointer: '/quantity', detail: 'cannot be combined with amount' },
          { pointer: '/codes', detail: 'cannot be combined with amount' },
        ],
      },
    })
  })
})

describe('a refund by codes', () => {
  it('deactivates those codes, however they are written', async () => {
    const { id, codes } = await paid()
    const [, , , fourth = '', , sixth = ''] = codes
    const { body } = await refund(id, { codes: [fourth.toLowerCase(), sixth.replaceAll('-', ' ')] })
    expect(body).toMatchObject({ status: 'PAID', amount_refunded: 2_000 })
    expect(await inactive(id)).toEqual(pick(codes, 3, 5))
    expect(await app.request('POST', `${shop.path}/vouchers/${fourth}/activate`)).toMatchObject({
      status: 409,
      body: { code: 'voucher_refunded' },
    })
  })

  it('freezes exactly those while it is pending, and releases them if it fails', async () => {
    const { id, codes } = await paid()
    stripe.fake.control.setRefundMode('pending', 1)
    await refund(id, { codes: [codes[4], codes[7]] })
    const first = lastRefund()
    expect(await frozen(id)).toEqual(pick(codes, 4, 7))
    // A refund in the dashboard takes others meanwhile.
    stripe.fake.control.refund(String((await shop.get(id))['payment_intent']), { amount: 1_000 })
    await shop.act(id, 'reconcile')
    expect([await frozen(id), await inactive(id)]).toEqual([pick(codes, 4, 7), pick(codes, 0)])
    stripe.fake.control.failRefund(first)
    await shop.act(id, 'reconcile')
    expect([await frozen(id), await inactive(id)]).toEqual([[], pick(codes, 0)])
  })

  it('holds with refunds that end in another order, a dispute and codes that staff turn off', async () => {
    const { id, session, codes } = await paid()
    stripe.fake.control.setRefundMode('pending', 1)
    await refund(id, { codes: [codes[9]] })
    const slow = lastRefund()
    await refund(id, { codes: [codes[5]] })
    expect([await frozen(id), await inactive(id)]).toEqual([pick(codes, 9), pick(codes, 5)])
    await app.request('POST', `${shop.path}/vouchers/${codes[2]}/deactivate`)
    // What staff turned off does not save a code that a refund named.
    expect(await inactive(id)).toEqual(pick(codes, 2, 5))
    const dispute = stripe.fake.control.dispute(session)
    await shop.act(id, 'reconcile')
    stripe.fake.control.closeDispute(dispute.id, 'won')
    stripe.fake.control.settleRefund(slow)
    await shop.act(id, 'reconcile')
    expect([await frozen(id), await inactive(id)]).toEqual([[], pick(codes, 2, 5, 9)])
  })

  it('names each code that cannot be returned by its place', async () => {
    const { id, codes } = await paid()
    const other = await paid()
    await app.request('POST', `${shop.path}/vouchers/${codes[1]}/deactivate`)
    await redeem(codes[3])
    const named = [codes[0], 'NO-SUCH-CODE', other.codes[0], codes[1], codes[0]?.toLowerCase()]
    expect(await refund(id, { codes: named })).toMatchObject({
      status: 400,
      body: {
        errors: [
          { pointer: '/codes/1', detail: 'is no code of this purchase' },
          { pointer: '/codes/2', detail: 'is no code of this purchase' },
          { pointer: '/codes/3', detail: 'is inactive already' },
          { pointer: '/codes/4', detail: 'is given twice' },
        ],
      },
    })
    const used = await refund(id, { codes: [codes[0], codes[2], codes[3]] })
    expect(used).toMatchObject({
      status: 409,
      body: { code: 'voucher_redeemed', errors: [{ pointer: '/codes/2', detail: 'was redeemed' }] },
    })
    expect(JSON.stringify(used.body)).not.toContain(codes[3])
    stripe.fake.control.setRefundMode('pending', 1)
    await refund(id, { codes: [codes[5]] })
    expect(await refund(id, { codes: [codes[5]] })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/codes/0', detail: expect.stringContaining('not complete') }] },
    })
    expect(await shop.get(id)).toMatchObject({ amount_refunded: 0, vouchers: { frozen: 1 } })
  })

  it('keeps its choice if Stripe does not answer, and those codes cannot be redeemed meanwhile', async () => {
    const { id, codes } = await paid()
    stripe.fake.control.injectFault({
      path: '/v1/refunds',
      times: 'always',
      action: { kind: 'fail_after' },
    })
    const send = () => refund(id, { codes: [codes[6]] }, `refund-${id}`)
    expect((await send()).status).toBe(503)
    expect(await frozen(id)).toEqual(pick(codes, 6))
    expect((await redeem(codes[6])).status).toBe(409)
    stripe.fake.control.clearFaults()
    expect((await send()).body).toMatchObject({ amount_refunded: 1_000 })
    expect((await send()).body).toMatchObject({ amount_refunded: 1_000 })
    expect([await frozen(id), await inactive(id)]).toEqual([[], pick(codes, 6)])
  })

  it('releases its codes in the commit that stores the refusal of Stripe', async () => {
    const { id, codes } = await paid()
    stripe.fake.control.injectFault({
      path: '/v1/refunds',
      times: 1,
      action: { kind: 'refuse', status: 400 },
    })
    expect(await refund(id, { codes: [codes[6]] })).toMatchObject({
      status: 409,
      body: { code: 'stripe_refused' },
    })
    expect([await frozen(id), await inactive(id)]).toEqual([[], []])
    expect((await refund(id, { codes: [codes[6]] })).status).toBe(200)
    expect(await inactive(id)).toEqual(pick(codes, 6))
  })

  it('wins or loses against a redemption of the same code, and never both', async () => {
    const { id, codes } = await paid()
    const both = await Promise.all(
      codes.slice(0, 5).map(async (code) => {
        const [returned, used] = await Promise.all([refund(id, { codes: [code] }), redeem(code)])
        return [returned.status, used.status].join(' ')
      }),
    )
    for (const outcome of both) expect(['200 409', '409 201']).toContain(outcome)
    const returned = both.filter((outcome) => outcome === '200 409').length
    expect(await shop.get(id)).toMatchObject({
      amount_refunded: returned * 1_000,
      vouchers: { deactivated: returned, redeemed: 5 - returned },
    })
  })

  it('of a recorded payment is booked with its codes', async () => {
    const { id } = await shop.buy()
    await shop.act(id, 'mark-paid', { amount: 10_000, method: 'cash', reference: 'receipt 7' })
    const codes = await newestFirst(id)
    expect((await preview(id, { codes: [codes[8]] })).body).toMatchObject({
      amount: 1_000,
      codes: [codes[8]],
      payment_intent: expect.stringMatching(/^rp_/),
    })
    await refund(id, { codes: [codes[8]] })
    expect(await inactive(id)).toEqual(pick(codes, 8))
    await refund(id, { quantity: 1 })
    expect(await inactive(id)).toEqual(pick(codes, 0, 8))
  })

  it('pays for no code that would stay active: a surplus is refunded by amount first', async () => {
    const { id } = await shop.buy()
    await shop.act(id, 'mark-paid', { amount: 10_000, method: 'cash', reference: 'receipt 8' })
    const intent = stripe.fake.control.call(shop.stripeKey, 'POST', '/v1/payment_intents', {
      amount: 10_000,
      currency: 'eur',
      confirm: true,
      payment_method: 'pm_card_visa',
      return_url: 'https://shop.example/',
      metadata: { purchase_id: id, conference_id: shop.conference },
    }) as unknown as { id: string }
    await shop.act(id, 'reconcile', { payment_intent: intent.id })
    const [code] = await newestFirst(id)
    const body = { codes: [code], payment_intent: intent.id }
    expect(await refund(id, body)).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', detail: expect.stringContaining('surplus') },
    })
    expect((await refund(id, { payment_intent: intent.id })).status).toBe(200)
    expect((await refund(id, { codes: [code] })).body).toMatchObject({
      vouchers: { deactivated: 1 },
    })
  })
})

describe('a preview of a refund', () => {
  it('says what would happen, and writes nothing', async () => {
    const { id, codes } = await paid()
    await redeem(codes[0])
    const before = await shop.get(id)
    const { status, body } = await preview(id, { quantity: 2 }, `key-${id}`)
    expect(status).toBe(200)
    expect(body).toEqual({
      object: 'refund_preview',
      payment_intent: before['payment_intent'],
      amount: 2_000,
      currency: 'EUR',
      quantity: 2,
      codes: [codes[1], codes[2]],
      has_more: false,
      missing: 0,
    })
    expect(await shop.get(id)).toEqual(before)
    // The key was not used up.
    expect((await preview(id, { quantity: 3 }, `key-${id}`)).status).toBe(200)
    expect((await refund(id, { quantity: 2 }, `key-${id}`)).status).toBe(200)
    expect(await inactive(id)).toEqual(pick(codes, 1, 2))
  })

  it('shows how many codes are missing because they were redeemed', async () => {
    const { id, codes } = await paid()
    for (const code of codes.slice(0, 8)) await redeem(code)
    const { body } = await preview(id, { quantity: 4 })
    expect(body).toMatchObject({ quantity: 2, missing: 2 })
    const after = await refund(id, { quantity: 4 })
    expect(after.body.flags).toMatchObject([{ code: 'too_few_unredeemed' }])
  })

  it('fails like the refund', async () => {
    const { id, codes } = await paid()
    await redeem(codes[0])
    for (const body of [
      { amount: 10_001 },
      { quantity: 11 },
      { codes: ['NO-SUCH-CODE'] },
      { codes: [codes[0]] },
      { payment_intent: 'pi_unknown' },
      { amount: 1, quantity: 1 },
    ]) {
      const [shown, done] = [await preview(id, body), await refund(id, body)]
      expect(shown.status).toBeGreaterThanOrEqual(400)
      expect([shown.status, shown.body['errors']]).toEqual([done.status, done.body.errors])
    }
    const { id: unpaid } = await shop.buy()
    expect(await preview(unpaid, {})).toMatchObject({ status: 409, body: { code: 'wrong_state' } })
    const url = `${shop.path}/purchases/${id}/refund?dry_run=true`
    expect((await app.request('POST', url, { as: shop.sponsorKey, body: {} })).status).toBe(403)
    expect(
      await app.request('POST', `${shop.path}/purchases/${id}/refund?dry_run=maybe`, { body: {} }),
    ).toMatchObject({ status: 400 })
  })

  it.each([1, 2, 3, 4])('equals what happens next, in random history %i', async (seed) => {
    const random = generator(seed * 7_919)
    const below = (n: number) => Math.floor(random() * n)
    const { id, session, codes } = await paid()
    for (let step = 0; step < 12; step += 1) {
      const code = codes[below(codes.length)] ?? ''
      const act = below(7)
      if (act === 0) await redeem(code, `order-${step}`)
      if (act === 1) await app.request('POST', `${shop.path}/vouchers/${code}/deactivate`)
      if (act === 2) await app.request('POST', `${shop.path}/vouchers/${code}/activate`)
      if (act === 3) {
        stripe.fake.control.refund(session, { amount: 100 + below(900) })
        await shop.act(id, 'reconcile')
      }
      if (act <= 3) continue
      if (act === 4) stripe.fake.control.setRefundMode('pending', 1)
      const pending = act === 4
      const some = codes.filter(() => random() < 0.2)
      const body =
        [{ codes: some }, { quantity: 1 + below(2) }, { amount: 1 + below(2_000) }][below(3)] ?? {}
      const shown = await preview(id, body)
      const before = await inactive(id)
      const done = await refund(id, body)
      expect([shown.status, shown.body['errors']]).toEqual([done.status, done.body.errors])
      if (pending && done.status === 200) {
        stripe.fake.control.settleRefund(lastRefund())
        await shop.act(id, 'reconcile')
      }
      if (pending) stripe.fake.control.setRefundMode('succeeded')
      if (done.status !== 200) continue
      const gone = (await inactive(id)).filter((one) => !before.includes(one))
      expect(gone).toEqual(shown.body.codes.toSorted())
      expect(shown.body.quantity).toBe(gone.length)
    }
  })
})
