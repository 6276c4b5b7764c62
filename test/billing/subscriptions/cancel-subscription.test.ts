import { afterEach, describe, expect, it } from 'vitest'
import { cancelSubscription } from '../../../src/billing/subscriptions/change-subscription.ts'
import { databaseNow } from '../../../src/mirror/fetch-time.ts'
import { StripeSubscriptionAction } from '../../../src/mirror/resources/subscription-resource.ts'
import { createStaffKey } from '../../support/fixtures.ts'
import { DAY, day, useSubscriptionScene } from './subscription-scene.ts'

const scene = useSubscriptionScene()
afterEach(() => scene.fake.control.clearFaults())

const patch = (id: string, body: object) =>
  scene.request('PATCH', `${scene.shop.path}/subscriptions/${id}`, { body })

/** Requests that changed subscriptions at Stripe, without their creation. */
const changes = (stripeId: string) =>
  scene.fake.control
    .requests({ path: `/v1/subscriptions/${stripeId}` })
    .filter(({ method }) => method !== 'GET')
    .map(({ method }) => method)

// First, because all subscriptions of the file renew with the clock.
it('a subscription renews with time, and the new period arrives by webhook', async () => {
  const made = await scene.subscribe(await scene.payer())
  scene.fake.control.clock.advance(32 * DAY)
  await scene.settle()
  const renewed = await scene.get(made.id)
  expect(renewed).toMatchObject({
    status: 'active',
    current_period_start: made.current_period_end,
  })
  expect(renewed['latest_invoice']).not.toBe(made['latest_invoice'])
})

describe('a cancelled subscription', () => {
  it('has ended with Stripe’s status when it is cancelled now', async () => {
    const made = await scene.subscribe(await scene.payer())
    const cancelled = await scene.act(made.id, 'cancel')
    expect(cancelled).toMatchObject({
      status: 200,
      body: { status: 'canceled', cancel_at_period_end: false },
    })
    expect(cancelled.body['ended_at']).not.toBeNull()
    expect(cancelled.body['cancel_requested_by']).not.toBeNull()
    const atStripe = await scene.dashboard.subscriptions.retrieve(made.stripe_subscription)
    expect(atStripe.status).toBe('canceled')
    expect(await scene.get(made.id)).toEqual(cancelled.body)
  })

  it('F18: stays active until the end of its period with at_period_end', async () => {
    const made = await scene.subscribe(await scene.payer())
    const { body, status } = await scene.act(made.id, 'cancel', { at_period_end: true })
    expect(status).toBe(200)
    expect(body).toMatchObject({
      status: 'active',
      cancel_at_period_end: true,
      cancel_at: made.current_period_end,
      ended_at: null,
    })
    scene.fake.control.clock.advance(32 * DAY)
    expect(await scene.get(made.id)).toMatchObject({ status: 'active' })
    await scene.settle()
    expect(await scene.get(made.id)).toMatchObject({
      status: 'canceled',
      ended_at: made.current_period_end,
    })
  })

  it('F18: may be cancelled again, which is a no-op', async () => {
    const made = await scene.subscribe(await scene.payer())
    for (const body of [{}, {}, { at_period_end: true }]) {
      expect(await scene.act(made.id, 'cancel', body)).toMatchObject({
        status: 200,
        body: { status: 'canceled' },
      })
    }
    expect(changes(made.stripe_subscription)).toEqual(['DELETE'])
  })

  it('may be cancelled now after a cancellation at the period end', async () => {
    const { id } = await scene.subscribe(await scene.payer())
    await scene.act(id, 'cancel', { at_period_end: true })
    expect(await scene.act(id, 'cancel')).toMatchObject({ body: { status: 'canceled' } })
  })

  it('is cancelled once by concurrent requests', async () => {
    const made = await scene.subscribe(await scene.payer())
    const ref = scene.refOf(made.id)
    const cancel = () => cancelSubscription(scene.deps, ref, { atPeriodEnd: false })
    const cancelled = await Promise.all([1, 2, 3, 4].map(cancel))
    expect(cancelled.map(({ snapshot }) => snapshot?.status)).toEqual(Array(4).fill('canceled'))
    await scene.fake.control.waitForDeliveries()
    const ended = (await scene.events(scene.shop)).filter(
      ({ type, object_id: object }) =>
        type === 'customer.subscription.deleted' && object === made.stripe_subscription,
    )
    expect(ended).toHaveLength(1)
  })

  it('is returned unchanged when it ends during a cancellation at the period end', async () => {
    const made = await scene.subscribe(await scene.payer())
    scene.fake.control.injectFault({
      method: 'POST',
      path: `/v1/subscriptions/${made.stripe_subscription}`,
      // The SDK repeats the request after half a second.
      action: { kind: 'cut' },
    })
    const later = scene.act(made.id, 'cancel', { at_period_end: true })
    const asked = () => scene.fake.control.faults().api
    await expect.poll(asked).toEqual([])
    await scene.dashboard.subscriptions.cancel(made.stripe_subscription)
    expect(await later).toMatchObject({ status: 200, body: { status: 'canceled' } })
    const requests = scene.fake.control.requests({
      path: `/v1/subscriptions/${made.stripe_subscription}`,
    })
    expect(
      requests.filter(({ method, status }) => method === 'POST' && status !== null),
    ).toMatchObject([{ status: 400 }])
  })

  it('returns the reason when Stripe refuses to cancel it', async () => {
    const made = await scene.subscribe(await scene.payer())
    scene.fake.control.injectFault({
      method: 'DELETE',
      path: '/v1/subscriptions/*',
      times: 'always',
      action: { kind: 'error' },
    })
    expect(await scene.act(made.id, 'cancel')).toMatchObject({
      status: 502,
      body: { code: 'stripe_failed' },
    })
    expect(await scene.get(made.id)).toMatchObject({ status: 'active' })
  })

  it('ends immediately when nothing was ever paid, also with at_period_end', async () => {
    const { id } = await scene.subscribe(await scene.payer('pm_card_chargeCustomerFail'))
    const { body } = await scene.act(id, 'cancel', { at_period_end: true })
    expect(body).toMatchObject({ status: 'canceled' })
  })

  it('stays unchanged while Stripe does not respond', async () => {
    const made = await scene.subscribe(await scene.payer())
    scene.fake.control.injectFault({
      method: 'DELETE',
      path: '/v1/subscriptions/*',
      times: 'always',
      action: { kind: 'cut' },
    })
    expect(await scene.act(made.id, 'cancel')).toMatchObject({
      status: 503,
      body: { code: 'stripe_unavailable' },
    })
    expect(await scene.get(made.id)).toMatchObject({ status: 'active' })
  })

  it('is found cancelled after a lost response', async () => {
    const made = await scene.subscribe(await scene.payer())
    scene.fake.control.injectFault({
      method: 'DELETE',
      path: '/v1/subscriptions/*',
      times: 1,
      action: { kind: 'fail_after' },
    })
    expect(await scene.act(made.id, 'cancel')).toMatchObject({
      status: 200,
      body: { status: 'canceled' },
    })
  })

  it('has ended when it was deleted with its test clock', async () => {
    const made = await scene.subscribe(await scene.payer())
    await new StripeSubscriptionAction(scene.context(scene.shop)).softDelete(
      made.stripe_subscription,
      await databaseNow(scene.db),
    )
    expect(await scene.get(made.id)).toMatchObject({ status: 'canceled' })
  })

  it('refuses unknown fields', async () => {
    const { id } = await scene.subscribe(await scene.payer())
    expect(await scene.act(id, 'cancel', { now: true })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/now' }] },
    })
  })
})

describe('a subscription at Stripe', () => {
  it('renews by a test clock and ends with its period', async () => {
    const stripe = scene.dashboard
    const now = Math.floor(scene.fake.control.clock.now().getTime() / 1000)
    const clock = await stripe.testHelpers.testClocks.create({ frozen_time: now })
    const timed = await stripe.customers.create({ test_clock: clock.id })
    const card = await stripe.paymentMethods.attach('pm_card_visa', { customer: timed.id })
    await stripe.customers.update(timed.id, {
      invoice_settings: { default_payment_method: card.id },
    })
    const payer = await scene.payer(null)
    await scene.rows('update customers set stripe_customer_id = $1 where id = $2', [
      timed.id,
      payer.customer,
    ])
    const made = await scene.subscribe(payer)
    const advance = (days: number) =>
      stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: now + days * DAY })
    await advance(32)
    await scene.settle()
    const renewed = await scene.get(made.id)
    expect(renewed).toMatchObject({
      status: 'active',
      current_period_start: made.current_period_end,
    })
    await scene.act(made.id, 'cancel', { at_period_end: true })
    await advance(64)
    await scene.settle()
    expect(await scene.get(made.id)).toMatchObject({
      status: 'canceled',
      ended_at: renewed.current_period_end,
    })
  })

  it('F17: shows the latest fetch, in any order of fetches and events', async () => {
    const made = await scene.subscribe(await scene.payer())
    const before = await databaseNow(scene.db)
    const stale = await scene.dashboard.subscriptions.retrieve(made.stripe_subscription)
    await scene.dashboard.subscriptions.cancel(made.stripe_subscription)
    await scene.settle()
    expect(await scene.get(made.id)).toMatchObject({ status: 'canceled' })
    const action = new StripeSubscriptionAction(scene.context(scene.shop))
    expect(await action.sync(stale, before)).toMatchObject({ outcome: 'stale' })
    await scene.post(scene.shop, {
      id: `evt_late_${made.id}`,
      object: 'event',
      api_version: '2026-10-28.endive',
      created: 1,
      livemode: false,
      type: 'customer.subscription.updated',
      data: { object: stale },
    })
    await scene.drain()
    expect(await scene.get(made.id)).toMatchObject({ status: 'canceled' })
  })

  it('shows changes of the dashboard, also prices without a plan', async () => {
    const made = await scene.subscribe(await scene.payer())
    const price = await scene.dashboard.prices.create({
      currency: 'eur',
      unit_amount: 300,
      recurring: { interval: 'month' },
      product_data: { name: 'Extra' },
    })
    await scene.dashboard.subscriptions.update(made.stripe_subscription, {
      items: [{ price: price.id, quantity: 2 }],
      metadata: { po: '9' },
    })
    expect(await scene.act(made.id, 'refresh')).toMatchObject({
      status: 200,
      body: { metadata: { po: '9' } },
    })
    const { items } = await scene.get(made.id)
    expect(items).toHaveLength(2)
    expect(items).toContainEqual(
      expect.objectContaining({ plan: null, stripe_price: price.id, quantity: 2, amount: 300 }),
    )
  })

  it('shows the statuses paused, past due and unpaid', async () => {
    const made = await scene.subscribe(await scene.payer())
    for (const status of ['past_due', 'unpaid', 'paused'] as const) {
      const readAt = await databaseNow(scene.db)
      const now = await scene.dashboard.subscriptions.retrieve(made.stripe_subscription)
      const action = new StripeSubscriptionAction(scene.context(scene.shop))
      await action.sync({ ...now, status }, readAt)
      expect(await scene.get(made.id)).toMatchObject({ status })
      const list = await scene.request<{ data: { id: string }[] }>(
        'GET',
        `${scene.shop.path}/subscriptions?status=${status}`,
      )
      expect(list.body.data).toMatchObject([{ id: made.id }])
    }
  })
})

describe('changing a subscription', () => {
  it('sets and removes its end date', async () => {
    const made = await scene.subscribe(await scene.payer())
    expect(await patch(made.id, { end_date: day(0) })).toMatchObject({
      status: 200,
      body: { end_date: day(0), status: 'active' },
    })
    expect(await patch(made.id, { end_date: null })).toMatchObject({ body: { end_date: null } })
    expect(changes(made.stripe_subscription)).toEqual([])
  })

  it('changes metadata at Stripe', async () => {
    const made = await scene.subscribe(await scene.payer(), { metadata: { a: '1', b: '2' } })
    const changed = await patch(made.id, { metadata: { a: null, c: '3' }, end_date: day(5) })
    expect(changed).toMatchObject({ status: 200, body: { end_date: day(5) } })
    expect(changed.body['metadata']).toEqual({ b: '2', c: '3' })
    const { metadata } = await scene.dashboard.subscriptions.retrieve(made.stripe_subscription)
    expect(metadata).toMatchObject({ b: '2', c: '3', subscription_id: made.id })
  })

  it.each([
    ['/end_date', { end_date: day(-1) }],
    ['/status', { status: 'canceled' }],
    ['/metadata/conference_id', { metadata: { conference_id: null } }],
  ])('is refused for %s', async (pointer, body) => {
    const made = await scene.subscribe(await scene.payer())
    expect(await patch(made.id, { ...body })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer }] },
    })
    expect(changes(made.stripe_subscription)).toEqual([])
  })
})

describe('access to subscriptions', () => {
  it('allows its sponsor to read, and staff with billing:write to change', async () => {
    const [payer, other] = [await scene.payer(), await scene.payer()]
    const made = await scene.subscribe(payer)
    const path = `${scene.shop.path}/subscriptions`
    const { key: staff } = await createStaffKey(scene, scene.shop, ['billing:write'])
    for (const as of [payer.key, staff]) {
      expect(await scene.request('GET', `${path}/${made.id}`, { as })).toMatchObject({
        status: 200,
        body: { id: made.id },
      })
    }
    expect(await scene.request('GET', `${path}/${made.id}`, { as: other.key })).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    })
    const idsFor = async (as: string) => {
      const { body } = await scene.request<{ data: { id: string }[] }>('GET', path, { as })
      return body.data.map(({ id }) => id)
    }
    expect(await idsFor(payer.key)).toEqual([made.id])
    expect(await idsFor(other.key)).toEqual([])
    for (const action of ['cancel', 'refresh']) {
      const url = `${path}/${made.id}/${action}`
      expect(await scene.request('POST', url, { as: payer.key })).toMatchObject({ status: 403 })
    }
  })
})
