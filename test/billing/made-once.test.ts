import { afterEach, expect, it } from 'vitest'
import { createSponsor, unique } from '../support/fixtures.ts'
import type { Body } from '../support/test-app.ts'
import { useSubscriptionScene } from './subscriptions/subscription-scene.ts'

const scene = useSubscriptionScene()
afterEach(() => scene.fake.control.clearFaults())

/** Everything that billing makes at Stripe: the request of a caller, and the objects that Stripe shows. */
type Kind = {
  kind: string
  path: string
  prepare: () => Promise<{ to: string; body: Body; made: () => Promise<unknown[]> }>
}

const KINDS: Kind[] = [
  {
    kind: 'customer',
    path: '/v1/customers',
    async prepare() {
      const { id } = await createSponsor(scene, scene.shop)
      const made = async () => {
        const { data } = await scene.dashboard.customers.list({ limit: 100 })
        return data.filter(({ metadata }) => metadata['sponsor_id'] === id)
      }
      return { to: 'customers', body: { sponsor: id }, made }
    },
  },
  {
    kind: 'plan',
    path: '/v1/products',
    async prepare() {
      const name = unique('Booth')
      const made = async () => {
        const { data } = await scene.dashboard.products.list({ limit: 100 })
        return data.filter((product) => product.name === name)
      }
      return { to: 'plans', body: { name, amount: 1_000, interval: 'month' }, made }
    },
  },
  {
    kind: 'subscription',
    path: '/v1/subscriptions',
    async prepare() {
      const payer = await scene.payer()
      const body = { customer: payer.customer, items: [{ plan: await scene.plan() }] }
      return { to: 'subscriptions', body, made: () => scene.atStripe(payer) }
    },
  },
  {
    kind: 'coupon',
    path: '/v1/coupons',
    async prepare() {
      const name = unique('Ten')
      const made = async () => {
        const { data } = await scene.dashboard.coupons.list({ limit: 100 })
        return data.filter((coupon) => coupon.name === name)
      }
      return { to: 'stripe/coupons', body: { name, percent_off: 10 }, made }
    },
  },
  {
    kind: 'promotion code',
    path: '/v1/promotion_codes',
    async prepare() {
      const coupons = `${scene.shop.path}/stripe/coupons`
      const id = unique('HALF')
      await scene.request('POST', coupons, { body: { id, percent_off: 50 } })
      const made = async () => (await scene.dashboard.promotionCodes.list({ coupon: id })).data
      return { to: 'stripe/promotion-codes', body: { coupon: id }, made }
    },
  },
  {
    kind: 'setup page',
    path: '/v1/checkout/sessions',
    async prepare() {
      const { customer, stripeCustomer } = await scene.payer()
      const pages = {
        success_url: 'https://shop.example/yes',
        cancel_url: 'https://shop.example/no',
      }
      const made = async () =>
        (await scene.dashboard.checkout.sessions.list({ customer: stripeCustomer })).data
      return { to: `customers/${customer}/payment-methods/setup`, body: pages, made }
    },
  },
]

const ask = (to: string, body: Body, key: string) =>
  scene.request('POST', `${scene.shop.path}/${to}`, { body, headers: { 'idempotency-key': key } })

it.each(KINDS)(
  'a $kind whose request was answered 401 after the work is not made again by a repeat (issue 8, lines 3 and 7)',
  async ({ path, prepare }) => {
    const { to, body, made } = await prepare()
    const key = unique('key')
    const action = { kind: 'refuse', status: 401, executed: true } as const
    scene.fake.control.injectFault({ method: 'POST', path, action })
    expect(await ask(to, body, key)).toMatchObject({
      status: 502,
      body: { code: 'stripe_key_rejected' },
    })
    expect(await made()).toHaveLength(1)
    // Stripe may not know the idempotency key under another API key, or has forgotten it.
    scene.fake.control.clock.advance(25 * 3_600)
    const repeat = await ask(to, body, key)
    expect([200, 201]).toContain(repeat.status)
    expect(await made()).toHaveLength(1)
  },
)

it.each(KINDS)(
  'a $kind whose answer was lost is found although Stripe refuses the next request (issue 8, lines 3 and 7)',
  async ({ path, prepare }) => {
    const { to, body, made } = await prepare()
    // Twice: the SDK itself repeats a request once whose connection was closed.
    const lost = { kind: 'fail_after' } as const
    scene.fake.control.injectFault({ method: 'POST', path, times: 2, action: lost })
    const refused = { kind: 'refuse', status: 400 } as const
    scene.fake.control.injectFault({ method: 'POST', path, times: 'always', action: refused })
    const answer = await ask(to, body, unique('key'))
    expect([200, 201]).toContain(answer.status)
    expect(await made()).toHaveLength(1)
  },
)

it.each(KINDS)(
  'a $kind that Stripe refused is made by a repeat under the same Idempotency-Key (issue 8, line 6)',
  async ({ path, prepare }) => {
    const { to, body, made } = await prepare()
    const key = unique('key')
    const refused = { kind: 'refuse', status: 400 } as const
    scene.fake.control.injectFault({ method: 'POST', path, action: refused })
    expect(await ask(to, body, key)).toMatchObject({
      status: 409,
      body: { code: 'stripe_refused' },
    })
    expect(await made()).toHaveLength(0)
    expect([200, 201]).toContain((await ask(to, body, key)).status)
    expect(await made()).toHaveLength(1)
  },
)
