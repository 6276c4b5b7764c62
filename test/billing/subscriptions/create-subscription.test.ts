import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { finishSubscription } from '../../../src/billing/subscriptions/create-subscription.ts'
import { createConference } from '../../support/fixtures.ts'
import type { Body } from '../../support/test-app.ts'
import { DAY, day, type Payer, useSubscriptionScene } from './subscription-scene.ts'

const scene = useSubscriptionScene()
afterEach(() => scene.fake.control.clearFaults())

const trouble = (kind: 'cut' | 'fail_after', path = '/v1/subscriptions') =>
  scene.fake.control.injectFault({ method: 'POST', path, times: 'always', action: { kind } })

const onlyOf = async (payer: Payer) => {
  const { body } = await scene.request<{ data: Body[] }>(
    'GET',
    `${scene.shop.path}/subscriptions?customer=${payer.customer}`,
  )
  expect(body.data).toHaveLength(1)
  return String(body.data[0]?.['id'])
}

describe('a new subscription', () => {
  it('is paid at Stripe and stored in the mirror', async () => {
    const payer = await scene.payer()
    const booth = await scene.plan({ amount: 2_000 })
    const seat = await scene.plan({ name: 'Seat', amount: 500 })
    const subscription = await scene.subscribe(payer, {
      items: [{ plan: booth }, { plan: seat, quantity: 3 }],
      metadata: { po: '118' },
      end_date: day(90),
    })
    expect(subscription).toMatchObject({
      object: 'subscription',
      customer: payer.customer,
      sponsor: payer.sponsor,
      status: 'active',
      state: 'created',
      failure: null,
      metadata: { po: '118' },
      end_date: day(90),
      cancel_at_period_end: false,
      ended_at: null,
    })
    expect(subscription.items).toHaveLength(2)
    expect(subscription.items).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ plan: booth, name: 'Booth', quantity: 1, amount: 2_000 }),
        expect.objectContaining({ plan: seat, name: 'Seat', quantity: 3, currency: 'EUR' }),
      ]),
    )
    const [made, ...others] = await scene.atStripe(payer)
    expect(others).toEqual([])
    expect(made).toMatchObject({
      id: subscription.stripe_subscription,
      metadata: { po: '118', subscription_id: subscription.id, sponsor_id: payer.sponsor },
    })
    const { data: invoices } = await scene.dashboard.invoices.list({
      customer: payer.stripeCustomer,
    })
    expect(invoices).toMatchObject([{ amount_paid: 3_500, status: 'paid' }])
    // The mirror has it before any event is processed.
    const stored = await scene.stored(scene.shop, 'subscriptions')
    expect(stored.map(({ id }) => id)).toContain(subscription.stripe_subscription)
    expect(await scene.get(subscription.id)).toEqual(subscription)
  })

  it('starts with the longest trial of its plans, unless one is given', async () => {
    const long = await scene.plan({ trial_period_days: 30 })
    const short = await scene.plan({ trial_period_days: 7 })
    const payer = await scene.payer()
    const items = [{ plan: short }, { plan: long }]
    const trying = await scene.subscribe(payer, { items })
    expect(trying).toMatchObject({ status: 'trialing', trial_period_days: 30 })
    const days = Date.parse(String(trying['trial_end'])) - scene.fake.control.clock.now().getTime()
    expect(Math.round(days / (DAY * 1000))).toBe(30)
    expect(
      await scene.subscribe(await scene.payer(), { items, trial_period_days: 0 }),
    ).toMatchObject({ status: 'active', trial_end: null })
    scene.fake.control.clock.advance(31 * DAY)
    await scene.settle()
    expect(await scene.get(trying.id)).toMatchObject({ status: 'active' })
  })

  it('is charged to the given payment method', async () => {
    const payer = await scene.payer('pm_card_chargeCustomerFail')
    const { id } = await scene.dashboard.paymentMethods.attach('pm_card_visa', {
      customer: payer.stripeCustomer,
    })
    expect(await scene.subscribe(payer, { payment_method: id })).toMatchObject({
      status: 'active',
      payment_method: id,
    })
  })

  it('has tax rates, which can be changed (issue 8, line 28)', async () => {
    const payer = await scene.payer()
    const asked = () =>
      scene.fake.control
        .requests({ method: 'POST' })
        .filter(({ path }) => path.startsWith('/v1/subscriptions'))
        .map(({ params }) => params['default_tax_rates'])
    scene.fake.control.clearRequests()
    const { id, ...made } = await scene.subscribe(payer, { tax_rates: ['txr_vat', 'txr_city'] })
    expect(made).toMatchObject({ tax_rates: ['txr_vat', 'txr_city'] })
    const change = (body: Body) =>
      scene.request('PATCH', `${scene.shop.path}/subscriptions/${id}`, { body })
    expect(await change({ tax_rates: ['txr_vat'] })).toMatchObject({
      body: { tax_rates: ['txr_vat'] },
    })
    expect(await change({ tax_rates: [] })).toMatchObject({ body: { tax_rates: [] } })
    expect(asked()).toEqual([{ 0: 'txr_vat', 1: 'txr_city' }, { 0: 'txr_vat' }, ''])
    expect(await change({ tax_rates: ['vat'] })).toMatchObject({ status: 400 })
  })

  it('is discounted by a coupon, and refused with an unknown one', async () => {
    const payer = await scene.payer()
    await scene.dashboard.coupons.create({ id: 'HALF', percent_off: 50, duration: 'once' })
    const plan = await scene.plan({ amount: 3_000 })
    const order = { customer: payer.customer, items: [{ plan }] }
    expect(await scene.ask({ ...order, coupon: 'HALF' })).toMatchObject({
      status: 201,
      body: { status: 'active', coupon: 'HALF' },
    })
    const { data } = await scene.dashboard.invoices.list({ customer: payer.stripeCustomer })
    expect(data).toMatchObject([{ amount_paid: 1_500 }])
    const unknown = await scene.ask({ ...order, coupon: 'NONE' })
    expect(unknown).toMatchObject({ status: 409, body: { code: 'stripe_refused' } })
    expect(unknown.body['detail']).toContain('NONE')
  })

  it('stays incomplete when the card is declined, and expires unless its invoice is paid', async () => {
    const payer = await scene.payer('pm_card_chargeCustomerFail')
    const left = await scene.subscribe(payer)
    expect(left).toMatchObject({ status: 'incomplete', state: 'created' })
    const mended = await scene.subscribe(payer)
    const good = await scene.dashboard.paymentMethods.attach('pm_card_visa', {
      customer: payer.stripeCustomer,
    })
    await scene.dashboard.invoices.pay(String(mended['latest_invoice']), {
      payment_method: good.id,
    })
    await scene.settle()
    expect(await scene.get(mended.id)).toMatchObject({ status: 'active' })
    scene.fake.control.clock.advance(DAY)
    await scene.settle()
    expect(await scene.get(left.id)).toMatchObject({ status: 'incomplete_expired' })
  })

  it('F9: of a customer without a card is refused with the reason, and not retried', async () => {
    const payer = await scene.payer(null)
    const body = { customer: payer.customer, items: [{ plan: await scene.plan() }] }
    const answer = await scene.ask(body)
    expect(answer).toMatchObject({ status: 409, body: { code: 'stripe_refused' } })
    expect(answer.body['detail']).toMatch(/no attached payment source/)
    const id = await onlyOf(payer)
    expect(await scene.get(id)).toMatchObject({
      state: 'refused',
      status: null,
      failure: { message: answer.body['detail'] },
      stripe_subscription: null,
    })
    const asked = () => scene.fake.control.requests({ path: '/v1/subscriptions' }).length
    const before = asked()
    expect(await scene.act(id, 'refresh')).toMatchObject({ body: { state: 'refused' } })
    await expect(finishSubscription(scene.deps, scene.refOf(id))).rejects.toMatchObject({
      code: 'stripe_refused',
    })
    expect(asked()).toBe(before)
    expect(await scene.act(id, 'cancel')).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state_now: 'refused' },
    })
  })

  it("is never charged to another customer's card", async () => {
    const [payer, other] = [await scene.payer(), await scene.payer(null)]
    const { data } = await scene.dashboard.customers.listPaymentMethods(payer.stripeCustomer)
    const answer = await scene.ask({
      customer: other.customer,
      items: [{ plan: await scene.plan() }],
      payment_method: data[0]?.id,
    })
    expect(answer).toMatchObject({ status: 409, body: { code: 'stripe_refused' } })
    expect(await scene.atStripe(other)).toEqual([])
  })

  it('needs a customer and a plan of its conference, and a Stripe key', async () => {
    const payer = await scene.payer()
    const body = { customer: payer.customer, items: [{ plan: await scene.plan() }] }
    const other = await scene.openWiredShop()
    const foreign = await scene.request('POST', `${other.path}/subscriptions`, { body })
    expect(foreign).toMatchObject({ status: 400, body: { errors: [{ pointer: '/customer' }] } })
    const { path } = await createConference(scene, { stripe_secret_key: undefined })
    expect(await scene.request('POST', `${path}/subscriptions`, { body })).toMatchObject({
      status: 409,
      body: { code: 'stripe_key_missing' },
    })
  })
})

describe('a request for a subscription', () => {
  type Known = { payer: Payer; plan: string; archived: string }
  let known: Known
  beforeAll(async () => {
    const payer = await scene.payer()
    const [plan, archived] = [await scene.plan(), await scene.plan()]
    const url = `${scene.shop.path}/plans/${archived}`
    await scene.request('PATCH', url, { body: { active: false } })
    known = { payer, plan, archived }
  })

  it.each<[string, (known: Known) => Body]>([
    ['/customer', () => ({ customer: 'cust_none' })],
    ['/customer', ({ payer }) => ({ customer: payer.stripeCustomer })],
    ['/items', () => ({ items: [] })],
    ['/items/0/plan', () => ({ items: [{ plan: 'plan_none' }] })],
    ['/items/1/plan', ({ plan, archived }) => ({ items: [{ plan }, { plan: archived }] })],
    ['/items/1/plan', ({ plan }) => ({ items: [{ plan }, { plan }] })],
    ['/items/0/quantity', ({ plan }) => ({ items: [{ plan, quantity: 0 }] })],
    ['/end_date', () => ({ end_date: day(-1) })],
    ['/end_date', () => ({ end_date: '2027-02-30' })],
    ['/end_date', () => ({ end_date: '2027-02-03T00:00:00Z' })],
    ['/trial_period_days', () => ({ trial_period_days: 731 })],
    ['/metadata/subscription_id', () => ({ metadata: { subscription_id: 'subs_1' } })],
    ['/status', () => ({ status: 'active' })],
  ])('is refused for its %s', async (pointer, change) => {
    const { payer, plan } = known
    const good = { customer: payer.customer, items: [{ plan }] }
    const answer = await scene.ask({ ...good, ...change(known) })
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } })
    expect(answer.body['errors']).toContainEqual(expect.objectContaining({ pointer }))
    expect(await scene.atStripe(payer)).toEqual([])
  })
})

describe('a subscription whose creation is repeated', () => {
  it('F2: is created once per Idempotency-Key', async () => {
    const payer = await scene.payer()
    const body = { customer: payer.customer, items: [{ plan: await scene.plan() }] }
    const first = await scene.ask(body, 'sub-1')
    expect(first.status).toBe(201)
    expect(await scene.ask(body, 'sub-1')).toMatchObject({ status: 201, body: first.body })
    expect(await scene.atStripe(payer)).toHaveLength(1)
    expect((await scene.ask(body, 'sub-2')).status).toBe(201)
    expect(await scene.atStripe(payer)).toHaveLength(2)
  })

  it('is created once by concurrent requests', async () => {
    const payer = await scene.payer()
    const body = { customer: payer.customer, items: [{ plan: await scene.plan() }] }
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => scene.ask(body, 'sub-rush')))
    const made = answers.filter(({ status }) => status === 201)
    expect(made.length).toBeGreaterThan(0)
    const id = await onlyOf(payer)
    // In parallel, as a job and a repeat may run.
    await Promise.allSettled([1, 2, 3].map(() => finishSubscription(scene.deps, scene.refOf(id))))
    expect(await scene.atStripe(payer)).toHaveLength(1)
  })

  it('is created once by several processes at the same time', async () => {
    const payer = await scene.payer()
    trouble('cut')
    const body = { customer: payer.customer, items: [{ plan: await scene.plan() }] }
    expect(await scene.ask(body)).toMatchObject({ status: 503 })
    scene.fake.control.clearFaults()
    const id = await onlyOf(payer)
    const finish = () => finishSubscription(scene.deps, scene.refOf(id))
    const results = await Promise.allSettled([1, 2, 3, 4].map(finish))
    expect(results.map(({ status }) => status)).toContain('fulfilled')
    expect(await scene.atStripe(payer)).toHaveLength(1)
    expect(await scene.get(id)).toMatchObject({ state: 'created', status: 'active' })
  })

  it.each([
    ['Stripe still has the key', 0],
    ['Stripe has forgotten the key', 3],
  ])('F8: is found after an unknown outcome, and not paid twice, when %s', async (_when, days) => {
    const payer = await scene.payer()
    trouble('fail_after')
    const body = { customer: payer.customer, items: [{ plan: await scene.plan() }] }
    const key = `sub-lost-${days}`
    expect(await scene.ask(body, key)).toMatchObject({
      status: 503,
      body: { code: 'stripe_unavailable' },
    })
    scene.fake.control.clearFaults()
    const id = await onlyOf(payer)
    expect(await scene.get(id)).toMatchObject({ state: 'requested', status: null })
    scene.fake.control.clock.advance(days * DAY)
    expect(await scene.ask(body, key)).toMatchObject({
      status: 201,
      body: { id, status: 'active' },
    })
    const { data } = await scene.dashboard.charges.list({ customer: payer.stripeCustomer })
    expect(data).toHaveLength(1)
    expect(await scene.atStripe(payer)).toHaveLength(1)
  })

  it('is created under another key when Stripe stored an error under the first', async () => {
    const payer = await scene.payer()
    const broken = { path: '/v1/subscriptions', method: 'POST', action: { kind: 'error' } } as const
    scene.fake.control.injectFault(broken)
    const body = { customer: payer.customer, items: [{ plan: await scene.plan() }] }
    expect(await scene.ask(body, 'sub-broken')).toMatchObject({
      status: 502,
      body: { code: 'stripe_failed' },
    })
    expect(await scene.ask(body, 'sub-broken')).toMatchObject({ status: 201 })
    expect(await scene.atStripe(payer)).toHaveLength(1)
  })

  it.each([400, 403])(
    'is created once when the fetch after its creation gets a %i, however often it is repeated (issue 8, line 6)',
    async (status) => {
      const payer = await scene.payer()
      const body = { customer: payer.customer, items: [{ plan: await scene.plan() }] }
      const path = '/v1/subscriptions/*'
      const action = { kind: 'refuse', status } as const
      scene.fake.control.injectFault({ method: 'GET', path, times: 3, action })
      const key = `sub-unread-${status}`
      for (const attempt of [1, 2, 3]) {
        const answer = await scene.ask(body, key)
        expect(answer.status, `attempt ${attempt}`).toBeGreaterThanOrEqual(500)
      }
      expect(await scene.ask(body, key)).toMatchObject({
        status: 201,
        body: { state: 'created', status: 'active' },
      })
      expect(await scene.atStripe(payer)).toHaveLength(1)
    },
  )

  it('shows its items before it exists at Stripe, and is created by a refresh', async () => {
    const payer = await scene.payer()
    const plan = await scene.plan({ amount: 700 })
    trouble('cut')
    const body = { customer: payer.customer, items: [{ plan, quantity: 2 }] }
    expect(await scene.ask(body)).toMatchObject({ status: 503 })
    scene.fake.control.clearFaults()
    const id = await onlyOf(payer)
    expect(await scene.get(id)).toMatchObject({
      state: 'requested',
      items: [{ plan, quantity: 2, amount: 700, interval: 'month', interval_count: 1 }],
    })
    expect(await scene.act(id, 'cancel')).toMatchObject({ status: 409 })
    expect(await scene.act(id, 'refresh')).toMatchObject({
      status: 200,
      body: { state: 'created', status: 'active' },
    })
  })

  it('has a job that finishes it if the process dies', async () => {
    const { id } = await scene.subscribe(await scene.payer())
    const jobs = await scene.rows<{ payload: Body; run_at: Date }>(
      `select p.payload, j.run_at from graphile_worker.jobs j
         join graphile_worker._private_jobs p using (id) where j.key = $1`,
      [`finish_subscription:${id}`],
    )
    expect(jobs).toMatchObject([{ payload: { conference_id: scene.shop.conference, id } }])
    expect(jobs[0]?.run_at.getTime()).toBeGreaterThan(Date.now())
  })
})

it('a payout names the subscription that its money is of', async () => {
  const payer = await scene.payer()
  const { id } = await scene.subscribe(payer)
  await scene.settle()
  const payout = scene.fake.control.payOut(scene.shop.stripeKey, 'eur')
  const { body } = await scene.request('GET', `${scene.shop.path}/reports/payouts/${payout.id}`)
  expect(body).toMatchObject({ reconciliation: 'agrees', totals: { other: { count: 0 } } })
  expect(body['items']).toContainEqual(
    expect.objectContaining({ subscription: id, sponsor: payer.sponsor, purchase: null }),
  )
})
