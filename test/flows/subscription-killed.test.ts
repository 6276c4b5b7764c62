import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { openShop, type Shop, useFakeStripe } from '../support/shop.ts'
import type { Body } from '../support/test-app.ts'
import { useTestDatabase } from '../support/test-database.ts'

// Killed with -9 while Stripe does not answer, before or after it has done what was asked.

useServiceProcesses()
const database = useTestDatabase()
const stripe = useFakeStripe()

const start = async () => {
  const process = await startServiceProcess({
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.fake.url,
    RUN: 'serve',
  })
  await process.ready()
  return process
}

let server: ServiceProcess
let shop: Shop
beforeAll(async () => {
  server = await start()
  shop = await openShop({
    request: (method, path, options) => server.request(method, path, options),
  })
})
afterAll(() => server.kill())

const post = (path: string, body: Body, key: string) =>
  server.request<Body>('POST', `${shop.path}/${path}`, {
    body,
    headers: { 'idempotency-key': key },
  })

/** Kills the process during the request, starts another one, and repeats the request there. */
async function killedDuring(
  stripePath: string,
  executed: boolean,
  send: () => ReturnType<typeof post>,
) {
  const { id: set } = stripe.fake.control.injectFault({
    method: 'POST',
    path: stripePath,
    times: 'always',
    action: { kind: 'hang', executed },
  })
  const first = send().catch(() => 'cut')
  const hits = () => stripe.fake.control.faults().api.find((one) => one.id === set)?.hits
  await expect.poll(hits, { timeout: 15_000 }).toBeGreaterThan(0)
  await server.kill()
  expect(await first).toBe('cut')
  stripe.fake.control.clearFaults()
  server = await start()
  return send()
}

const made = (path: string, field: string, value: unknown) =>
  stripe.fake.control
    .events({ account: shop.stripeKey, type: path })
    .filter(({ data }) => JSON.stringify(data.object).includes(`"${field}":"${String(value)}"`))

it.each([
  ['before', false],
  ['after', true],
])(
  'F8: killed %s Stripe has made it, a plan and a subscription are made once',
  async (when, executed) => {
    const plan = { name: `Booth ${when}`, amount: 0, interval: 'month' }
    const planned = await killedDuring('/v1/products', executed, () =>
      post('plans', plan, `plan ${when}`),
    )
    expect(planned).toMatchObject({ status: 201, body: { state: 'created', active: true } })
    expect(made('product.created', 'name', plan.name)).toHaveLength(1)

    const { body: customer } = await post('customers', { sponsor: shop.sponsor }, `cust ${when}`)
    const order = { customer: customer['id'], items: [{ plan: planned.body['id'] }] }
    const subscribed = await killedDuring('/v1/subscriptions', executed, () =>
      post('subscriptions', order, `subs ${when}`),
    )
    expect(subscribed).toMatchObject({ status: 201, body: { state: 'created', status: 'active' } })
    const { id } = subscribed.body
    expect(made('customer.subscription.created', 'subscription_id', id)).toHaveLength(1)
  },
)
