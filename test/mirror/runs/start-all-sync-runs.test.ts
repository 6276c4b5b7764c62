import { expect, it } from 'vitest'
import { ALL_RESOURCES } from '../../../src/mirror/resource-registry.ts'
import { useServices } from '../../main/run-service.ts'
import type { Body } from '../../support/test-app.ts'
import { useSyncScene } from '../sync-scene.ts'

const scene = useSyncScene()
const start = useServices()

type Row = Body & { resource: string; state: string; started_by: string; error: unknown }

it('the timer syncs every resource, payment methods after customers', {
  timeout: 120_000,
}, async () => {
  const shop = await scene.openWiredShop()
  const stripe = scene.stripeOf(shop)
  const { id: customer } = await stripe.customers.create({ name: 'Acme' })
  const card = await stripe.paymentMethods.attach('pm_card_visa', { customer })
  const { session } = await scene.order(shop)
  scene.fake.control.pay(session)
  const runs = () =>
    scene.rows<Row>('select * from sync_runs where conference_id = $1 order by created_at', [
      shop.conference,
    ])
  const worker = await start({
    DATABASE_URL: scene.connectionString,
    STRIPE_API_BASE: scene.fake.url,
    STRIPE_REQUESTS_PER_SECOND: '0',
    STRIPE_SYNC_EVERY_SECONDS: '3600',
    RUN: 'work',
  })
  const unfinished = async () => {
    const all = await runs()
    if (all.length === 0) return ['none is begun']
    return all.filter(({ state }) => state !== 'succeeded')
  }
  await expect.poll(unfinished, { timeout: 90_000 }).toEqual([])
  await worker.stop()
  const done = await runs()
  expect(done.map(({ resource }) => resource).toSorted()).toEqual(
    ALL_RESOURCES.map(({ name }) => name).toSorted(),
  )
  expect(new Set(done.map(({ started_by }) => started_by))).toEqual(new Set(['timer']))
  expect((await scene.stored(shop, 'customers')).map(({ id }) => id)).toContain(customer)
  expect((await scene.stored(shop, 'payment_methods')).map(({ id }) => id)).toContain(card.id)
  expect((await scene.stored(shop, 'checkout_sessions')).map(({ id }) => id)).toEqual([session])
})
