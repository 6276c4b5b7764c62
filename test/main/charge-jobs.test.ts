import { afterEach, beforeAll, expect, it, vi } from 'vitest'
import { type ChargeScene, openChargeScene } from '../billing/charges/charge-scene.ts'
import { openShop, RETURN_URLS, type Shop, useFakeStripe } from '../support/shop.ts'
import { useTestApp } from '../support/test-app.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { useServices } from './run-service.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

// No webhook is set up here, so every change comes from the worker.
const stripe = useFakeStripe()
const env: NodeJS.ProcessEnv = {}
beforeAll(() => {
  env['STRIPE_API_BASE'] = stripe.fake.url
})
const app = useTestApp({ env })
const start = useServices()

let shop: Shop
let scene: ChargeScene
beforeAll(async () => {
  shop = await openShop(app)
  scene = await openChargeScene(app, stripe, shop)
  scene.save()
})
afterEach(() => stripe.fake.control.clearFaults())

/** A worker that sweeps every second and considers everything older than a second. */
const work = () =>
  start({
    DATABASE_URL: app.connectionString,
    ...env,
    RUN: 'work',
    RECONCILE_AFTER_SECONDS: '1',
    MISSED_EVENTS_EVERY_SECONDS: '86400',
  })

const trouble = (method: 'GET' | 'POST', path: string, kind: 'cut' | 'fail_after') =>
  stripe.fake.control.injectFault({ method, path, times: 'always', action: { kind } })

const INTENT = '/v1/payment_intents/*'

it('detects a charge that was paid unnoticed, and charges no unpaid one', async () => {
  const [paid, unpaid] = [await scene.create(), await scene.create()]
  trouble('GET', INTENT, 'cut')
  trouble('POST', `${INTENT}/confirm`, 'fail_after')
  expect((await scene.act(paid.id, 'charge')).status).toBe(503)
  stripe.fake.control.clearFaults()
  trouble('POST', `${INTENT}/confirm`, 'cut')
  expect((await scene.act(unpaid.id, 'charge')).status).toBe(503)
  stripe.fake.control.clearFaults()
  const [{ before } = { before: null }] = await app.rows<{ before: Date | null }>(
    'select now() as before',
  )
  await work()
  const statusOf = (id: string) => async () => (await scene.get(id)).status
  await expect.poll(statusOf(paid.id), POLL_OPTIONS).toBe('succeeded')
  const readings = () =>
    app.rows('select 1 from charges where id = $1 and reconciled_at > $2', [unpaid.id, before])
  await expect.poll(readings, POLL_OPTIONS).toHaveLength(1)
  expect(await scene.get(unpaid.id)).toMatchObject({ status: 'open' })
  expect(scene.taken(unpaid.id)).toBe(0)
})

it('detects that a link has expired', async () => {
  const charge = await scene.create()
  const link = await scene.act(charge.id, 'checkout', RETURN_URLS)
  stripe.fake.control.expire(String(link.body['session_id']))
  await app.rows(`update payment_attempts set expires_at = now() where charge_id = $1`, [charge.id])
  await work()
  const states = () =>
    app.rows('select state from payment_attempts where charge_id = $1', [charge.id])
  await expect.poll(states, POLL_OPTIONS).toEqual([{ state: 'expired' }])
})

it('closes a payment page of a charge whose URL no caller got', async () => {
  const charge = await scene.create()
  trouble('POST', '/v1/checkout/sessions', 'fail_after')
  expect((await scene.act(charge.id, 'checkout', RETURN_URLS)).status).toBe(503)
  stripe.fake.control.clearFaults()
  const [made] = stripe.fake.control.list(shop.stripeKey, 'checkout.session')
  await work()
  const atStripe = () => stripe.fake.control.get(made?.id ?? '')
  await expect.poll(atStripe, POLL_OPTIONS).toMatchObject({
    status: 'expired',
    metadata: { charge_id: charge.id },
  })
  const states = () =>
    app.rows('select state from payment_attempts where charge_id = $1', [charge.id])
  await expect.poll(states, POLL_OPTIONS).toEqual([{ state: 'cancelled' }])
  expect(await scene.get(charge.id)).toMatchObject({ status: 'open', checkout: null })
})

it('finishes a refund of a charge whose response was lost, once', async () => {
  const { id } = await scene.create({ amount: 500 })
  await scene.act(id, 'charge')
  trouble('POST', '/v1/refunds', 'fail_after')
  expect((await scene.act(id, 'refund', { amount: 200 })).status).toBe(503)
  stripe.fake.control.clearFaults()
  await work()
  const refunded = async () => (await scene.get(id)).amount_refunded
  await expect.poll(refunded, POLL_OPTIONS).toBe(200)
  expect(stripe.fake.control.list(shop.stripeKey, 'refund')).toHaveLength(1)
})

it('ends an attempt with a card that was never charged, so that the purchase can be paid in another way', async () => {
  const { id } = await shop.buy()
  trouble('POST', `${INTENT}/confirm`, 'cut')
  expect((await shop.act(id, 'pay', {})).status).toBe(503)
  stripe.fake.control.clearFaults()
  await work()
  const now = async () => (await shop.get(id)).status
  await expect.poll(now, POLL_OPTIONS).toBe('FAILED')
  expect(await shop.get(id)).toMatchObject({ failure: { code: 'payment_canceled' } })
  expect((await shop.act(id, 'pay', {})).body).toMatchObject({ status: 'PAID' })
})
