import { beforeAll, describe, expect, it } from 'vitest'
import { finishPlan } from '../../../src/billing/subscriptions/write-plan.ts'
import { useSyncScene, type WiredShop } from '../../mirror/sync-scene.ts'
import { createConference, createSponsorKey, createStaffKey } from '../../support/fixtures.ts'
import type { Answer, Body } from '../../support/test-app.ts'

type PlanAnswer = Body & { id: string; stripe_product: string; stripe_price: string }

const scene = useSyncScene()
let shop: WiredShop
beforeAll(async () => {
  shop = await scene.openWiredShop()
})

const MONTHLY = { name: 'Booth', amount: 2_500, interval: 'month' }

const post = (body: Body, key?: string, path = shop.path): Promise<Answer<PlanAnswer>> =>
  scene.request('POST', `${path}/plans`, {
    body,
    headers: key === undefined ? {} : { 'idempotency-key': key },
  })

async function create(body: Body = {}): Promise<PlanAnswer> {
  const answer = await post({ ...MONTHLY, ...body })
  expect(answer.status, JSON.stringify(answer.body)).toBe(201)
  return answer.body
}

const get = async (id: string) => (await scene.request('GET', `${shop.path}/plans/${id}`)).body
const patch = (id: string, body: Body) =>
  scene.request('PATCH', `${shop.path}/plans/${id}`, { body })

const refOf = (planId: string) => ({ conferenceId: shop.conference, planId })

/** Requests that create the plan's product at Stripe. */
const orders = (planId: string) =>
  scene.fake.control
    .requests({ method: 'POST', path: '/v1/products' })
    .filter(({ params }) => params['id'] === planId)

const onlyPlan = async (name: string) => {
  const { body } = await scene.request<{ data: PlanAnswer[] }>(
    'GET',
    `${shop.path}/plans?limit=100`,
  )
  const found = body.data.filter((plan) => plan['name'] === name)
  expect(found).toHaveLength(1)
  return found[0]?.id ?? ''
}

describe('a new plan', () => {
  it('is a product with a recurring price, at Stripe and in the mirror', async () => {
    const plan = await create({
      interval: 'week',
      interval_count: 2,
      trial_period_days: 14,
      metadata: { hall: 'B' },
    })
    expect(plan).toMatchObject({
      object: 'plan',
      amount: 2_500,
      currency: 'EUR',
      interval: 'week',
      interval_count: 2,
      trial_period_days: 14,
      metadata: { hall: 'B' },
      active: true,
      state: 'created',
      failure: null,
      stripe_product: plan.id,
    })
    const stripe = scene.stripeOf(shop)
    const product = await stripe.products.retrieve(plan.stripe_product)
    expect(product).toMatchObject({
      name: 'Booth',
      default_price: plan.stripe_price,
      metadata: { hall: 'B', plan_id: plan.id, conference_id: shop.conference },
    })
    expect(await stripe.prices.retrieve(plan.stripe_price)).toMatchObject({
      unit_amount: 2_500,
      currency: 'eur',
      recurring: { interval: 'week', interval_count: 2 },
    })
    // The mirror has it before any event is processed.
    for (const [table, id] of [
      ['products', plan.stripe_product],
      ['prices', plan.stripe_price],
      ['plans', plan.stripe_price],
    ] as const) {
      const stored = await scene.stored(shop, table)
      expect(
        stored.map((row) => row.id),
        table,
      ).toContain(id)
    }
    expect(await get(plan.id)).toEqual(plan)
  })

  it('may be free', async () => {
    expect(await create({ amount: 0 })).toMatchObject({ amount: 0, state: 'created' })
  })

  it('F15: is sent in Stripe’s units of its currency', async () => {
    for (const [currency, amount, sent] of [
      ['JPY', 1_000, 1_000],
      ['ISK', 1_000, 100_000],
      ['KWD', 1_500, 1_500],
    ] as const) {
      const other = await scene.openWiredShop({ currency })
      const { status, body } = await post({ ...MONTHLY, amount }, undefined, other.path)
      expect(status).toBe(201)
      expect(body).toMatchObject({ amount, currency })
      const price = await scene.stripeOf(other).prices.retrieve(body.stripe_price)
      expect(price).toMatchObject({ unit_amount: sent, currency: currency.toLowerCase() })
    }
  })

  it('F18: has a globally unique id, also at Stripe', async () => {
    const plan = await create()
    expect(plan.stripe_product).toMatch(/^plan_\w{21}$/)
  })

  it.each([
    [
      { interval: 'day', interval_count: 1_095 },
      { interval: 'day', interval_count: 1_096 },
    ],
    [
      { interval: 'week', interval_count: 156 },
      { interval: 'week', interval_count: 157 },
    ],
    [
      { interval: 'month', interval_count: 36 },
      { interval: 'month', interval_count: 37 },
    ],
    [
      { interval: 'year', interval_count: 3 },
      { interval: 'year', interval_count: 4 },
    ],
  ])('has an interval of at most three years: %o', async (longest, longer) => {
    expect(await create(longest)).toMatchObject(longest)
    expect(await post({ ...MONTHLY, ...longer })).toMatchObject({
      status: 400,
      body: { code: 'validation_failed', errors: [{ pointer: '/interval_count' }] },
    })
  })

  it.each<[string, Body]>([
    ['/name', { name: ' ' }],
    ['/amount', { amount: -1 }],
    ['/amount', { amount: 10.5 }],
    ['/amount', { amount: 100_000_000 }],
    ['/interval', { interval: 'decade' }],
    ['/interval_count', { interval_count: 0 }],
    ['/trial_period_days', { trial_period_days: -1 }],
    ['/trial_period_days', { trial_period_days: 731 }],
    ['/metadata/conference_id', { metadata: { conference_id: 'conf_1' } }],
    ['/metadata/a[b]', { metadata: { 'a[b]': 'c' } }],
    ['/metadata/a', { metadata: { a: '' } }],
    ['/currency', { currency: 'USD' }],
  ])('is refused for its %s', async (pointer, change) => {
    const before = scene.fake.control.requests({ method: 'POST' }).length
    const answer = await post({ ...MONTHLY, ...change })
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } })
    expect(answer.body['errors']).toContainEqual(expect.objectContaining({ pointer }))
    expect(scene.fake.control.requests({ method: 'POST' })).toHaveLength(before)
  })

  it('in a currency with three decimals has an amount that ends in 0', async () => {
    const other = await scene.openWiredShop({ currency: 'KWD' })
    expect(await post({ ...MONTHLY, amount: 1_501 }, undefined, other.path)).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/amount' }] },
    })
  })

  it('has a statement descriptor, which can be changed (issue 8, line 28)', async () => {
    const made = await post({ ...MONTHLY, statement_descriptor: 'DEVCONF BOOTH' })
    expect(made).toMatchObject({ status: 201, body: { statement_descriptor: 'DEVCONF BOOTH' } })
    const product = () => scene.stripeOf(shop).products.retrieve(made.body.id)
    expect(await product()).toMatchObject({ statement_descriptor: 'DEVCONF BOOTH' })
    const change = (descriptor: string) => patch(made.body.id, { statement_descriptor: descriptor })
    expect(await change('BOOTH 14')).toMatchObject({ body: { statement_descriptor: 'BOOTH 14' } })
    expect(await product()).toMatchObject({ statement_descriptor: 'BOOTH 14' })
    for (const wrong of ['', '1234', 'A'.repeat(23), 'A*B', 'A<B']) {
      expect(await change(wrong)).toMatchObject({ status: 400 })
    }
  })

  it('is refused for a conference without a Stripe key', async () => {
    const { path } = await createConference(scene, { stripe_secret_key: undefined })
    expect(await post(MONTHLY, undefined, path)).toMatchObject({
      status: 409,
      body: { code: 'stripe_key_missing' },
    })
    expect((await scene.request('GET', `${path}/plans`)).body).toMatchObject({ data: [] })
  })

  it('shows the reason of Stripe’s refusal and stays refused', async () => {
    const other = await scene.openWiredShop()
    const action = { kind: 'refuse', status: 400 } as const
    scene.fake.control.injectFault({ method: 'POST', path: '/v1/products', action })
    const refused = { status: 409, body: { code: 'stripe_refused' } }
    expect(await post(MONTHLY, undefined, other.path)).toMatchObject(refused)
    const { body } = await scene.request<{ data: PlanAnswer[] }>('GET', `${other.path}/plans`)
    expect(body.data).toMatchObject([
      { state: 'refused', active: false, failure: { message: expect.any(String) } },
    ])
    const ref = { conferenceId: other.conference, planId: body.data[0]?.id ?? '' }
    await expect(finishPlan(scene.deps, ref)).rejects.toMatchObject({ code: 'stripe_refused' })
  })

  it('stays `requested` while Stripe does not respond, and cannot be changed', async () => {
    const name = 'Waiting'
    scene.fake.control.injectFault({
      path: '/v1/products',
      action: { kind: 'cut' },
      times: 'always',
    })
    expect(await post({ ...MONTHLY, name })).toMatchObject({
      status: 503,
      body: { code: 'stripe_unavailable' },
    })
    scene.fake.control.clearFaults()
    const id = await onlyPlan(name)
    expect(await get(id)).toMatchObject({ state: 'requested', active: false, stripe_price: null })
    expect(await patch(id, { name: 'Other' })).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state_now: 'requested' },
    })
    expect(await finishPlan(scene.deps, refOf(id))).toMatchObject({ state: 'created' })
  })
})

describe('a plan whose creation is repeated', () => {
  it('F2: is created once per Idempotency-Key', async () => {
    const [first, again, other] = [
      await post(MONTHLY, 'plan-1'),
      await post(MONTHLY, 'plan-1'),
      await post(MONTHLY, 'plan-2'),
    ]
    expect(first.status).toBe(201)
    expect(again).toMatchObject({ status: 201, body: first.body })
    expect(other.status).toBe(201)
    expect(other.body.id).not.toBe(first.body.id)
    expect(orders(first.body.id)).toHaveLength(1)
  })

  it('is created once by concurrent requests', async () => {
    const name = 'Rush'
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => post({ ...MONTHLY, name }, 'plan-rush')),
    )
    const made = answers.filter(({ status }) => status === 201)
    expect(new Set(made.map(({ body }) => body.id)).size).toBe(1)
    for (const { status, body } of answers.filter((answer) => answer.status !== 201)) {
      expect({ status, code: body['code'] }).toEqual({
        status: 409,
        code: 'idempotency_in_progress',
      })
    }
    const id = await onlyPlan(name)
    // In parallel, as a job and a repeat may run.
    await Promise.allSettled([1, 2, 3].map(() => finishPlan(scene.deps, refOf(id))))
    expect(orders(id)).toHaveLength(1)
  })

  it('F8: is found at Stripe after an unknown outcome, and not created again', async () => {
    const name = 'Lost'
    const lost = { path: '/v1/products', times: 'always', action: { kind: 'fail_after' } } as const
    scene.fake.control.injectFault(lost)
    expect(await post({ ...MONTHLY, name }, 'plan-lost')).toMatchObject({ status: 503 })
    scene.fake.control.clearFaults()
    const id = await onlyPlan(name)
    const repeated = await post({ ...MONTHLY, name }, 'plan-lost')
    expect(repeated).toMatchObject({ status: 201, body: { id, state: 'created' } })
    const { data } = await scene.stripeOf(shop).prices.list({ product: id })
    expect(data).toHaveLength(1)
  })

  it('is found even after Stripe has forgotten the key', async () => {
    const name = 'Late'
    const lost = { path: '/v1/products', times: 'always', action: { kind: 'fail_after' } } as const
    scene.fake.control.injectFault(lost)
    expect(await post({ ...MONTHLY, name })).toMatchObject({ status: 503 })
    scene.fake.control.clearFaults()
    const id = await onlyPlan(name)
    scene.fake.control.clock.advance(3 * 24 * 60 * 60)
    expect(await finishPlan(scene.deps, refOf(id))).toMatchObject({ state: 'created' })
    const { data } = await scene.stripeOf(shop).prices.list({ product: id })
    expect(data).toHaveLength(1)
  })

  it('is created under another key when Stripe stored an error under the first', async () => {
    const name = 'Broken'
    const broken = { path: '/v1/products', times: 1, action: { kind: 'error' } } as const
    scene.fake.control.injectFault(broken)
    const answer = await post({ ...MONTHLY, name }, 'plan-broken')
    expect(answer).toMatchObject({ status: 502, body: { code: 'stripe_failed' } })
    scene.fake.control.clearFaults()
    const repeated = await post({ ...MONTHLY, name }, 'plan-broken')
    expect(repeated).toMatchObject({ status: 201, body: { state: 'created' } })
    const { data } = await scene.stripeOf(shop).prices.list({ product: repeated.body.id })
    expect(data).toHaveLength(1)
  })

  it('has a job that finishes it if the process dies', async () => {
    const plan = await create()
    const jobs = await scene.rows<{ payload: Body; run_at: Date }>(
      `select p.payload, j.run_at from graphile_worker.jobs j
         join graphile_worker._private_jobs p using (id) where j.key = $1`,
      [`finish_plan:${plan.id}`],
    )
    expect(jobs).toMatchObject([{ payload: { conference_id: shop.conference, id: plan.id } }])
    expect(jobs[0]?.run_at.getTime()).toBeGreaterThan(Date.now())
  })
})

describe('changing a plan', () => {
  it('changes it at Stripe and returns Stripe’s values', async () => {
    const { id } = await create({ metadata: { hall: 'B', row: '1' } })
    const changed = await patch(id, { name: 'Big booth', metadata: { hall: null, floor: '2' } })
    expect(changed).toMatchObject({ status: 200, body: { name: 'Big booth' } })
    expect(changed.body['metadata']).toEqual({ row: '1', floor: '2' })
    expect(await scene.stripeOf(shop).products.retrieve(id)).toMatchObject({
      name: 'Big booth',
      metadata: { row: '1', floor: '2', plan_id: id, conference_id: shop.conference },
    })
    expect(await get(id)).toEqual(changed.body)
  })

  it('archives and restores it, and never changes the price', async () => {
    const plan = await create()
    expect(await patch(plan.id, { active: false })).toMatchObject({ body: { active: false } })
    const stripe = scene.stripeOf(shop)
    expect(await stripe.products.retrieve(plan.id)).toMatchObject({ active: false })
    const list = async (active: boolean) =>
      (await scene.request('GET', `${shop.path}/plans?active=${active}&limit=100`)).body
    expect(JSON.stringify(await list(false))).toContain(plan.id)
    expect(JSON.stringify(await list(true))).not.toContain(plan.id)
    expect(await patch(plan.id, { active: true })).toMatchObject({
      body: { active: true, amount: 2_500, stripe_price: plan.stripe_price },
    })
    expect(JSON.stringify(await list(true))).toContain(plan.id)
  })

  it.each<[string, Body]>([
    ['/amount', { amount: 1 }],
    ['/interval', { interval: 'year' }],
    ['/trial_period_days', { trial_period_days: 3 }],
    ['/name', { name: '' }],
    ['/metadata/plan_id', { metadata: { plan_id: null } }],
  ])('is refused for %s', async (pointer, change) => {
    const { id } = await create()
    expect(await patch(id, change)).toMatchObject({ status: 400, body: { errors: [{ pointer }] } })
  })

  it('F17: in the dashboard reaches the plan by webhook, in any order', async () => {
    const { id } = await create()
    const stripe = scene.stripeOf(shop)
    await stripe.products.update(id, { name: 'One' })
    await stripe.products.update(id, { name: 'Two', active: false })
    await scene.settle()
    expect(await get(id)).toMatchObject({ name: 'Two', active: false })
  })

  it('changes nothing here when Stripe refuses or does not respond', async () => {
    const { id } = await create()
    const lost = { path: '/v1/products/*', times: 'always', action: { kind: 'cut' } } as const
    scene.fake.control.injectFault({ ...lost, method: 'POST' })
    expect(await patch(id, { name: 'Other' })).toMatchObject({ status: 503 })
    scene.fake.control.clearFaults()
    expect(await get(id)).toMatchObject({ name: 'Booth' })
  })
})

describe('access to plans', () => {
  it('needs billing:write of the conference', async () => {
    const { id } = await create()
    const staff = await createStaffKey(scene, shop, ['billing:write'])
    const sponsor = await createSponsorKey(scene, shop, shop.sponsor)
    const path = `${shop.path}/plans/${id}`
    expect(await scene.request('GET', path, { as: staff.key })).toMatchObject({ status: 200 })
    expect(await scene.request('GET', path, { as: sponsor.key })).toMatchObject({ status: 403 })
    const other = await scene.openWiredShop()
    expect(await scene.request('GET', `${other.path}/plans/${id}`)).toMatchObject({ status: 404 })
  })
})
