import Stripe from 'stripe'
import { beforeAll, expect, it } from 'vitest'
import { useServices } from '../../main/run-service.ts'
import { startServiceProcess, useServiceProcesses } from '../../support/service-process.ts'
import { openShop, useFakeStripe } from '../../support/shop.ts'
import { type Body, useTestApp } from '../../support/test-app.ts'
import { POLL_OPTIONS } from '../../support/timeouts.ts'

// The fake does not respond, so the worker waits for it, and is killed with -9 there.

useServiceProcesses()
const stripe = useFakeStripe()
const env: NodeJS.ProcessEnv = { STRIPE_REQUESTS_PER_SECOND: '0' }
beforeAll(() => {
  env['STRIPE_API_BASE'] = stripe.fake.url
})
const app = useTestApp({ env })

const startHere = useServices()
const worker = () => ({
  ...env,
  DATABASE_URL: app.connectionString,
  RUN: 'work',
  LEASE_SECONDS: '2',
})

it('another worker finishes the publication of a killed worker: one promotion code per voucher', async () => {
  const shop = await openShop(app)
  const { body: batch } = await app.request<Body>('POST', `${shop.path}/voucher-batches`, {
    body: { count: 40, voucher_type: 'percentage', discount_value: 10 },
  })
  const path = `${shop.path}/voucher-batches/${String(batch['id'])}`
  const progress = async () => (await app.request<Body>('GET', `${path}/publication`)).body
  stripe.fake.control.injectFault({
    method: 'POST',
    path: '/v1/promotion_codes',
    skip: 15,
    times: 6,
    action: { kind: 'hang', executed: true },
  })
  const first = await startServiceProcess(worker())
  await app.request('POST', `${path}/publish`, { body: {} })
  const made = () =>
    stripe.fake.control.requests({ method: 'POST', path: '/v1/promotion_codes' }).length
  await expect.poll(made, POLL_OPTIONS).toBeGreaterThanOrEqual(21)
  await first.kill()
  const halfway = await progress()
  expect(halfway).toMatchObject({ state: 'running', published: 15 })
  stripe.fake.control.clearFaults()
  await startHere(worker())
  await expect
    .poll(progress, POLL_OPTIONS)
    .toMatchObject({ state: 'done', published: 40, pending: 0, failed: 0 })

  const { hostname, port } = new URL(stripe.fake.url)
  const account = new Stripe(shop.stripeKey, {
    host: hostname,
    port: Number(port),
    protocol: 'http',
  })
  const codes: string[] = []
  for await (const { code, active } of account.promotionCodes.list({ limit: 100 })) {
    if (active) codes.push(code)
  }
  expect(codes).toHaveLength(40)
  expect(new Set(codes).size).toBe(40)
}, 120_000)
