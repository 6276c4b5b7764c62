import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ChargeScene, openChargeScene } from '../billing/charges/charge-scene.ts'
import { hangAt } from '../support/hang-at.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { openShop, type Shop, useFakeStripe } from '../support/shop.ts'
import type { Answer, Body } from '../support/test-app.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { TEST_TIMEOUT } from '../support/timeouts.ts'

// A process is killed with -9 while Stripe does not answer, before or after Stripe has done what was
// asked. Starting a process costs seconds of CPU, so one is stopped at many points and killed once.

useServiceProcesses()
const database = useTestDatabase()
const stripe = useFakeStripe()

const start = async () => {
  const process = await startServiceProcess({
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.fake.url,
    // A request to which Stripe does not answer is still waiting when the process is killed.
    STRIPE_TIMEOUT_SECONDS: '300',
    RUN: 'serve',
  })
  await process.ready()
  return process
}

let server: ServiceProcess
let shop: Shop
let scene: ChargeScene
// The scene asks whichever process lives.
const living: Pick<ServiceProcess, 'request'> = {
  request: (method, path, options) => server.request(method, path, options),
}

beforeAll(async () => {
  server = await start()
  shop = await openShop(living)
  scene = await openChargeScene(living, stripe, shop)
  scene.save()
})
afterAll(() => server.kill())

type Stop = { path: string; executed: boolean; work: () => Promise<unknown> }

/** Begins each work, kills the process when Stripe has all requests, and starts another process. */
async function killDuring(stops: Stop[]) {
  const cut: Promise<unknown>[] = []
  for (const { path, executed, work } of stops) {
    await hangAt(stripe.fake, { method: 'POST', path, executed }, () => {
      cut.push(work().catch(() => 'cut'))
    })
  }
  await server.kill()
  expect(await Promise.all(cut)).toEqual(stops.map(() => 'cut'))
  server = await start()
}

const CREATE = '/v1/payment_intents'
const CONFIRM = '/v1/payment_intents/*/confirm'

const POINTS = [
  ['before Stripe has made the intent', CREATE, false],
  ['after Stripe has made the intent', CREATE, true],
  ['before Stripe has charged the card', CONFIRM, false],
  ['after Stripe has charged the card', CONFIRM, true],
] as const

const MOMENTS = [
  { when: 'before', executed: false },
  { when: 'after', executed: true },
] as const

const post = (path: string, body: Body, key: string) =>
  server.request<Body>('POST', `${shop.path}/${path}`, {
    body,
    headers: { 'idempotency-key': key },
  })
const planBody = (when: string) => ({ name: `Booth ${when}`, amount: 0, interval: 'month' })
const postPlan = (when: string) => post('plans', planBody(when), `plan ${when}`)

const charges: string[] = []
const purchases: string[] = []
const plans = new Map<string, Answer<Body>>()
const pay = (purchase: string) => shop.act(purchase, 'pay', {})

beforeAll(async () => {
  const stops: Stop[] = MOMENTS.map(({ when, executed }) => ({
    path: '/v1/products',
    executed,
    work: () => postPlan(when),
  }))
  for (const [, path, executed] of POINTS) {
    const [charge, purchase] = [await scene.create(), await shop.buy()]
    charges.push(charge.id)
    purchases.push(purchase.id)
    stops.push({ path, executed, work: () => scene.act(charge.id, 'charge') })
    stops.push({ path, executed, work: () => pay(purchase.id) })
  }
  await killDuring(stops)
  for (const { when } of MOMENTS) plans.set(when, await postPlan(when))
}, TEST_TIMEOUT)

describe('a process that is killed with cards in its hands', () => {
  it.each(POINTS.map(([when], index) => [when, index] as const))(
    'F8: %s of a charge: the repeat ends with one payment',
    async (_, index) => {
      const id = charges[index] ?? ''
      const repeat = await scene.act(id, 'charge')
      expect(repeat).toMatchObject({ status: 200, body: { status: 'succeeded', attempts: 1 } })
      expect(scene.taken(id)).toBe(1_234)
      expect(scene.intents(id)).toHaveLength(1)
    },
  )

  it.each(POINTS.map(([when], index) => [when, index] as const))(
    'F8: %s for a purchase: the repeat ends with one payment and its codes',
    async (_, index) => {
      const id = purchases[index] ?? ''
      expect(await pay(id)).toMatchObject({
        status: 200,
        body: { status: 'PAID', amount_received: 10_000, vouchers: { issued: 10 }, flags: [] },
      })
      const intents = stripe.fake.control.list(shop.stripeKey, 'payment_intent')
      const own = intents.filter((intent) => JSON.stringify(intent).includes(id))
      expect(own).toMatchObject([{ status: 'succeeded', amount_received: 10_000 }])
    },
  )
})

describe('a process that is killed while it makes something at Stripe', () => {
  const made = (type: string, field: string, value: unknown) =>
    stripe.fake.control
      .events({ account: shop.stripeKey, type })
      .filter(({ data }) => JSON.stringify(data.object).includes(`"${field}":"${String(value)}"`))

  it.each(MOMENTS)('F8: killed $when Stripe has made it, a plan is made once', ({ when }) => {
    expect(plans.get(when)).toMatchObject({
      status: 201,
      body: { state: 'created', active: true },
    })
    expect(made('product.created', 'name', planBody(when).name)).toHaveLength(1)
  })

  it('F8: killed before or after Stripe has made it, a subscription is made once', async () => {
    const orders = MOMENTS.map(({ when, executed }) => {
      const items = [{ plan: plans.get(when)?.body['id'] }]
      const work = () => post('subscriptions', { customer: scene.customer, items }, `subs ${when}`)
      return { path: '/v1/subscriptions', executed, work }
    })
    await killDuring(orders)
    for (const { work } of orders) {
      const subscribed = await work()
      expect(subscribed).toMatchObject({
        status: 201,
        body: { state: 'created', status: 'active' },
      })
      const { id } = subscribed.body
      expect(made('customer.subscription.created', 'subscription_id', id)).toHaveLength(1)
    }
  })
})
