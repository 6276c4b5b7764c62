import { beforeEach, describe, expect, it } from 'vitest'
import { createStaffKey } from '../../support/fixtures.ts'
import { openShop, RETURN_URLS, type Shop } from '../../support/shop.ts'
import { useAppOnStripe } from '../../support/stripe-app.ts'
import { type Body } from '../../support/test-app.ts'
import { type ChargeScene, openChargeScene } from './charge-scene.ts'

const { app, stripe } = useAppOnStripe()

let shop: Shop
let scene: ChargeScene
beforeEach(async () => {
  stripe.fake.control.clearFaults()
  shop = await openShop(app)
  scene = await openChargeScene(app, stripe, shop)
})

describe('a charge', () => {
  it('is created in the conference’s currency and charges nothing yet', async () => {
    const charge = await scene.create({
      statement_descriptor_suffix: 'BOOTH 14',
      comment: 'By phone',
      source_reference: 'INV-1',
    })
    expect(charge).toMatchObject({
      status: 'open',
      currency: 'EUR',
      amount: 1_234,
      customer: scene.customer,
      sponsor: shop.sponsor,
      attempts: 0,
    })
    expect(scene.intents(charge.id)).toEqual([])
    const listed = await app.request<{ data: Body[] }>(
      'GET',
      `${shop.path}/charges?source_reference=INV-1&status=open&manual=false`,
    )
    expect(listed.body.data).toEqual([charge])
  })

  it('is charged once: with an intent that is created unconfirmed, then confirmed by its id', async () => {
    const card = scene.save()
    const charge = await scene.create({ statement_descriptor_suffix: 'BOOTH 14' })
    stripe.fake.control.clearRequests()
    const { status, body } = await scene.act(charge.id, 'charge')
    expect(status).toBe(200)
    expect(body).toMatchObject({ status: 'succeeded', amount_received: 1_234, attempts: 1 })
    expect(scene.intents(charge.id)).toMatchObject([
      {
        id: body.payment_intent,
        status: 'succeeded',
        amount: 1_234,
        currency: 'eur',
        customer: scene.stripeCustomer,
        payment_method: card,
        description: 'Booth 14',
        statement_descriptor_suffix: 'BOOTH 14',
        metadata: {
          charge_id: charge.id,
          conference_id: shop.conference,
          sponsor_id: shop.sponsor,
        },
      },
    ])
    const posts = stripe.fake.control.requests({ method: 'POST' })
    expect(posts.map(({ path }) => path)).toEqual([
      '/v1/payment_intents',
      `/v1/payment_intents/${String(body.payment_intent)}/confirm`,
    ])
    expect(posts[0]?.params).not.toHaveProperty('confirm')
    expect(posts[0]?.idempotencyKey).toBe(`charge:${charge.id}:pay:1`)
  })

  it('has metadata of the caller, here and at Stripe (issue 8, line 28)', async () => {
    scene.save()
    const metadata = { booth: '14', 'cost centre': 'Nordsee' }
    const charge = await scene.create({ metadata })
    expect(charge).toMatchObject({ metadata })
    expect(await scene.get((await scene.create()).id)).toMatchObject({ metadata: {} })
    const link = await scene.act(charge.id, 'checkout', RETURN_URLS)
    await scene.act(charge.id, 'charge')
    const session = stripe.fake.control.get(String(link.body['session_id']))
    for (const made of [session, ...scene.intents(charge.id)]) {
      expect(made).toMatchObject({ metadata: { ...metadata, charge_id: charge.id } })
    }
    expect(scene.intents(charge.id)).toHaveLength(1)
    expect(await scene.get(charge.id)).toMatchObject({ status: 'succeeded', metadata })
  })

  it('cannot be charged again once it is paid', async () => {
    scene.save()
    const charge = await scene.create()
    await scene.act(charge.id, 'charge')
    expect(await scene.act(charge.id, 'charge')).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state: 'succeeded' },
    })
    expect(await scene.act(charge.id, 'cancel')).toMatchObject({ status: 409 })
    expect(scene.taken(charge.id)).toBe(1_234)
  })

  it('F9: of a sponsor without a saved card fails with no_payment_method and stays open', async () => {
    const pounds = await openShop(app, { currency: 'GBP' })
    const answer = await app.request<Body>('POST', `${pounds.path}/charges`, {
      body: { sponsor: pounds.sponsor, amount: 500, description: 'Booth' },
    })
    expect(answer).toMatchObject({ status: 201, body: { currency: 'GBP' } })
    const path = `${pounds.path}/charges/${String(answer.body['id'])}`
    const refused = await app.request('POST', `${path}/charge`, { body: {} })
    expect(refused).toMatchObject({ status: 409, body: { code: 'no_payment_method' } })
    expect((await app.request('GET', path)).body).toMatchObject({ status: 'open', attempts: 1 })
  })

  it('F1: needs no setting other than the Stripe key', async () => {
    scene.save()
    const charge = await scene.create()
    expect((await scene.act(charge.id, 'charge')).body.status).toBe('succeeded')
  })

  it('F2: has its own idempotency keys: two charges of one amount are two payments', async () => {
    scene.save()
    const [one, two] = [await scene.create(), await scene.create()]
    for (const { id } of [one, two]) await scene.act(id, 'charge')
    expect([scene.taken(one.id), scene.taken(two.id)]).toEqual([1_234, 1_234])
    const [first, second] = [await scene.get(one.id), await scene.get(two.id)]
    expect(first.payment_intent).not.toBe(second.payment_intent)
  })

  it('F2: has a unique source reference', async () => {
    await scene.create({ source_reference: 'INV-7' })
    const again = await app.request('POST', `${shop.path}/charges`, {
      body: { sponsor: shop.sponsor, amount: 1, description: 'x', source_reference: 'INV-7' },
    })
    expect(again.status).toBe(400) // below Stripe's minimum comes first
    await expect(scene.create({ source_reference: 'INV-7' })).rejects.toThrow(/already_exists/)
  })

  it('uses the named card, but no card of another sponsor', async () => {
    scene.save()
    const other = scene.save('pm_card_mastercard')
    const charge = await scene.create()
    const foreign = await scene.act(charge.id, 'charge', { payment_method: 'pm_card_visa' })
    expect(foreign).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/payment_method' }] },
    })
    const { body } = await scene.act(charge.id, 'charge', { payment_method: other })
    expect(body).toMatchObject({ status: 'succeeded' })
    expect(stripe.fake.control.get(String(body.payment_intent))).toMatchObject({
      payment_method: other,
    })
  })

  it.each([
    ['both a customer and a sponsor', { sponsor: 'acme' }, '/customer'],
    [
      'a text that is too long',
      { statement_descriptor_suffix: 'A'.repeat(23) },
      '/statement_descriptor_suffix',
    ],
    [
      'a text with a character that Stripe refuses',
      { statement_descriptor_suffix: 'BOOTH *14' },
      '/statement_descriptor_suffix',
    ],
    [
      'a text without a letter',
      { statement_descriptor_suffix: '2027' },
      '/statement_descriptor_suffix',
    ],
    ['an amount below Stripe’s minimum', { amount: 10 }, '/amount'],
    ['an amount with a fraction', { amount: 1.5 }, '/amount'],
    ['only one return URL', { success_url: 'https://shop.example/ok' }, '/cancel_url'],
    ['metadata of this service', { metadata: { charge_id: 'chg_1' } }, '/metadata/charge_id'],
    ['an unknown customer', { customer: 'cust_unknown' }, '/customer'],
  ])('is not created with %s', async (_, body, pointer) => {
    const answer = await app.request<Body>('POST', `${shop.path}/charges`, {
      body: { customer: scene.customer, amount: 1_234, description: 'Booth', ...body },
    })
    expect(answer.status).toBe(400)
    expect(answer.body['errors']).toMatchObject([{ pointer }])
  })

  it('requires staff with refunds:write', async () => {
    const charge = await scene.create()
    const staff = await createStaffKey(app, shop, ['billing:write', 'purchases:write'])
    for (const as of [staff.key, shop.sponsorKey]) {
      const url = `${shop.path}/charges/${charge.id}`
      expect((await app.request('GET', url, { as })).status).toBe(403)
      expect((await app.request('POST', `${url}/charge`, { as, body: {} })).status).toBe(403)
    }
  })

  it('can be canceled, which closes a payable attempt', async () => {
    scene.save('pm_card_chargeCustomerFail')
    const charge = await scene.create()
    await scene.act(charge.id, 'charge')
    const link = await scene.act(charge.id, 'checkout', RETURN_URLS)
    const { body } = await scene.act(charge.id, 'cancel')
    expect(body).toMatchObject({ status: 'canceled', checkout: null })
    expect(stripe.fake.control.get(String(link.body['session_id']))).toMatchObject({
      status: 'expired',
    })
    expect(await scene.act(charge.id, 'charge')).toMatchObject({ status: 409 })
    expect((await scene.act(charge.id, 'cancel')).body.status).toBe('canceled')
  })
})

describe('a declined charge', () => {
  it('F3: ends its attempt and is not charged again automatically', async () => {
    scene.save('pm_card_chargeCustomerFail')
    const charge = await scene.create()
    const { status, body } = await scene.act(charge.id, 'charge')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      status: 'declined',
      failure: { code: 'generic_decline' },
      amount_received: 0,
    })
    expect(scene.intents(charge.id)).toMatchObject([{ status: 'canceled' }])
    await scene.act(charge.id, 'reconcile')
    expect(await scene.get(charge.id)).toMatchObject({ status: 'declined', attempts: 1 })
  })

  it('can be charged by staff with another card, and is paid once', async () => {
    scene.save('pm_card_chargeCustomerFail')
    const good = scene.save('pm_card_mastercard')
    const charge = await scene.create()
    await scene.act(charge.id, 'charge')
    const { body } = await scene.act(charge.id, 'charge', { payment_method: good })
    expect(body).toMatchObject({ status: 'succeeded', attempts: 2, failure: null })
    expect(scene.intents(charge.id).map(({ status }) => status)).toEqual(['canceled', 'succeeded'])
    expect(scene.taken(charge.id)).toBe(1_234)
  })

  it('has its old intent canceled before the next attempt, also after a crash', async () => {
    scene.save('pm_card_chargeCustomerFail')
    const good = scene.save('pm_card_mastercard')
    const charge = await scene.create()
    stripe.fake.control.injectFault({
      path: '/v1/payment_intents/*/cancel',
      times: 'always',
      action: { kind: 'cut' },
    })
    expect((await scene.act(charge.id, 'charge')).status).toBe(503)
    expect(await scene.get(charge.id)).toMatchObject({ status: 'declined' })
    // While the old intent cannot be canceled, no other is created.
    expect((await scene.act(charge.id, 'charge', { payment_method: good })).status).toBe(503)
    expect(scene.intents(charge.id)).toHaveLength(1)
    stripe.fake.control.clearFaults()
    expect((await scene.act(charge.id, 'charge', { payment_method: good })).body).toMatchObject({
      status: 'succeeded',
    })
    expect(scene.intents(charge.id).map(({ status }) => status)).toEqual(['canceled', 'succeeded'])
  })
})

describe('a charge that requires the cardholder to authenticate', () => {
  it('gets a Checkout session automatically if the charge has return URLs', async () => {
    scene.save('pm_card_authenticationRequired')
    const charge = await scene.create({ ...RETURN_URLS, statement_descriptor_suffix: 'BOOTH' })
    const { body } = await scene.act(charge.id, 'charge')
    expect(body).toMatchObject({
      status: 'requires_action',
      failure: { code: 'authentication_required' },
      attempts: 2,
    })
    expect(scene.intents(charge.id)).toMatchObject([{ status: 'canceled' }])
    const session = String(body.checkout?.session_id)
    expect(stripe.fake.control.get(session)).toMatchObject({
      amount_total: 1_234,
      customer: scene.stripeCustomer,
      client_reference_id: null,
      metadata: { charge_id: charge.id, attempt: '2' },
    })
    stripe.fake.control.pay(session)
    const paid = await scene.act(charge.id, 'reconcile')
    expect(paid.body).toMatchObject({ status: 'succeeded', checkout: null, failure: null })
    expect(scene.taken(charge.id)).toBe(1_234)
  })

  it('has one Checkout session at a time, which charging another card closes', async () => {
    scene.save('pm_card_authenticationRequired')
    const good = scene.save('pm_card_visa')
    const charge = await scene.create()
    const { body } = await scene.act(charge.id, 'charge')
    expect(body).toMatchObject({ status: 'requires_action', checkout: null })
    const link = () => scene.act(charge.id, 'checkout', RETURN_URLS)
    const [first, second] = [await link(), await link()]
    expect(first.status).toBe(200)
    expect(second.body['session_id']).toBe(first.body['session_id'])
    const session = String(first.body['session_id'])
    const paid = await scene.act(charge.id, 'charge', { payment_method: good })
    expect(paid.body).toMatchObject({ status: 'succeeded', checkout: null })
    expect(() => stripe.fake.control.pay(session)).toThrow(/expired/)
    expect(scene.taken(charge.id)).toBe(1_234)
  })

  it('is paid once when it is paid on the page while a card is charged', async () => {
    scene.save('pm_card_authenticationRequired')
    const good = scene.save('pm_card_visa')
    const charge = await scene.create(RETURN_URLS)
    const { body } = await scene.act(charge.id, 'charge')
    stripe.fake.control.pay(String(body.checkout?.session_id))
    expect(await scene.act(charge.id, 'charge', { payment_method: good })).toMatchObject({
      status: 409,
      body: { code: 'payment_in_progress' },
    })
    expect(await scene.get(charge.id)).toMatchObject({ status: 'succeeded' })
    expect(scene.taken(charge.id)).toBe(1_234)
  })

  it('can have another Checkout session after the first expired', async () => {
    scene.save('pm_card_authenticationRequired')
    const charge = await scene.create(RETURN_URLS)
    const { body } = await scene.act(charge.id, 'charge')
    stripe.fake.control.expire(String(body.checkout?.session_id))
    const after = await scene.act(charge.id, 'reconcile')
    expect(after.body).toMatchObject({ status: 'requires_action', checkout: null })
    const link = await scene.act(charge.id, 'checkout', RETURN_URLS)
    stripe.fake.control.pay(String(link.body['session_id']))
    expect((await scene.act(charge.id, 'reconcile')).body.status).toBe('succeeded')
  })

  it('can be paid by a bank debit on the page, which is processing first', async () => {
    scene.save('pm_card_authenticationRequired')
    const charge = await scene.create(RETURN_URLS)
    const { body } = await scene.act(charge.id, 'charge')
    const session = String(body.checkout?.session_id)
    stripe.fake.control.payLater(session)
    expect((await scene.act(charge.id, 'reconcile')).body.status).toBe('processing')
    expect(await scene.act(charge.id, 'charge')).toMatchObject({
      status: 409,
      body: { code: 'payment_in_progress' },
    })
    stripe.fake.control.failAsync(session)
    expect((await scene.act(charge.id, 'reconcile')).body.status).toBe('declined')
    const link = await scene.act(charge.id, 'checkout', RETURN_URLS)
    stripe.fake.control.payLater(String(link.body['session_id']))
    stripe.fake.control.settle(String(link.body['session_id']))
    expect((await scene.act(charge.id, 'reconcile')).body).toMatchObject({ status: 'succeeded' })
  })
})
