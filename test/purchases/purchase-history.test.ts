import { beforeAll, describe, expect, it } from 'vitest'
import { createStaffKey } from '../support/fixtures.ts'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'

const { app, stripe } = useAppOnStripe()
let shop: Shop
let staffKey: string
beforeAll(async () => {
  shop = await openShop(app)
  const scopes = ['purchases:read', 'purchases:write', 'keys:write'] as const
  staffKey = (await createStaffKey(app, shop, scopes, { name: 'Registration desk' })).key
})

type Step = {
  event: string
  code: string | null
  amount: number | null
  note: string | null
  actor: { kind: string; id: string; name: string | null }
}

/** The history of a purchase, oldest first. */
async function stepsOf(purchase: string, as?: string): Promise<Step[]> {
  const url = `${shop.path}/purchases/${purchase}/transitions`
  const options = as === undefined ? {} : { as }
  const { body } = await app.request<{ data: Step[] }>('GET', url, options)
  return body.data.toReversed()
}

const moves = (steps: Step[]) => steps.map(({ event, code, amount }) => [event, code, amount])

const act = (purchase: string, action: string, as: string, body = {}) =>
  app.request<PurchaseAnswer>('POST', `${shop.path}/purchases/${purchase}/${action}`, { as, body })

const read = (purchase: string, as?: string) =>
  app.request('GET', `${shop.path}/purchases/${purchase}`, as === undefined ? {} : { as })

describe('the reason of a failure', () => {
  it('stays when a declined purchase is cancelled, and the history has both (issue 10, line 5)', async () => {
    const { id } = await shop.buy()
    stripe.fake.control.decline(await shop.openSession(id), 'insufficient_funds')
    await shop.act(id, 'reconcile')
    const { body } = await shop.act(id, 'cancel')
    expect(body).toMatchObject({ status: 'FAILED', failure: { code: 'insufficient_funds' } })
    expect(moves(await stepsOf(id))).toEqual([
      ['CHECKOUT_OPENED', null, null],
      ['PAYMENT_DECLINED', 'insufficient_funds', null],
      ['CANCELLED', 'cancelled', null],
    ])
  })

  it('stays when the checkout of a declined payment expires, and is cleared by a payment (issue 10, line 5)', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    stripe.fake.control.decline(session, 'insufficient_funds')
    await shop.act(id, 'reconcile')
    stripe.fake.control.expire(session)
    const { body } = await shop.act(id, 'reconcile')
    expect(body).toMatchObject({ status: 'FAILED', failure: { code: 'insufficient_funds' } })
    stripe.fake.control.pay(await shop.openSession(id))
    const paid = await shop.act(id, 'reconcile')
    expect(paid.body).toMatchObject({ status: 'PAID', failure: null })
  })

  it('is the declined payment also if the page had expired before the service saw it', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    stripe.fake.control.decline(session, 'insufficient_funds')
    stripe.fake.control.expire(session)
    const { body } = await shop.act(id, 'reconcile')
    expect(body).toMatchObject({ status: 'FAILED', failure: { code: 'insufficient_funds' } })
    expect(moves(await stepsOf(id))).toEqual([
      ['CHECKOUT_OPENED', null, null],
      ['PAYMENT_DECLINED', 'insufficient_funds', null],
      ['CHECKOUT_EXPIRED', 'checkout_expired', null],
    ])
  })

  it('is that of the newest page: a late decline of an older one changes nothing', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    const { payment_intent: intent } = stripe.fake.control.decline(session, 'insufficient_funds')
    await shop.act(id, 'cancel')
    await shop.openSession(id)
    const { body } = await shop.act(id, 'reconcile', { payment_intent: intent })
    expect(body).toMatchObject({ status: 'PROCESSING', failure: null })
  })

  it('is the cancellation if no payment failed', async () => {
    const { id } = await shop.buy()
    expect((await shop.act(id, 'cancel')).body).toMatchObject({ failure: { code: 'cancelled' } })
  })
})

describe('the history of a purchase', () => {
  it('has the amounts of payments and refunds, with the reason of a refund (issue 10, line 5)', async () => {
    const { id } = await shop.buy()
    stripe.fake.control.pay(await shop.openSession(id))
    await shop.act(id, 'reconcile')
    await shop.act(id, 'refund', { amount: 2_500, reason: 'duplicate' })
    await shop.act(id, 'refund', { reason: 'requested_by_customer' })
    expect(moves(await stepsOf(id))).toEqual([
      ['CHECKOUT_OPENED', null, null],
      ['PAYMENT_SUCCEEDED', null, 10_000],
      ['PARTIALLY_REFUNDED', 'duplicate', 2_500],
      ['REFUNDED', 'requested_by_customer', 7_500],
    ])
  })

  it('has what staff wrote about their decision, but not for the sponsor (issue 10, line 5)', async () => {
    const { id } = await shop.buy()
    stripe.fake.control.call(shop.stripeKey, 'POST', '/v1/payment_intents', {
      amount: 9_000,
      currency: 'eur',
      confirm: true,
      payment_method: 'pm_card_visa',
      return_url: 'https://shop.example/',
      metadata: { purchase_id: id, conference_id: shop.conference },
    })
    const [intent] = stripe.fake.control.list(shop.stripeKey, 'payment_intent')
    await shop.act(id, 'reconcile', { payment_intent: intent?.id })
    const note = 'Early-bird price, agreed by phone'
    await act(id, 'resolve-flag', staffKey, {
      code: 'amount_mismatch',
      action: 'accept_payment',
      note,
    })
    expect(moves(await stepsOf(id))).toEqual([
      ['PAYMENT_MISMATCHED', 'amount_mismatch', 9_000],
      ['PAYMENT_SUCCEEDED', 'amount_mismatch', 9_000],
    ])
    expect((await stepsOf(id)).at(-1)).toMatchObject({ note, actor: { name: 'Registration desk' } })
    expect((await stepsOf(id, shop.sponsorKey)).at(-1)).toMatchObject({
      note: null,
      actor: { kind: 'staff', name: null },
    })
  })
})

describe('a note of staff', () => {
  it('is in the history with its author, and not for the sponsor', async () => {
    const { id } = await shop.buy()
    const note = 'They pay after the board meeting'
    const added = await act(id, 'notes', staffKey, { note })
    expect(added).toMatchObject({
      status: 201,
      body: { event: 'NOTE_ADDED', from: 'PENDING', to: 'PENDING', note },
    })
    expect(await stepsOf(id)).toMatchObject([{ note, actor: { name: 'Registration desk' } }])
    expect(await stepsOf(id, shop.sponsorKey)).toEqual([])
    expect(await act('bp_of_nobody', 'notes', staffKey, { note })).toMatchObject({ status: 404 })
    expect(await act(id, 'notes', staffKey, { note: '' })).toMatchObject({ status: 400 })
  })
})

describe('the payments of a purchase', () => {
  it('are listed with attempts and refunds; the sponsor does not see why a refund failed', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    stripe.fake.control.pay(session)
    await shop.act(id, 'reconcile')
    await shop.act(id, 'refund', { amount: 2_500, reason: 'duplicate' })
    const url = `${shop.path}/purchases/${id}/payments`
    const { body } = await app.request('GET', url, { as: staffKey })
    const paid = { kind: 'stripe', amount_received: 10_000, amount_refunded: 2_500 }
    expect(body).toMatchObject({
      attempts: [{ attempt: 1, kind: 'checkout', state: 'paid', session_id: session }],
      payments: [{ ...paid, amount_refundable: 7_500, disputed: false, currency: 'EUR' }],
      refunds: [{ status: 'succeeded', amount: 2_500, reason: 'duplicate' }],
      disputes: [],
    })
    expect(await app.request('GET', url, { as: shop.sponsorKey })).toMatchObject({ status: 200 })
  })

  it('contain a recorded payment and what was booked back of it', async () => {
    const { id } = await shop.buy()
    await shop.act(id, 'mark-paid', { amount: 10_000, method: 'cash', reference: 'Receipt 7' })
    await shop.act(id, 'refund', { amount: 1_000 })
    const { body } = await app.request('GET', `${shop.path}/purchases/${id}/payments`)
    expect(body).toMatchObject({
      payments: [{ kind: 'recorded', amount_received: 10_000, amount_refundable: 9_000 }],
      refunds: [{ status: 'succeeded', amount: 1_000, currency: 'EUR' }],
    })
  })
})

describe('who did something', () => {
  it('has a name, also after the key was deleted (issue 10, line 5)', async () => {
    const order = {
      ticket_type: shop.ticketType,
      quantity: 2,
      unit_amount: 0,
      sponsor: shop.sponsor,
    }
    const { body: made } = await app.request<PurchaseAnswer>('POST', `${shop.path}/purchases`, {
      body: order,
    })
    const key = await createStaffKey(app, shop, ['purchases:write'], { name: 'Team lead' })
    await act(made.id, 'approve', key.key)
    await app.request('DELETE', `${shop.path}/api-keys/${key.id}`)
    expect((await read(made.id)).body).toMatchObject({
      requested_by: 'operator',
      requested_by_name: 'Operator',
      approved_by: key.id,
      approved_by_name: 'Team lead',
    })
    expect((await stepsOf(made.id)).map(({ actor }) => actor)).toEqual([
      { kind: 'staff', id: key.id, name: 'Team lead' },
    ])
    expect((await read(made.id, shop.sponsorKey)).body).toMatchObject({
      approved_by: key.id,
      approved_by_name: null,
    })
  })

  it('has the name of the sponsor’s own key for the sponsor', async () => {
    const made = await shop.buy()
    expect(made).toMatchObject({ requested_by_name: expect.stringMatching(/^sponsor-/) })
    expect((await read(made.id, shop.sponsorKey)).body).toMatchObject({
      requested_by_name: made['requested_by_name'],
    })
    const page = await app.request<{ data: PurchaseAnswer[] }>('GET', `${shop.path}/purchases`)
    expect(page.body.data[0]).toMatchObject({ requested_by_name: made['requested_by_name'] })
  })
})
