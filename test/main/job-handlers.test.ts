import { afterEach, beforeAll, expect, it, vi } from 'vitest'
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

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
  // A new timer is due immediately, and would find every event before the other jobs run.
  const tomorrow = app.db.raw(`now() + interval '1 day'`)
  await app.db('timers').insert({ name: 'find_missed_events', due_at: tomorrow })
})
afterEach(() => stripe.fake.control.clearFaults())

/** A worker that sweeps every second and considers everything older than a second. */
const work = (more: NodeJS.ProcessEnv = {}) =>
  start({
    DATABASE_URL: app.connectionString,
    ...env,
    RUN: 'work',
    RECONCILE_AFTER_SECONDS: '1',
    MISSED_EVENTS_EVERY_SECONDS: '86400',
    ...more,
  })

const statusOf = (purchase: string) => async () => (await shop.get(purchase)).status

/** Stripe performs the request, but its response is lost. */
const loseAnswers = (path: string) =>
  stripe.fake.control.injectFault({ path, times: 'always', action: { kind: 'fail_after' } })

const sweptOnce = async (): Promise<void> => {
  const due = () => app.db('timers').where({ name: 'sweep_purchases' }).pluck('due_at')
  const before = await due()
  await expect.poll(due, POLL_OPTIONS).not.toEqual(before)
}

async function paid(): Promise<string> {
  const { id } = await shop.buy()
  stripe.fake.control.pay(await shop.openSession(id))
  expect((await shop.act(id, 'reconcile')).body).toMatchObject({ status: 'PAID' })
  return id
}

it('detects a payment whose webhook never arrived', async () => {
  const { id } = await shop.buy()
  stripe.fake.control.pay(await shop.openSession(id))
  expect(await shop.get(id)).toMatchObject({ status: 'PROCESSING' })
  await work()
  await expect.poll(statusOf(id), POLL_OPTIONS).toBe('PAID')
  expect(await shop.codes(id)).toHaveLength(10)
  const transitions = await app.request('GET', `${shop.path}/purchases/${id}/transitions`)
  expect(JSON.stringify(transitions.body)).toContain('reconcile_purchase')
})

it('closes a checkout whose URL no caller received, so that it cannot be paid', async () => {
  const { id } = await shop.buy()
  loseAnswers('/v1/checkout/sessions')
  expect((await shop.checkout(id)).status).toBe(503)
  stripe.fake.control.clearFaults()
  await work()
  const attempts = () =>
    app.rows<{ state: string; session_id: string | null }>(
      'select state, session_id from payment_attempts where purchase_id = $1',
      [id],
    )
  await expect.poll(attempts, POLL_OPTIONS).toMatchObject([{ state: 'cancelled' }])
  const [attempt] = await attempts()
  const session = String(attempt?.session_id)
  // The decision is stored first; then the session is expired at Stripe.
  const status = () => JSON.stringify(stripe.fake.control.get(session))
  await expect.poll(status, POLL_OPTIONS).toContain('"status":"expired"')
  expect(() => stripe.fake.control.pay(session)).toThrow(/expired/)
  // Only a new checkout is possible now.
  expect((await shop.get(id)).allowed_actions).toContain('checkout')
})

it('finishes a refund whose response was lost, once', async () => {
  const id = await paid()
  loseAnswers('/v1/refunds')
  expect((await shop.act(id, 'refund', { amount: 3_000 })).status).toBe(503)
  stripe.fake.control.clearFaults()
  await work()
  const refunded = async () => (await shop.get(id))['amount_refunded']
  await expect.poll(refunded, POLL_OPTIONS).toBe(3_000)
  expect(await shop.get(id)).toMatchObject({ status: 'PAID', vouchers: { deactivated: 3 } })
})

it('treats a refusal by Stripe as the end of a refund request', async () => {
  const id = await paid()
  const { payment_intent: intent } = await shop.get(id)
  stripe.fake.control.injectFault({ path: '/v1/refunds', times: 'always', action: { kind: 'cut' } })
  expect((await shop.act(id, 'refund')).status).toBe(503)
  stripe.fake.control.clearFaults()
  // Meanwhile it is refunded at Stripe.
  stripe.fake.control.refund(String(intent))
  await work()
  const requests = () => app.rows('select state from refund_requests where purchase_id = $1', [id])
  await expect.poll(requests, POLL_OPTIONS).toEqual([{ state: 'refused' }])
  await sweptOnce()
  // The sweep may have queued one more job, just before the request was over.
  const jobs = () => app.db('graphile_worker.jobs').where({ task_identifier: 'finish_refund' })
  await expect.poll(jobs, POLL_OPTIONS).toEqual([])
  expect(await requests()).toEqual([{ state: 'refused' }])
})

it('finds events that no webhook delivered, and handles them', async () => {
  const id = await paid()
  const { payment_intent: intent } = await shop.get(id)
  stripe.fake.control.refund(String(intent))
  await work({ MISSED_EVENTS_EVERY_SECONDS: '1' })
  await expect.poll(statusOf(id), POLL_OPTIONS).toBe('REFUNDED')
  const sources = () => app.rows(`select distinct source from stripe_events where status = 'done'`)
  await expect.poll(sources, POLL_OPTIONS).toEqual([{ source: 'missed' }])
})

it('applies a refund whose events failed for good, without a replay (issue 8, line 13)', async () => {
  const id = await paid()
  const { payment_intent: intent } = await shop.get(id)
  stripe.fake.control.refund(String(intent))
  // As after 20 failed attempts. No webhook and no list of events brings them again.
  await app.rows(
    `insert into stripe_events (conference_id, id, type, livemode, body, payment_intent_id, source,
       status, attempts, created_at_stripe, finished_at, last_error)
     values ($1, 'evt_given_up', 'charge.refunded', false, '{}', $2, 'webhook',
       'failed', 20, now(), now(), 'stripe_failed: …')`,
    [shop.conference, intent],
  )
  expect((await shop.get(id)).status).toBe('PAID')
  await work()
  await expect.poll(statusOf(id), POLL_OPTIONS).toBe('REFUNDED')
  const events = () => app.rows(`select status from stripe_events where id = 'evt_given_up'`)
  await expect.poll(events, POLL_OPTIONS).toEqual([{ status: 'done' }])
})

it('finds the account of a Stripe key', async () => {
  const { conference } = await openShop(app)
  const account = () =>
    app.rows('select stripe_account from conferences where id = $1', [conference])
  expect(await account()).toEqual([{ stripe_account: null }])
  await work()
  await expect
    .poll(account, POLL_OPTIONS)
    .toEqual([{ stripe_account: expect.stringMatching(/^acct_/) }])
})
