import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ChargeScene, openChargeScene } from '../stripe/billing/charges/charge-scene.ts'
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

describe('a process that is killed while it charges a card', () => {
  it.each([
    ['before Stripe has made the intent', CREATE, false],
    ['after Stripe has made the intent', CREATE, true],
    ['before Stripe has charged the card', CONFIRM, false],
    ['after Stripe has charged the card', CONFIRM, true],
  ])('F8: %s: the repeat ends with one payment', async (_, path, executed) => {
    const { id } = await scene.create()
    const trouble = {
      method: 'POST',
      path,
      times: 'always',
      action: { kind: 'hang', executed },
    } as const
    const { id: set } = stripe.fake.control.trouble(trouble)
    const first = scene.act(id, 'charge').catch(() => 'cut')
    const hits = () => stripe.fake.control.troubles().api.find((one) => one.id === set)?.hits
    await expect.poll(hits, { timeout: 15_000 }).toBeGreaterThan(0)
    await server.kill()
    expect(await first).toBe('cut')
    stripe.fake.control.clearTrouble()
    server = await start()
    const repeat = await scene.act(id, 'charge')
    expect(repeat).toMatchObject({ status: 200, body: { status: 'succeeded', attempts: 1 } })
    expect(scene.taken(id)).toBe(1_234)
    expect(scene.intents(id)).toHaveLength(1)
  })
})
