import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { changeCharge } from '../../../src/billing/charges/change-charge.ts'
import { sweepCharges } from '../../../src/billing/charges/sweep-charges.ts'
import { withSystem, withTenant } from '../../../src/db/tenant-scope.ts'
import { NOTHING } from '../../purchases/purchase-scene.ts'
import { openShop, RETURN_URLS, type Shop, useFakeStripe } from '../../support/shop.ts'
import { startTestProcess, useTestApp } from '../../support/test-app.ts'
import { type ChargeScene, openChargeScene } from './charge-scene.ts'

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

type Fault = Parameters<typeof stripe.fake.control.injectFault>[0]

const CREATE = { method: 'POST', path: '/v1/payment_intents' } as const
const CONFIRM = { method: 'POST', path: '/v1/payment_intents/*/confirm' } as const
const READ = { method: 'GET', path: '/v1/payment_intents/*' } as const

const POINTS: [string, Fault[]][] = [
  ['a lost request to create the intent', [{ ...CREATE, action: { kind: 'cut' } }]],
  ['a lost response after creating the intent', [{ ...CREATE, action: { kind: 'fail_after' } }]],
  [
    'a timeout after creating the intent',
    [{ ...CREATE, action: { kind: 'hang', executed: true } }],
  ],
  [
    'a stored 500 to the request to create the intent',
    [{ ...CREATE, times: 1, action: { kind: 'error', stored: true } }],
  ],
  [
    'a 500 that is not stored to the request to create the intent',
    [{ ...CREATE, action: { kind: 'error', stored: false } }],
  ],
  ['a lost request to confirm the intent', [{ ...CONFIRM, action: { kind: 'cut' } }]],
  [
    'a stored 500 without charging the card',
    [{ ...CONFIRM, times: 1, action: { kind: 'error', stored: true } }],
  ],
  [
    'a lost response after charging the card, and the intent cannot be fetched',
    [
      { ...CONFIRM, action: { kind: 'fail_after' } },
      { ...READ, action: { kind: 'cut' } },
    ],
  ],
  [
    'a 500 after charging the card, and the intent cannot be fetched',
    [
      { ...CONFIRM, action: { kind: 'fail_after', how: 'status_500' } },
      { ...READ, action: { kind: 'error', stored: false } },
    ],
  ],
  [
    'a timeout after charging the card, and the intent cannot be fetched',
    [
      { ...CONFIRM, times: 1, action: { kind: 'hang', executed: true } },
      { ...READ, action: { kind: 'cut' } },
    ],
  ],
]

describe('an unknown outcome', () => {
  it.each(POINTS)(
    'F8: from %s leaves the charge open, and a retry charges once',
    async (_, faults) => {
      scene.save()
      const charge = await scene.create()
      for (const fault of faults) stripe.fake.control.injectFault({ times: 'always', ...fault })
      const first = await scene.act(charge.id, 'charge')
      expect([502, 503]).toContain(first.status)
      expect(await scene.get(charge.id)).toMatchObject({ status: 'open', failure: null })
      stripe.fake.control.clearFaults()
      const { status, body } = await scene.act(charge.id, 'charge')
      expect({ status, body }).toMatchObject({ status: 200, body: { status: 'succeeded' } })
      expect(scene.taken(charge.id)).toBe(1_234)
      expect(scene.intents(charge.id).filter((one) => one['status'] === 'succeeded')).toHaveLength(
        1,
      )
    },
  )

  it('F7: of a successful charge is fetched immediately if Stripe responds', async () => {
    scene.save()
    const charge = await scene.create()
    stripe.fake.control.injectFault({ ...CONFIRM, times: 'always', action: { kind: 'fail_after' } })
    expect((await scene.act(charge.id, 'charge')).body).toMatchObject({ status: 'succeeded' })
    expect(scene.taken(charge.id)).toBe(1_234)
  })

  it('F8: is resolved by a reconcile, which never charges', async () => {
    scene.save()
    const [paid, unpaid] = [await scene.create(), await scene.create()]
    stripe.fake.control.injectFault({ ...READ, times: 'always', action: { kind: 'cut' } })
    stripe.fake.control.injectFault({ ...CONFIRM, times: 3, action: { kind: 'fail_after' } })
    expect((await scene.act(paid.id, 'charge')).status).toBe(503)
    stripe.fake.control.injectFault({ ...CONFIRM, times: 'always', action: { kind: 'cut' } })
    expect((await scene.act(unpaid.id, 'charge')).status).toBe(503)
    stripe.fake.control.clearFaults()
    stripe.fake.control.clearRequests()
    expect((await scene.act(paid.id, 'reconcile')).body.status).toBe('succeeded')
    expect((await scene.act(unpaid.id, 'reconcile')).body.status).toBe('open')
    expect(stripe.fake.control.requests({ method: 'POST' })).toEqual([])
    expect(scene.taken(unpaid.id)).toBe(0)
  })

  it('gets a job from the sweep, one at a time', async () => {
    await app.rows(`update payment_attempts set state = 'cancelled' where state = 'open'`)
    scene.save()
    const charge = await scene.create()
    stripe.fake.control.injectFault({ ...CONFIRM, times: 'always', action: { kind: 'cut' } })
    await scene.act(charge.id, 'charge')
    const sweep = (after: number) => withSystem(app.db, 'timers', (trx) => sweepCharges(trx, after))
    expect(await sweep(3_600)).toEqual({ charges: 0, chargeAttempts: 0, chargeRefunds: 0 })
    expect(await sweep(0)).toMatchObject({ chargeAttempts: 1 })
    // The existing job is enough.
    expect(await sweep(0)).toMatchObject({ chargeAttempts: 0 })
    await app.db('graphile_worker._private_jobs').delete()
  })

  it('does not prevent charging another card: the first intent is canceled before', async () => {
    scene.save()
    const other = scene.save('pm_card_mastercard')
    const charge = await scene.create()
    stripe.fake.control.injectFault({ ...CONFIRM, times: 'always', action: { kind: 'cut' } })
    expect((await scene.act(charge.id, 'charge')).status).toBe(503)
    stripe.fake.control.clearFaults()
    const { body } = await scene.act(charge.id, 'charge', { payment_method: other })
    expect(body).toMatchObject({ status: 'succeeded', attempts: 2 })
    expect(scene.intents(charge.id).map(({ status }) => status)).toEqual(['canceled', 'succeeded'])
  })

  it('is not assumed for an attempt that was closed after a fetch began', async () => {
    scene.save('pm_card_chargeCustomerFail')
    const charge = await scene.create()
    await scene.act(charge.id, 'charge')
    const [intent] = scene.intents(charge.id)
    const ref = { conferenceId: shop.conference, chargeId: charge.id }
    const unconfirmed = {
      paymentIntent: String(intent?.['id']),
      attempt: 1,
      status: 'requires_confirmation',
      amount: 1_234,
      received: 0,
      currency: 'EUR',
      chargedAt: null,
      decline: null,
    }
    const snapshot = { ...NOTHING, payments: [unconfirmed] }
    const heard: number[] = []
    const hooks = { chargeDeclined: async () => void heard.push(1) }
    await withTenant(app.db, ref, (trx) =>
      changeCharge(trx, ref, { type: 'snapshot', snapshot }, [hooks]),
    )
    const states = await app.rows('select state from payment_attempts where charge_id = $1', [
      charge.id,
    ])
    expect(states).toEqual([{ state: 'failed' }])
    expect(await scene.get(charge.id)).toMatchObject({ status: 'declined' })
    expect(heard).toEqual([])
  })

  it('of a Checkout session ends with the same session', async () => {
    const charge = await scene.create()
    stripe.fake.control.injectFault({
      method: 'POST',
      path: '/v1/checkout/sessions',
      times: 'always',
      action: { kind: 'fail_after' },
    })
    expect((await scene.act(charge.id, 'checkout', RETURN_URLS)).status).toBe(503)
    stripe.fake.control.clearFaults()
    const link = await scene.act(charge.id, 'checkout', RETURN_URLS)
    expect(link.status).toBe(200)
    expect(stripe.fake.control.list(shop.stripeKey, 'checkout.session')).toHaveLength(1)
  })
})

describe('concurrent requests to charge', () => {
  it('charge once, from two processes', async () => {
    scene.save()
    const charge = await scene.create()
    const second = await startTestProcess(app.connectionString, { env })
    try {
      const ask = (process: Pick<typeof second, 'request'>) =>
        process.request('POST', `${shop.path}/charges/${charge.id}/charge`, { body: {} })
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, i) => ask(i % 2 === 0 ? app : second)),
      )
      for (const { status } of answers) expect([200, 409, 503]).toContain(status)
      expect(answers.map(({ status }) => status)).toContain(200)
    } finally {
      await second.close()
    }
    expect((await scene.act(charge.id, 'reconcile')).body.status).toBe('succeeded')
    expect(scene.taken(charge.id)).toBe(1_234)
    expect(scene.intents(charge.id)).toHaveLength(1)
  })

  it('charge a declined card once per attempt', async () => {
    scene.save('pm_card_chargeCustomerFail')
    const charge = await scene.create()
    await Promise.all(Array.from({ length: 6 }, () => scene.act(charge.id, 'charge')))
    await scene.act(charge.id, 'reconcile')
    const { attempts } = await scene.get(charge.id)
    const tries = stripe.fake.control
      .list(shop.stripeKey, 'charge')
      .filter((one) => Object(one['metadata' as never])['charge_id'] === charge.id)
    // Requests after the decline start another attempt; no intent is charged twice.
    expect(tries.length).toBeLessThanOrEqual(attempts)
    expect(scene.taken(charge.id)).toBe(0)
  })

  it('with different cards charge once', async () => {
    const cards = [scene.save(), scene.save('pm_card_mastercard'), scene.save('pm_card_amex')]
    const charge = await scene.create()
    await Promise.all(
      cards.map((payment_method) => scene.act(charge.id, 'charge', { payment_method })),
    )
    await scene.act(charge.id, 'reconcile')
    expect(await scene.get(charge.id)).toMatchObject({ status: 'succeeded' })
    expect(scene.taken(charge.id)).toBe(1_234)
  })
})
