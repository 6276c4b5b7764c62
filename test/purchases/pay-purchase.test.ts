import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { withSystem } from '../../src/db/tenant-scope.ts'
import { sweepPurchases } from '../../src/purchases/sweep-purchases.ts'
import { type ChargeScene, openChargeScene } from '../billing/charges/charge-scene.ts'
import { createSponsor, createSponsorKey, createStaffKey } from '../support/fixtures.ts'
import { purchaseService } from '../support/purchase-service.ts'
import { openShop, type PurchaseAnswer, type Shop, useFakeStripe } from '../support/shop.ts'
import { type Body, startTestProcess, useTestApp } from '../support/test-app.ts'

const stripe = useFakeStripe()
const env: NodeJS.ProcessEnv = {}
beforeAll(() => {
  env['STRIPE_API_BASE'] = stripe.fake.url
  env['STRIPE_TIMEOUT_SECONDS'] = '1'
})
const app = useTestApp({ env })

let shop: Shop
let scene: ChargeScene
beforeEach(async () => {
  stripe.fake.control.clearFaults()
  shop = await openShop(app)
  scene = await openChargeScene(app, stripe, shop)
})

const pay = (purchase: string, body: Body = {}, as = shop.sponsorKey) =>
  app.request<PurchaseAnswer>('POST', `${shop.path}/purchases/${purchase}/pay`, { as, body })

/** The payment intents of a purchase at Stripe, oldest first. */
const intents = (purchase: string): Body[] =>
  stripe.fake.control
    .list(shop.stripeKey, 'payment_intent')
    .map((intent): Body => ({ ...intent }))
    .filter(({ metadata }) => (metadata as Body)['purchase_id'] === purchase)
    .toReversed()
const taken = (purchase: string) =>
  intents(purchase).reduce((sum, intent) => sum + Number(intent['amount_received']), 0)
const steps = async (purchase: string) => {
  const url = `${shop.path}/purchases/${purchase}/transitions`
  const { body } = await app.request<{ data: { event: string; to: string }[] }>('GET', url)
  return body.data.map(({ event, to }) => `${event} ${to}`).toReversed()
}

describe('paying with a saved card', () => {
  it('makes a purchase PAID with exactly its codes, in one call and without a payment page', async () => {
    const card = scene.save()
    const { id } = await shop.buy()
    const { status, body } = await pay(id)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      status: 'PAID',
      amount_received: 10_000,
      checkout: null,
      vouchers: { issued: 10, active: 10 },
    })
    expect(intents(id)).toMatchObject([
      {
        id: body['payment_intent'],
        amount: 10_000,
        customer: scene.stripeCustomer,
        payment_method: card,
        metadata: { purchase_id: id, conference_id: shop.conference, attempt: '1' },
      },
    ])
    expect(await steps(id)).toEqual(['CHECKOUT_OPENED PROCESSING', 'PAYMENT_SUCCEEDED PAID'])
    expect(await pay(id)).toMatchObject({ status: 409, body: { code: 'wrong_state' } })
    const refunded = await shop.act(id, 'refund')
    expect(refunded.body).toMatchObject({ status: 'REFUNDED', vouchers: { active: 0 } })
  })

  it('is the same payment when the request is repeated with the same idempotency key', async () => {
    scene.save()
    const { id } = await shop.buy()
    const send = () =>
      app.request<PurchaseAnswer>('POST', `${shop.path}/purchases/${id}/pay`, {
        as: shop.sponsorKey,
        body: {},
        headers: { 'idempotency-key': 'pay-1' },
      })
    const [first, second] = [await send(), await send()]
    expect(second).toMatchObject({ status: 200, body: first.body })
    expect(intents(id)).toHaveLength(1)
  })

  it('charges the named card; another sponsor’s card is refused and nothing changes', async () => {
    scene.save()
    const named = scene.save('pm_card_mastercard')
    const { id } = await shop.buy()
    const foreign = await pay(id, { payment_method: 'pm_card_visa' })
    expect(foreign).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/payment_method' }] },
    })
    expect((await shop.get(id)).status).toBe('PENDING')
    expect((await pay(id, { payment_method: named })).body.status).toBe('PAID')
    expect(intents(id)).toMatchObject([{ payment_method: named }])
  })

  it('closes the open page first, so that it can no longer be paid', async () => {
    scene.save()
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    expect((await pay(id)).body.status).toBe('PAID')
    expect(() => stripe.fake.control.pay(session)).toThrow(/expired/)
    expect(taken(id)).toBe(10_000)
  })

  it('leaves the open page open if there is no card to charge', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    expect(await pay(id)).toMatchObject({ status: 409, body: { code: 'no_payment_method' } })
    stripe.fake.control.pay(session)
    expect((await shop.act(id, 'reconcile')).body.status).toBe('PAID')
  })

  it('charges no card if the page was paid first', async () => {
    scene.save()
    const { id } = await shop.buy()
    stripe.fake.control.pay(await shop.openSession(id))
    expect(await pay(id)).toMatchObject({ status: 409, body: { code: 'payment_in_progress' } })
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({ status: 'PAID', flags: [] })
    expect(taken(id)).toBe(10_000)
  })

  it('is for the sponsor itself and for staff; another sponsor gets 404', async () => {
    scene.save()
    const { id } = await shop.buy()
    const other = await createSponsor(app, shop)
    const { key } = await createSponsorKey(app, shop, other.id)
    expect((await pay(id, {}, key)).status).toBe(404)
    const reader = await createStaffKey(app, shop, ['purchases:read'])
    expect((await pay(id, {}, reader.key)).status).toBe(403)
    const staff = await createStaffKey(app, shop, ['purchases:write'])
    expect((await pay(id, {}, staff.key)).body.status).toBe('PAID')
  })
})

describe('a card that is not charged', () => {
  it('F3: because it is declined: the purchase is FAILED with the bank’s message, and checkout works', async () => {
    scene.save('pm_card_chargeCustomerFail')
    const { id } = await shop.buy()
    const { status, body } = await pay(id)
    expect(status).toBe(200)
    expect(body).toMatchObject({ status: 'FAILED', failure: { code: 'generic_decline' } })
    expect(await steps(id)).toEqual(['CHECKOUT_OPENED PROCESSING', 'PAYMENT_FAILED FAILED'])
    expect(intents(id)).toMatchObject([{ status: 'canceled' }])
    await shop.act(id, 'reconcile')
    expect(await shop.get(id)).toMatchObject({
      status: 'FAILED',
      failure: { code: 'generic_decline' },
    })
    stripe.fake.control.pay(await shop.openSession(id))
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({
      status: 'PAID',
      vouchers: { issued: 10 },
      failure: null,
    })
  })

  it('because the bank requires the cardholder: the intent is closed and the error names checkout', async () => {
    scene.save('pm_card_authenticationRequired')
    const { id } = await shop.buy()
    expect(await pay(id)).toMatchObject({
      status: 409,
      body: { code: 'authentication_required', detail: expect.stringContaining('checkout') },
    })
    expect(intents(id)).toMatchObject([{ status: 'canceled' }])
    const after = await shop.get(id)
    expect(after).toMatchObject({
      status: 'FAILED',
      failure: { code: 'authentication_required' },
      allowed_actions: expect.arrayContaining(['checkout']),
    })
    stripe.fake.control.pay(await shop.openSession(id))
    expect((await shop.act(id, 'reconcile')).body.status).toBe('PAID')
  })

  it('can be followed by another card', async () => {
    scene.save('pm_card_chargeCustomerFail')
    const good = scene.save()
    const { id } = await shop.buy()
    await pay(id)
    expect((await pay(id, { payment_method: good })).body.status).toBe('PAID')
    expect(taken(id)).toBe(10_000)
  })
})

type Fault = Parameters<typeof stripe.fake.control.injectFault>[0]

const CREATE = { method: 'POST', path: '/v1/payment_intents' } as const
const CONFIRM = { method: 'POST', path: '/v1/payment_intents/*/confirm' } as const
const READ = { method: 'GET', path: '/v1/payment_intents/*' } as const

const POINTS: [string, string, Fault[]][] = [
  ['the intent was not made', 'PENDING', [{ ...CREATE, action: { kind: 'cut' } }]],
  ['the intent was made', 'PENDING', [{ ...CREATE, action: { kind: 'fail_after' } }]],
  ['the card was not charged', 'PROCESSING', [{ ...CONFIRM, action: { kind: 'cut' } }]],
  [
    'Stripe stores a 500 for the confirm request',
    'PROCESSING',
    [{ ...CONFIRM, times: 1, action: { kind: 'error', stored: true } }],
  ],
  [
    'the card was charged and no snapshot can be fetched',
    'PROCESSING',
    [
      { ...CONFIRM, action: { kind: 'fail_after' } },
      { ...READ, action: { kind: 'cut' } },
    ],
  ],
  [
    'the card was charged after our timeout and no snapshot can be fetched',
    'PROCESSING',
    [
      { ...CONFIRM, times: 1, action: { kind: 'hang', executed: true } },
      { ...READ, action: { kind: 'cut' } },
    ],
  ],
]

describe('an unknown outcome', () => {
  it.each(POINTS)(
    'F8: %s: the purchase is %s, and a retry pays it once',
    async (_, state, faults) => {
      scene.save()
      const { id } = await shop.buy()
      for (const fault of faults) stripe.fake.control.injectFault({ times: 'always', ...fault })
      expect([502, 503]).toContain((await pay(id)).status)
      expect((await shop.get(id)).status).toBe(state)
      stripe.fake.control.clearFaults()
      expect((await pay(id)).body).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
      expect(taken(id)).toBe(10_000)
      expect(intents(id).filter(({ status }) => status === 'succeeded')).toHaveLength(1)
    },
  )

  it('F7: of a card that was charged is resolved by a snapshot', async () => {
    scene.save()
    const { id } = await shop.buy()
    stripe.fake.control.injectFault({ ...CONFIRM, times: 3, action: { kind: 'fail_after' } })
    stripe.fake.control.injectFault({ ...READ, times: 'always', action: { kind: 'cut' } })
    expect((await pay(id)).status).toBe(503)
    stripe.fake.control.clearFaults()
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({ status: 'PAID' })
  })

  it('of a card that was not charged is closed by the sweep, and then checkout works', async () => {
    scene.save()
    const { id } = await shop.buy()
    stripe.fake.control.injectFault({ ...CONFIRM, times: 'always', action: { kind: 'cut' } })
    expect((await pay(id)).status).toBe(503)
    stripe.fake.control.clearFaults()
    // A snapshot does not close it: a request may be charging the card.
    expect((await shop.act(id, 'reconcile')).body.status).toBe('PROCESSING')
    await app.rows(
      `update payment_attempts set created_at = now() - interval '1 hour' where purchase_id = $1`,
      [id],
    )
    const swept = await withSystem(app.db, 'timers', (trx) => sweepPurchases(trx, 120))
    expect(swept).toMatchObject({ attempts: 1 })
    await app.db('graphile_worker._private_jobs').delete()
    const ref = { conferenceId: shop.conference, purchaseId: id }
    await purchaseService(app.db, app.gateway).finishStaleAttempt(ref, 1)
    expect(await shop.get(id)).toMatchObject({
      status: 'FAILED',
      failure: { code: 'payment_canceled' },
    })
    expect(intents(id)).toMatchObject([{ status: 'canceled' }])
    stripe.fake.control.pay(await shop.openSession(id))
    expect((await shop.act(id, 'reconcile')).body.status).toBe('PAID')
  })

  /** A purchase whose confirm request never charged the card. */
  async function unanswered(): Promise<string> {
    scene.save()
    const { id } = await shop.buy()
    stripe.fake.control.injectFault({ ...CONFIRM, times: 'always', action: { kind: 'cut' } })
    expect((await pay(id)).status).toBe(503)
    stripe.fake.control.clearFaults()
    return id
  }

  it('ends with a cancellation, first at Stripe', async () => {
    const id = await unanswered()
    expect((await shop.act(id, 'cancel')).body.status).toBe('FAILED')
    expect(intents(id)).toMatchObject([{ status: 'canceled' }])
  })

  it('ends when the payment page is opened, which is then the only way to pay', async () => {
    const id = await unanswered()
    stripe.fake.control.pay(await shop.openSession(id))
    expect(intents(id)[0]).toMatchObject({ status: 'canceled' })
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({ status: 'PAID', flags: [] })
  })

  it('F8: a second charge by hand at Stripe is flagged as a second payment', async () => {
    scene.save()
    const { id } = await shop.buy()
    await pay(id)
    const second = stripe.fake.control.call(shop.stripeKey, 'POST', '/v1/payment_intents', {
      amount: 10_000,
      currency: 'eur',
      confirm: true,
      payment_method: 'pm_card_visa',
      metadata: { purchase_id: id, conference_id: shop.conference },
    }) as Body
    const { body } = await shop.act(id, 'reconcile', { payment_intent: second['id'] })
    expect(body).toMatchObject({ status: 'PAID', flags: [{ code: 'overpaid' }] })
    expect(body.vouchers.issued).toBe(10)
  })
})

describe('parallel payments', () => {
  it('from two processes are one payment with exactly the codes', async () => {
    scene.save()
    const { id } = await shop.buy()
    const second = await startTestProcess(app.connectionString, { env })
    try {
      const ask = (process: Pick<typeof second, 'request'>) =>
        process.request('POST', `${shop.path}/purchases/${id}/pay`, {
          as: shop.sponsorKey,
          body: {},
        })
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, i) => ask(i % 2 === 0 ? app : second)),
      )
      expect(answers.map(({ status }) => status)).toContain(200)
      for (const { status } of answers) expect([200, 409, 503]).toContain(status)
    } finally {
      await second.close()
    }
    expect((await shop.act(id, 'reconcile')).body).toMatchObject({
      status: 'PAID',
      vouchers: { issued: 10 },
      flags: [],
    })
    expect(taken(id)).toBe(10_000)
  })

  it('by a card and by the page are one payment', async () => {
    scene.save()
    for (let round = 0; round < 3; round += 1) {
      const { id } = await shop.buy()
      const [, page] = await Promise.all([pay(id), shop.checkout(id)])
      // If a page was opened, the payer tries to pay it.
      try {
        if (page.status === 200) stripe.fake.control.pay(String(page.body['session_id']))
      } catch {
        // The page was closed, which is fine too.
      }
      const { body } = await shop.act(id, 'reconcile')
      expect(body).toMatchObject({ status: 'PAID', flags: [], vouchers: { issued: 10 } })
      expect(taken(id)).toBe(10_000)
    }
  })
})
