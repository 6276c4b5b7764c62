import { beforeEach, describe, expect, it } from 'vitest'
import { sweepCharges } from '../../../src/billing/charges/sweep-charges.ts'
import { withSystem } from '../../../src/db/tenant-scope.ts'
import { openShop, type Shop } from '../../support/shop.ts'
import { useAppOnStripe } from '../../support/stripe-app.ts'
import { type ChargeAnswer, type ChargeScene, openChargeScene } from './charge-scene.ts'

const { app, stripe } = useAppOnStripe()

let shop: Shop
let scene: ChargeScene
let charge: ChargeAnswer
beforeEach(async () => {
  stripe.fake.control.clearFaults()
  shop = await openShop(app)
  scene = await openChargeScene(app, stripe, shop)
  scene.save()
  const { id } = await scene.create({ amount: 500 })
  charge = (await scene.act(id, 'charge')).body
})

const refund = (amount?: number) =>
  scene.act(charge.id, 'refund', amount === undefined ? {} : { amount })
const atStripe = () =>
  stripe.fake.control
    .list(shop.stripeKey, 'refund')
    .map((one) => Number(Reflect.get(one, 'amount')))
const REFUNDS = { method: 'POST', path: '/v1/refunds' } as const

describe('a refund of a charge', () => {
  it('F5: can be partial; each part is booked when Stripe confirms it', async () => {
    expect((await refund(30)).body).toMatchObject({ status: 'succeeded', amount_refunded: 30 })
    expect((await refund()).body).toMatchObject({ status: 'refunded', amount_refunded: 500 })
    expect(atStripe()).toEqual([470, 30])
    expect(await refund()).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state: 'refunded' },
    })
  })

  it('F4: has the requested amount, also when the first response is lost', async () => {
    stripe.fake.control.injectFault({ ...REFUNDS, times: 'always', action: { kind: 'fail_after' } })
    const key = { 'idempotency-key': 'refund-1' }
    const ask = () =>
      app.request<ChargeAnswer>('POST', `${shop.path}/charges/${charge.id}/refund`, {
        body: { amount: 10 },
        headers: key,
      })
    expect((await ask()).status).toBe(503)
    expect(await scene.get(charge.id)).toMatchObject({ amount_refunded: 0, amount_refunding: 10 })
    stripe.fake.control.clearFaults()
    expect((await ask()).body).toMatchObject({ amount_refunded: 10, amount_refunding: 0 })
    expect(atStripe()).toEqual([10])
  })

  it('F3: is not booked when Stripe refuses it', async () => {
    stripe.fake.control.dispute(String(charge.payment_intent))
    expect(await refund(100)).toMatchObject({ status: 409, body: { code: 'stripe_refused' } })
    expect(await scene.get(charge.id)).toMatchObject({
      status: 'succeeded',
      amount_refunded: 0,
      amount_refunding: 0,
    })
  })

  it.each(['/v1/disputes', '/v1/refunds'])(
    'is made once for three repeats under one key while the key may not read %s afterwards (issue 8, line 6)',
    async (path) => {
      const action = { kind: 'refuse', status: 403 } as const
      stripe.fake.control.injectFault({ method: 'GET', path, times: 'always', action })
      const ask = () =>
        app.request<ChargeAnswer>('POST', `${shop.path}/charges/${charge.id}/refund`, {
          body: { amount: 100 },
          headers: { 'idempotency-key': `refund ${path}` },
        })
      for (const _ of [1, 2, 3]) expect((await ask()).status).toBe(502)
      expect(atStripe()).toEqual([100])
      expect(await scene.get(charge.id)).toMatchObject({
        amount_refunded: 0,
        amount_refunding: 100,
      })
      stripe.fake.control.clearFaults()
      expect(await ask()).toMatchObject({ status: 200, body: { amount_refunded: 100 } })
      expect(atStripe()).toEqual([100])
    },
  )

  it('is not requested while a known dispute of the payment is open (issue 8, line 31)', async () => {
    const dispute = stripe.fake.control.dispute(String(charge.payment_intent))
    await scene.act(charge.id, 'reconcile')
    stripe.fake.control.clearRequests()
    expect(await refund(100)).toMatchObject({ status: 409, body: { code: 'wrong_state' } })
    expect(stripe.fake.control.requests(REFUNDS)).toEqual([])
    stripe.fake.control.closeDispute(dispute.id, 'won')
    await scene.act(charge.id, 'reconcile')
    expect((await refund(100)).body).toMatchObject({ amount_refunded: 100 })
  })

  it('F5: must be positive and at most the amount left', async () => {
    for (const amount of [-10, 0, 501]) {
      expect((await refund(amount)).body).toMatchObject({ errors: [{ pointer: '/amount' }] })
    }
    expect(atStripe()).toEqual([])
  })

  it('F5: never exceeds the amount received, also with concurrent requests', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => refund(200)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(2)
    await scene.act(charge.id, 'reconcile')
    expect(await scene.get(charge.id)).toMatchObject({ amount_refunded: 400 })
    expect(atStripe()).toEqual([200, 200])
  })

  it('F5: is limited by a check constraint as well', async () => {
    const broken = app.rows(
      `update charges set amount_refunded = 400, amount_refunding = 101
       where conference_id = $1 and id = $2`,
      [shop.conference, charge.id],
    )
    await expect(broken).rejects.toThrow(/charges_refunds_within_received/)
  })

  it('F5: made in Stripe’s dashboard counts too', async () => {
    stripe.fake.control.refund(String(charge.payment_intent), { amount: 450 })
    await scene.act(charge.id, 'reconcile')
    expect(await scene.get(charge.id)).toMatchObject({ amount_refunded: 450 })
    expect((await refund(51)).status).toBe(400)
    expect((await refund()).body).toMatchObject({ status: 'refunded' })
  })

  it('is not booked while it is pending, nor when it fails later', async () => {
    stripe.fake.control.setRefundMode('pending', 1)
    const { body } = await refund(100)
    expect(body).toMatchObject({ amount_refunded: 0, amount_refunding: 100 })
    expect((await refund(401)).status).toBe(400)
    const [pending] = stripe.fake.control.list(shop.stripeKey, 'refund')
    stripe.fake.control.failRefund(pending?.id ?? '')
    await scene.act(charge.id, 'reconcile')
    expect(await scene.get(charge.id)).toMatchObject({ amount_refunded: 0, amount_refunding: 0 })
    expect((await refund()).body).toMatchObject({ status: 'refunded' })
  })

  it('is refused for an unpaid charge', async () => {
    const { id } = await scene.create()
    expect(await scene.act(id, 'refund')).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state: 'open' },
    })
  })

  it('without a known result gets a job from the sweep', async () => {
    stripe.fake.control.injectFault({ ...REFUNDS, times: 'always', action: { kind: 'cut' } })
    expect((await refund(10)).status).toBe(503)
    const swept = await withSystem(app.db, 'timers', (trx) => sweepCharges(trx, 0))
    expect(swept).toEqual({ charges: 0, chargeAttempts: 0, chargeRefunds: 1 })
    await app.db('graphile_worker._private_jobs').delete()
  })
})
