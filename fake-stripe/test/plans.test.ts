import { expect, it } from 'vitest'
import { idOf, refusal, startFake } from './fake-under-test.ts'

const ids = (page: { data: { id: string }[] }) => page.data.map(({ id }) => id)

it('creates, changes and deletes a plan with a new product', async () => {
  const { stripe, control, account } = await startFake()
  const plan = await stripe.plans.create({
    id: 'gold',
    currency: 'eur',
    interval: 'month',
    amount: 1500,
    nickname: 'Gold',
    product: { name: 'Membership' },
  })
  expect(plan).toMatchObject({ id: 'gold', object: 'plan', amount: 1500, interval_count: 1 })
  expect(plan.amount_decimal?.toString()).toBe('1500')
  expect(await stripe.products.retrieve(idOf(plan.product))).toMatchObject({ name: 'Membership' })
  expect(await stripe.plans.update('gold', { nickname: 'Au', trial_period_days: 3 })).toMatchObject(
    { nickname: 'Au', trial_period_days: 3 },
  )
  const [change] = control.events({ account, type: 'plan.updated' })
  expect(change?.data.previous_attributes).toEqual({ nickname: 'Gold', trial_period_days: null })
  expect(await stripe.plans.del('gold')).toMatchObject({
    id: 'gold',
    object: 'plan',
    deleted: true,
  })
  expect(control.events({ account }).map(({ type }) => type)).toEqual([
    'product.created',
    'plan.created',
    'price.created',
    'plan.updated',
    'price.updated',
    'plan.deleted',
    'price.deleted',
  ])
  expect(await refusal(stripe.plans.retrieve('gold'))).toMatchObject({
    statusCode: 404,
    message: "No such plan: 'gold'",
  })
  expect(await refusal(stripe.prices.retrieve('gold'))).toMatchObject({ statusCode: 404 })
})

it('shows a plan as a price and a recurring price as a plan, but no other price', async () => {
  const { stripe } = await startFake()
  const { id: product } = await stripe.products.create({ name: 'Membership' })
  const plan = await stripe.plans.create({
    currency: 'eur',
    interval: 'year',
    amount: 900,
    product,
  })
  expect(await stripe.prices.retrieve(plan.id)).toMatchObject({
    type: 'recurring',
    unit_amount: 900,
    recurring: { interval: 'year', interval_count: 1, usage_type: 'licensed' },
  })
  const price = await stripe.prices.create({
    product,
    currency: 'eur',
    unit_amount: 100,
    recurring: { interval: 'week', interval_count: 2 },
  })
  expect(await stripe.plans.retrieve(price.id, { expand: ['product'] })).toMatchObject({
    amount: 100,
    interval: 'week',
    interval_count: 2,
    product: { name: 'Membership' },
  })
  const once = await stripe.prices.create({ product, currency: 'eur', unit_amount: 1 })
  expect(await refusal(stripe.plans.retrieve(once.id))).toMatchObject({ statusCode: 404 })
  expect(ids(await stripe.plans.list())).toEqual([price.id, plan.id])
  const expanded = await stripe.plans.list({ limit: 1, expand: ['data.product'] })
  expect(expanded.data[0]).toMatchObject({ object: 'plan', product: { name: 'Membership' } })
})

it('filters and pages plans, inactive ones included', async () => {
  const { stripe } = await startFake()
  const make = (params: object) =>
    stripe.plans.create({
      currency: 'eur',
      interval: 'month',
      amount: 1,
      product: { name: 'A' },
      ...params,
    })
  const a = await make({ id: 'a' })
  await make({ id: 'b', active: false })
  const list = async (params: object) => ids(await stripe.plans.list(params))
  expect(await list({})).toEqual(['b', 'a'])
  expect(await list({ active: true })).toEqual(['a'])
  expect(await list({ product: idOf(a.product) })).toEqual(['a'])
  expect(await list({ starting_after: 'b' })).toEqual(['a'])
  expect(await list({ created: { lt: a.created } })).toEqual([])
  const error = await refusal(stripe.plans.list({ starting_after: 'c' }))
  expect(error.message).toBe("No such plan: 'c'")
})

it('refuses an id in use, a missing product and two amounts', async () => {
  const { stripe } = await startFake()
  const plan = { id: 'a', currency: 'eur', interval: 'month', amount: 1, product: { name: 'A' } }
  await stripe.plans.create(plan)
  expect(await refusal(stripe.plans.create(plan))).toMatchObject({
    code: 'resource_already_exists',
    message: 'Plan already exists.',
  })
  const { product: _, ...noProduct } = plan
  expect(await refusal(stripe.plans.create({ ...noProduct, id: 'b' }))).toMatchObject({
    code: 'parameter_missing',
    param: 'product',
  })
  const nameless = { ...plan, id: 'b', product: {} }
  // @ts-expect-error -- the name is missing
  expect((await refusal(stripe.plans.create(nameless))).code).toBe('parameter_missing')
  const unknown = { ...plan, id: 'b', product: 'prod_none' }
  expect((await refusal(stripe.plans.create(unknown))).message).toBe("No such product: 'prod_none'")
  expect((await stripe.products.list()).data).toHaveLength(1)
})
