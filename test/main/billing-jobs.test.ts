import { afterEach, beforeAll, expect, it, vi } from 'vitest'
import { openShop, type Shop, useFakeStripe } from '../support/shop.ts'
import { type Body, useTestApp } from '../support/test-app.ts'
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
beforeAll(async () => {
  shop = await openShop(app)
})
afterEach(() => stripe.fake.control.clearFaults())

const work = () =>
  start({
    DATABASE_URL: app.connectionString,
    ...env,
    RUN: 'work',
    MISSED_EVENTS_EVERY_SECONDS: '86400',
  })

const post = (path: string, body: Body) => app.request('POST', `${shop.path}/${path}`, { body })

const loseAnswers = (path: string) =>
  stripe.fake.control.injectFault({
    method: 'POST',
    path,
    times: 'always',
    action: { kind: 'fail_after' },
  })

/** Makes the job due now. By default, it waits as long as the request itself may take. */
const makeDue = (job: string) =>
  app.rows(
    `update graphile_worker._private_jobs set run_at = now()
     where task_id = (select id from graphile_worker._private_tasks where identifier = $1)`,
    [job],
  )

const onlyOf = async (list: string): Promise<Body> => {
  const { body } = await app.request<{ data: Body[] }>('GET', `${shop.path}/${list}`)
  expect(body.data).toHaveLength(1)
  return body.data[0] ?? {}
}

it('finishes a plan and a subscription whose responses were lost, and cancels it on its end date', async () => {
  const monthly = { name: 'Booth', amount: 1_000, interval: 'month' }
  loseAnswers('/v1/products')
  expect((await post('plans', monthly)).status).toBe(503)
  stripe.fake.control.clearFaults()
  const service = await work()
  await makeDue('finish_plan')
  await expect.poll(() => onlyOf('plans'), POLL_OPTIONS).toMatchObject({ active: true })

  const { body: customer } = await post('customers', { sponsor: shop.sponsor })
  const free = await post('plans', { ...monthly, amount: 0 })
  const items = [{ plan: free.body['id'] }]
  const today = new Date().toISOString().slice(0, 10)
  loseAnswers('/v1/subscriptions')
  const order = { customer: customer['id'], items, end_date: today }
  expect((await post('subscriptions', order)).status).toBe(503)
  stripe.fake.control.clearFaults()
  await makeDue('finish_subscription')
  const subscription = () => onlyOf('subscriptions')
  await expect.poll(subscription, POLL_OPTIONS).toMatchObject({
    state: 'created',
    status: 'active',
    cancel_at_period_end: false,
  })

  await app.rows(`update timers set due_at = now() where name = 'end_subscriptions'`)
  await expect.poll(subscription, POLL_OPTIONS).toMatchObject({
    status: 'active',
    cancel_at_period_end: true,
    cancel_requested_by: 'end_subscriptions',
  })
  expect(service.log.filter(({ level }) => Number(level) >= 50)).toEqual([])
})
