import { beforeAll, expect, it, vi } from 'vitest'
import { addJob } from '../../src/jobs/job-queue.ts'
import { openShop, type Shop, useFakeStripe } from '../support/shop.ts'
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

/** A worker that sweeps every second and considers everything older than a second. */
const work = () =>
  start({
    DATABASE_URL: app.connectionString,
    ...env,
    RECONCILE_AFTER_SECONDS: '1',
    MISSED_EVENTS_EVERY_SECONDS: '86400',
  })

const jobsOf = (shop: Shop) =>
  app.rows<{ job: string; attempts: number; seconds: number; flags: object | null }>(
    `select task_identifier as job, attempts, flags,
       extract(epoch from run_at - now())::float8 as seconds
     from graphile_worker.jobs
     where key in (select 'learn_stripe_account:' || $1
       union select 'reconcile_purchase:' || id from bulk_purchases where conference_id = $1)
     order by 1`,
    [shop.conference],
  )

/** As if the key had been rejected for a day, so that the next retry is 15 minutes away. */
const age = (shop: Shop) =>
  app.rows(
    `update conferences set stripe_key_set_at = now() - interval '2 days',
       stripe_key_rejected_since = now() - interval '1 day', stripe_key_rejected_at = now()
     where id = $1`,
    [shop.conference],
  )

it('a new Stripe key retries at once all jobs that wait for it (issue 8, line 3)', async () => {
  const shop = await openShop(app)
  const { id } = await shop.buy()
  stripe.fake.control.pay(await shop.openSession(id))
  const freshKey = stripe.fake.control.createKey(shop.stripeKey)
  stripe.fake.control.revokeKey(shop.stripeKey)
  await age(shop)
  const service = await work()
  const rejectedKeys = async () => {
    const metrics = await (await fetch(`${service.address}/metrics`)).text()
    return /^sponsor_vouchers_rejected_stripe_keys (\d+)$/m.exec(metrics)?.[1]
  }
  await expect
    .poll(() => jobsOf(shop), POLL_OPTIONS)
    .toMatchObject([
      {
        job: 'learn_stripe_account',
        attempts: 0,
        flags: { [`stripe_key:${shop.conference}`]: true },
      },
      {
        job: 'reconcile_purchase',
        attempts: 0,
        flags: { [`stripe_key:${shop.conference}`]: true },
      },
    ])
  for (const { seconds } of await jobsOf(shop)) expect(seconds).toBeGreaterThan(600)
  await expect.poll(rejectedKeys, POLL_OPTIONS).toBe('1')
  expect(service.log.filter(({ level }) => Number(level) >= 50)).toHaveLength(1)

  const body = { stripe_secret_key: freshKey }
  expect((await app.request('PATCH', shop.path, { body })).status).toBe(200)
  await expect.poll(async () => (await shop.get(id)).status, POLL_OPTIONS).toBe('PAID')
  await expect.poll(() => jobsOf(shop), POLL_OPTIONS).toEqual([])
  const account = await app.rows('select stripe_account from conferences where id = $1', [
    shop.conference,
  ])
  expect(account).toEqual([{ stripe_account: expect.stringMatching(/^acct_/) }])
  await expect.poll(rejectedKeys, POLL_OPTIONS).toBe('0')
})

it('a new Stripe key retries at once all events that wait for it (issue 8, line 3)', async () => {
  const shop = await openShop(app)
  const { id } = await shop.buy()
  const session = await shop.openSession(id)
  const freshKey = stripe.fake.control.createKey(shop.stripeKey)
  const service = await work()
  const { secret } = stripe.fake.control.addWebhookEndpoint({
    account: shop.stripeKey,
    url: `${service.address}/webhooks/stripe/${shop.path.split('/').at(-1)}`,
  })
  await app.request('POST', `${shop.path}/webhook-secrets`, { body: { secret } })
  stripe.fake.control.revokeKey(shop.stripeKey)
  await age(shop)
  stripe.fake.control.pay(session)
  const events = () =>
    app.rows<{ status: string; attempts: number; waits: boolean }>(
      `select distinct status, attempts, next_attempt_at > now() + interval '10 minutes' as waits
       from stripe_events where conference_id = $1`,
      [shop.conference],
    )
  await expect.poll(events, POLL_OPTIONS).toEqual([{ status: 'pending', attempts: 0, waits: true }])
  const body = { stripe_secret_key: freshKey }
  expect((await app.request('PATCH', shop.path, { body })).status).toBe(200)
  const statuses = async () => new Set((await events()).map(({ status }) => status))
  await expect.poll(statuses, POLL_OPTIONS).toEqual(new Set(['done']))
  expect((await shop.get(id)).status).toBe('PAID')
})

it('jobs of a conference without a Stripe key wait for its first one (issue 8, line 3)', async () => {
  const shop = await openShop(app, { stripe_secret_key: undefined })
  await app.db.transaction((trx) =>
    addJob(trx, 'learn_stripe_account', { conference_id: shop.conference }),
  )
  await work()
  const waiting = { attempts: 0, flags: { [`stripe_key:${shop.conference}`]: true } }
  await expect.poll(() => jobsOf(shop), POLL_OPTIONS).toMatchObject([waiting])
  const body = { stripe_secret_key: stripe.fake.control.createAccount().secretKey }
  expect((await app.request('PATCH', shop.path, { body })).status).toBe(200)
  await expect.poll(() => jobsOf(shop), POLL_OPTIONS).toEqual([])
})
