import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ChargeScene, openChargeScene } from '../billing/charges/charge-scene.ts'
import {
  type ServiceProcess,
  startServiceProcess,
  useServiceProcesses,
} from '../support/service-process.ts'
import { openShop, type Shop, useFakeStripe } from '../support/shop.ts'
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

const CREATE = '/v1/payment_intents'
const CONFIRM = '/v1/payment_intents/*/confirm'

/** Begins the work, kills the process while Stripe does not answer to `path`, and starts another. */
async function killDuring(path: string, executed: boolean, work: () => Promise<unknown>) {
  const action = { kind: 'hang', executed } as const
  const { id } = stripe.fake.control.injectFault({ method: 'POST', path, times: 'always', action })
  const first = work().catch(() => 'cut')
  const hits = () => stripe.fake.control.faults().api.find((one) => one.id === id)?.hits
  await expect.poll(hits, { timeout: 15_000 }).toBeGreaterThan(0)
  await server.kill()
  expect(await first).toBe('cut')
  stripe.fake.control.clearFaults()
  server = await start()
}

describe('a process that is killed while it charges a card', () => {
  it.each([
    ['before Stripe has made the intent', CREATE, false],
    ['after Stripe has made the intent', CREATE, true],
    ['before Stripe has charged the card', CONFIRM, false],
    ['after Stripe has charged the card', CONFIRM, true],
  ])('F8: %s: the repeat ends with one payment', async (_, path, executed) => {
    const { id } = await scene.create()
    await killDuring(path, executed, () => scene.act(id, 'charge'))
    const repeat = await scene.act(id, 'charge')
    expect(repeat).toMatchObject({ status: 200, body: { status: 'succeeded', attempts: 1 } })
    expect(scene.taken(id)).toBe(1_234)
    expect(scene.intents(id)).toHaveLength(1)
  })
})

describe('a process that is killed while it pays a purchase with a saved card', () => {
  it.each([
    ['before Stripe has made the intent', CREATE, false],
    ['after Stripe has made the intent', CREATE, true],
    ['before Stripe has charged the card', CONFIRM, false],
    ['after Stripe has charged the card', CONFIRM, true],
  ])('F8: %s: the repeat ends with one payment and its codes', async (_, path, executed) => {
    const { id } = await shop.buy()
    const pay = () => shop.act(id, 'pay', {})
    await killDuring(path, executed, pay)
    const repeat = await pay()
    expect(repeat).toMatchObject({
      status: 200,
      body: { status: 'PAID', amount_received: 10_000, vouchers: { issued: 10 }, flags: [] },
    })
    const intents = stripe.fake.control.list(shop.stripeKey, 'payment_intent')
    const own = intents.filter((intent) => JSON.stringify(intent).includes(id))
    expect(own).toMatchObject([{ status: 'succeeded', amount_received: 10_000 }])
  })
})
