import { expect, it } from 'vitest'
import { startServiceProcess, useServiceProcesses } from '../support/service-process.ts'
import { RETURN_URLS, useFakeStripe } from '../support/shop.ts'
import { adminQuery } from '../support/test-connections.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { openPurchase, openShopWithWebhook } from './support/conference.ts'
import { say } from './support/say.ts'

useServiceProcesses()
const database = useTestDatabase()
const stripe = useFakeStripe()

/** As many failed attempts as an event makes in an hour of back-off; the drill does not wait for the hour. */
const ATTEMPTS = 3

it('an hour without Stripe: nothing is lost, and everything continues by itself', async () => {
  const { control } = stripe.fake
  const service = await startServiceProcess({
    DATABASE_URL: database.connectionString,
    STRIPE_API_BASE: stripe.fake.url,
    LEASE_SECONDS: '4',
    RECONCILE_AFTER_SECONDS: '3',
    MISSED_EVENTS_EVERY_SECONDS: '2',
  })
  await service.ready()
  const { shop } = await openShopWithWebhook(service, stripe.fake)
  const events = (columns: string) =>
    adminQuery<Record<string, number>>(
      database.adminConnectionString,
      `select ${columns} from stripe_events where conference_id = $1`,
      [shop.conference],
    ).then(([row]) => row ?? {})

  const paid = await Promise.all([1, 2, 3, 4, 5].map(() => openPurchase(shop)))
  const waiting = await shop.buy()
  control.pause()
  for (const { session } of paid) control.pay(session)
  say(`${paid.length} sponsors have paid; Stripe's API goes down before its webhooks arrive`)
  control.injectFault({ action: { kind: 'cut' }, times: 'always' })
  control.resume()

  const key = { 'idempotency-key': 'the-button-of-one-sponsor' }
  const checkout = () =>
    service.request('POST', `${shop.path}/purchases/${waiting.id}/checkout`, {
      as: shop.sponsorKey,
      body: RETURN_URLS,
      headers: key,
    })
  const refused = await checkout()
  say(
    `a checkout is refused: ${refused.status}, Retry-After ${String(refused.headers['retry-after'])} s`,
  )
  expect(refused.status).toBe(503)
  await expect
    .poll(async () => (await events('max(attempts)::int as attempts'))['attempts'])
    .toBeGreaterThanOrEqual(ATTEMPTS)
  const during = await events(
    `count(*)::int as stored, (count(*) filter (where status = 'failed'))::int as failed`,
  )
  say(`${during['stored']} events are stored and retried, ${during['failed']} have failed`)
  expect(during['failed']).toBe(0)
  expect((await service.request('GET', '/readyz')).status).toBe(200)

  control.clearFaults()
  say('Stripe is back')
  for (const { id } of paid) {
    await expect.poll(async () => (await shop.get(id)).status).toBe('PAID')
  }
  await expect
    .poll(
      async () =>
        (await events(`(count(*) filter (where status = 'pending'))::int as left`))['left'],
    )
    .toBe(0)
  const opened = await checkout()
  expect(opened.status).toBe(200)
  const sessions = control.list(shop.stripeKey, 'checkout.session')
  const codes = await Promise.all(paid.map(async ({ id }) => (await shop.codes(id)).length))
  say(
    `${paid.length} purchases are PAID with ${codes.reduce((sum, count) => sum + count, 0)} codes; the repeated checkout opened one page`,
  )
  expect(codes).toEqual(paid.map(() => 10))
  expect(sessions).toHaveLength(paid.length + 1)
})
