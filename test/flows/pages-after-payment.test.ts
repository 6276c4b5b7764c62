import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { reconcileCharge } from '../../src/billing/charges/reconcile-charge.ts'
import type { PaymentSnapshot } from '../../src/payments/payment-snapshot.ts'
import { openChargeScene } from '../billing/charges/charge-scene.ts'
import { sweepAndWork } from '../support/purchase-jobs.ts'
import { openShop, RETURN_URLS, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'
import type { Body } from '../support/test-app.ts'

const { app, stripe } = useAppOnStripe()

let shop: Shop
beforeEach(async () => {
  shop = await openShop(app)
})
afterEach(() => stripe.fake.control.clearFaults())

const control = () => stripe.fake.control
const statusOf = (session: string) => (control().get(session) as Body | undefined)?.['status']
const OTHER_URLS = { ...RETURN_URLS, cancel_url: 'https://shop.example/elsewhere' }

/** Money that staff take in Stripe's dashboard. */
function payInDashboard(metadata: Record<string, string>, amount: number): string {
  const params = {
    amount,
    currency: 'eur',
    confirm: true,
    payment_method: 'pm_card_visa',
    return_url: 'https://shop.example/',
    metadata: { ...metadata, conference_id: shop.conference },
  }
  const intent = control().call(shop.stripeKey, 'POST', '/v1/payment_intents', params) as Body
  return String(intent['id'])
}

describe('a page that is open when another payment pays the purchase', () => {
  it('is closed at Stripe, so that the sponsor cannot pay twice', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    const payment = payInDashboard({ purchase_id: id }, 10_000)
    const { body } = await shop.act(id, 'reconcile', { payment_intent: payment })
    expect(body.status).toBe('PAID')
    expect(await sweepAndWork(app, shop.conference)).toBe(0)
    expect(statusOf(session)).toBe('expired')
    expect(await shop.get(id)).toMatchObject({ status: 'PAID', flags: [], checkout: { url: null } })
  })

  it('is closed by the sweep if the first request to close it failed', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    const payment = payInDashboard({ purchase_id: id }, 10_000)
    await shop.act(id, 'reconcile', { payment_intent: payment })
    // The job has used up its attempts and is gone.
    await app.rows(
      `delete from graphile_worker._private_jobs where payload->>'conference_id' = $1`,
      [shop.conference],
    )
    expect(await sweepAndWork(app, shop.conference)).toBe(0)
    expect(statusOf(session)).toBe('expired')
  })

  it('that was paid first is a second payment, which staff see', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    const payment = payInDashboard({ purchase_id: id }, 10_000)
    await shop.act(id, 'reconcile', { payment_intent: payment })
    control().pay(session)
    expect(await sweepAndWork(app, shop.conference)).toBe(0)
    expect(await shop.get(id)).toMatchObject({ status: 'PAID', flags: [{ code: 'overpaid' }] })
  })

  it('stays open while the other payment only waits for staff', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    const payment = payInDashboard({ purchase_id: id }, 9_000)
    await shop.act(id, 'reconcile', { payment_intent: payment })
    expect(await sweepAndWork(app, shop.conference)).toBe(0)
    expect(statusOf(session)).toBe('open')
    expect((await shop.get(id)).flags).toMatchObject([{ code: 'amount_mismatch' }])
  })
})

describe('a page that is complete when it should be closed', () => {
  it('brings its money at once, although its attempt was cancelled before', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    // A process decided to cancel the attempt and died before its request to Stripe.
    await app.rows(`update payment_attempts set state = 'cancelled' where purchase_id = $1`, [id])
    control().pay(session)
    expect(await shop.checkout(id, OTHER_URLS)).toMatchObject({
      status: 409,
      body: { code: 'payment_in_progress' },
    })
    expect(await shop.get(id)).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
  })
})

describe('a page whose answer was lost', () => {
  async function lostPage(): Promise<{ id: string; session: string }> {
    const { id } = await shop.buy()
    const request = { method: 'POST', path: '/v1/checkout/sessions', times: 'always' } as const
    control().injectFault({ ...request, action: { kind: 'fail_after' } })
    expect((await shop.checkout(id)).status).toBe(503)
    control().clearFaults()
    const [made] = control()
      .list(shop.stripeKey, 'checkout.session')
      .map((session): Body => ({ ...session }))
    return { id, session: String(made?.['id']) }
  }

  it('and that expired meanwhile is replaced by one with a URL', async () => {
    const { id, session } = await lostPage()
    control().expire(session)
    const { status, body } = await shop.checkout(id)
    expect(status).toBe(200)
    expect(body['session_id']).not.toBe(session)
    expect(body['url']).toEqual(expect.any(String))
    expect(await shop.get(id)).toMatchObject({ status: 'PROCESSING', checkout: { attempt: 2 } })
  })

  it('and that was paid meanwhile makes the purchase PAID', async () => {
    const { id, session } = await lostPage()
    control().pay(session)
    expect(await shop.checkout(id)).toMatchObject({ status: 409 })
    expect(await shop.get(id)).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
  })
})

describe('a charge', () => {
  const urls = { success_url: 'https://shop.example/ok', cancel_url: 'https://shop.example/no' }

  it('closes its open page when another payment pays it', async () => {
    const scene = await openChargeScene(app, stripe, shop)
    const { id } = await scene.create()
    const { body } = await scene.act(id, 'checkout', urls)
    const session = String((body as Body)['session_id'])
    const payment = payInDashboard({ charge_id: id }, 1_234)
    const ref = { conferenceId: shop.conference, chargeId: id }
    await reconcileCharge(app, ref, { paymentIntents: [payment] })
    expect((await scene.get(id)).status).toBe('succeeded')
    const jobs = await app.rows(`select key from graphile_worker.jobs where key = $1`, [
      `finish_charge_attempt:${id}:1`,
    ])
    expect(jobs).toHaveLength(1)
    expect(statusOf(session)).toBe('open')
  })

  it('takes a payment from a stale snapshot that no newer one could contain', async () => {
    const scene = await openChargeScene(app, stripe, shop)
    const { id } = await scene.create()
    await scene.act(id, 'checkout', urls)
    const payment = payInDashboard({ charge_id: id }, 1_234)
    const ref = { conferenceId: shop.conference, chargeId: id }
    let release: (snapshot: PaymentSnapshot) => void = () => {}
    const asked = new Promise<PaymentSnapshot>((resolve) => {
      const slow = {
        ...app.gateway,
        fetchSnapshot: (query: Parameters<typeof app.gateway.fetchSnapshot>[0]) => {
          void app.gateway.fetchSnapshot(query).then(resolve)
          return new Promise<PaymentSnapshot>((answer) => {
            release = answer
          })
        },
      }
      void reconcileCharge({ db: app.db, gateway: slow }, ref, { paymentIntents: [payment] })
    })
    const stale = await asked
    await reconcileCharge(app, ref)
    expect((await scene.get(id)).status).not.toBe('succeeded')
    release(stale)
    await expect.poll(async () => (await scene.get(id)).status).toBe('succeeded')
  })
})
