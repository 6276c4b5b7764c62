import { beforeAll, expect, it, vi } from 'vitest'
import { openShop, RETURN_URLS, type Shop, useFakeStripe } from '../support/shop.ts'
import { useTestApp } from '../support/test-app.ts'
import { POLL_OPTIONS, TEST_TIMEOUT } from '../support/timeouts.ts'
import { useServices } from './run-service.ts'

vi.setConfig({ testTimeout: TEST_TIMEOUT })

const stripe = useFakeStripe()
const env: NodeJS.ProcessEnv = {}
beforeAll(() => {
  env['STRIPE_API_BASE'] = stripe.fake.url
})
const app = useTestApp({ env })
const start = useServices()

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

it('answers running requests and accepts no new ones when it stops', async () => {
  const service = await start({ ...env, DATABASE_URL: app.connectionString, RUN: 'serve' })
  await service.ready
  const { id } = await shop.buy()
  const slow = { kind: 'slow', ms: 2_000 } as const
  const trouble = stripe.fake.control.injectFault({ path: '/v1/checkout/sessions', action: slow })
  const answer = fetch(`${service.address}${shop.path}/purchases/${id}/checkout`, {
    method: 'POST',
    headers: { authorization: `Bearer ${shop.sponsorKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(RETURN_URLS),
  })
  // It is removed from the list when the request has arrived.
  const waiting = () => stripe.fake.control.faults().api.some(({ id }) => id === trouble.id)
  await expect.poll(waiting, POLL_OPTIONS).toBe(false)
  const stopped = service.stop()
  const connecting = () =>
    fetch(`${service.address}/livez`).then(
      () => 'accepted',
      (error: unknown) => String(error),
    )
  await expect.poll(connecting, POLL_OPTIONS).toContain('fetch failed')
  expect((await answer).status).toBe(200)
  expect(await stopped).toBe(true)
  expect(await shop.get(id)).toMatchObject({ status: 'PROCESSING', checkout: { attempt: 1 } })
})

it('serves while a load balancer takes it out: /readyz fails first, then requests are refused', async () => {
  const service = await start({
    DATABASE_URL: app.connectionString,
    RUN: 'serve',
    DRAIN_SECONDS: '2',
  })
  await service.ready
  expect((await service.get('/readyz')).status).toBe(200)
  const stopped = service.stop({ drain: true })
  expect((await service.get('/readyz')).status).toBe(503)
  expect((await service.get('/livez')).status).toBe(200)
  expect((await service.get('/v1/conferences')).status).toBe(200)
  expect(await stopped).toBe(true)
  await expect(service.get('/livez')).rejects.toThrow('fetch failed')
})
