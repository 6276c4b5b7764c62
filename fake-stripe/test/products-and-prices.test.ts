import Stripe from 'stripe'
import { expect, it } from 'vitest'
import { type FakeUnderTest, idOf, refusal, sessionParams, startFake } from './fake-under-test.ts'

const ids = (page: { data: { id: string }[] }) => page.data.map(({ id }) => id)

const eventTypes = ({ control, account }: FakeUnderTest) =>
  control.events({ account }).map(({ type }) => type)

it('creates, changes and deletes a product', async () => {
  const test = await startFake()
  const { stripe, control, account } = test
  const made = await stripe.products.create({
    name: 'Ticket',
    description: 'A day',
    shippable: false,
    package_dimensions: { height: 1, length: 2.5, weight: 3, width: 4 },
    marketing_features: [{ name: 'Lunch' }],
    metadata: { level: 'gold' },
  })
  expect(made).toMatchObject({ active: true, type: 'service', default_price: null, images: [] })
  expect(made.package_dimensions).toEqual({ height: 1, length: 2.5, weight: 3, width: 4 })
  const updated = await stripe.products.update(made.id, {
    active: false,
    description: '',
    metadata: { level: '', seats: '4' },
  })
  expect(updated).toMatchObject({ active: false, description: null, metadata: { seats: '4' } })
  expect(await stripe.products.del(made.id)).toMatchObject({ id: made.id, deleted: true })
  expect(eventTypes(test)).toEqual(['product.created', 'product.updated', 'product.deleted'])
  const [change] = control.events({ account, type: 'product.updated' })
  expect(change?.data.previous_attributes).toMatchObject({
    active: true,
    description: 'A day',
    metadata: { level: 'gold', seats: null },
  })
  expect(await refusal(stripe.products.retrieve(made.id))).toMatchObject({
    statusCode: 404,
    code: 'resource_missing',
    message: `No such product: '${made.id}'`,
  })
  expect((await stripe.products.list()).data).toEqual([])
})

it('refuses to delete a product that has prices, also archived ones', async () => {
  const { stripe, control } = await startFake()
  const { id: product } = await stripe.products.create({ name: 'Ticket' })
  const price = await stripe.prices.create({ product, currency: 'eur', unit_amount: 100 })
  await stripe.prices.update(price.id, { active: false })
  const error = await refusal(stripe.products.del(product))
  expect(error.message).toBe(
    'This product cannot be deleted because it has one or more user-created prices.',
  )
  control.deletePrice(price.id)
  expect((await stripe.products.del(product)).deleted).toBe(true)
})

it('accepts an id of the caller once, and again after a deletion', async () => {
  const { stripe } = await startFake()
  await stripe.products.create({ id: 'ticket', name: 'A' })
  expect(await refusal(stripe.products.create({ id: 'ticket', name: 'B' }))).toMatchObject({
    statusCode: 400,
    code: 'resource_already_exists',
    message: 'Product already exists.',
  })
  await stripe.products.del('ticket')
  expect((await stripe.products.create({ id: 'ticket', name: 'C' })).name).toBe('C')
  expect(ids(await stripe.products.list())).toEqual(['ticket'])
})

it('creates the default price with the product, and sends the event of the product first', async () => {
  const test = await startFake()
  const { stripe } = test
  const product = await stripe.products.create({
    name: 'Membership',
    default_price_data: { currency: 'eur', unit_amount: 900, recurring: { interval: 'month' } },
    expand: ['default_price'],
  })
  expect(product.default_price).toMatchObject({ product: product.id, unit_amount: 900 })
  expect(eventTypes(test)).toEqual(['product.created', 'plan.created', 'price.created'])
  const price = idOf(product.default_price)
  expect((await refusal(stripe.prices.update(price, { active: false }))).message).toBe(
    'This price cannot be archived because it is the default price of its product.',
  )
  const other = await stripe.prices.create({ product: product.id, currency: 'eur', unit_amount: 1 })
  await stripe.products.update(product.id, { default_price: other.id })
  expect((await stripe.prices.update(price, { active: false })).active).toBe(false)
  const archived = await refusal(stripe.products.update(product.id, { default_price: price }))
  expect(archived.param).toBe('default_price')
})

it('creates nothing when the default price is refused', async () => {
  const { stripe } = await startFake()
  const error = await refusal(
    stripe.products.create({ name: 'A', default_price_data: { currency: 'eur' } }),
  )
  expect(error.param).toBe('default_price_data[unit_amount]')
  expect(await stripe.products.list()).toMatchObject({ data: [] })
})

it('filters products', async () => {
  const { stripe } = await startFake()
  const a = await stripe.products.create({ name: 'A', url: 'https://a.example/', shippable: true })
  const b = await stripe.products.create({ name: 'B', active: false })
  const list = async (params: object) => ids(await stripe.products.list(params))
  expect(await list({})).toEqual([b.id, a.id])
  expect(await list({ active: true })).toEqual([a.id])
  expect(await list({ active: false })).toEqual([b.id])
  expect(await list({ ids: [a.id, 'prod_none'] })).toEqual([a.id])
  expect(await list({ url: 'https://a.example/' })).toEqual([a.id])
  expect(await list({ shippable: true })).toEqual([a.id])
  expect(await list({ created: { lt: a.created } })).toEqual([])
})

it('creates one-time and recurring prices', async () => {
  const test = await startFake()
  const { stripe } = test
  const once = await stripe.prices.create({
    currency: 'EUR',
    unit_amount: 2500,
    product_data: { name: 'Ticket', metadata: { kind: 'day' } },
    nickname: 'Early',
    tax_behavior: 'inclusive',
  })
  expect(once).toMatchObject({ type: 'one_time', currency: 'eur', recurring: null })
  expect(once.unit_amount_decimal?.toString()).toBe('2500')
  expect(await stripe.products.retrieve(idOf(once.product))).toMatchObject({ name: 'Ticket' })
  const fine = await stripe.prices.create({
    currency: 'eur',
    unit_amount_decimal: Stripe.Decimal.from('0.25'),
    product: idOf(once.product),
    recurring: { interval: 'month', interval_count: 3, trial_period_days: 7 },
    expand: ['product'],
  })
  expect(fine).toMatchObject({
    type: 'recurring',
    unit_amount: null,
    recurring: { interval: 'month', interval_count: 3, trial_period_days: 7, meter: null },
    product: { name: 'Ticket' },
  })
  expect(fine.unit_amount_decimal?.toString()).toBe('0.25')
  expect(eventTypes(test)).toEqual([
    'product.created',
    'price.created',
    'plan.created',
    'price.created',
  ])
})

it('refuses prices that Stripe refuses, and creates nothing', async () => {
  const { stripe } = await startFake()
  const { id: product } = await stripe.products.create({ name: 'A' })
  const create = (params: object) =>
    refusal(stripe.prices.create({ currency: 'eur', unit_amount: 1, ...params }))
  expect((await create({})).message).toMatch(/either `product` or `product_data`/)
  expect((await create({ product, product_data: { name: 'B' } })).param).toBe('product')
  expect((await create({ product: 'prod_none' })).message).toBe("No such product: 'prod_none'")
  expect((await create({ product, unit_amount_decimal: '1' })).code).toBe('parameters_exclusive')
  expect((await create({ product, billing_scheme: 'tiered' })).param).toBe('tiers')
  expect((await create({ product, recurring: { interval: 'decade' } })).param).toBe(
    'recurring[interval]',
  )
  expect(
    (await create({ product, recurring: { interval: 'year', interval_count: 4 } })).param,
  ).toBe('recurring[interval_count]')
  expect(
    (await create({ product, recurring: { interval: 'day', usage_type: 'metered' } })).message,
  ).toMatch(/must be backed by meters/)
  expect((await create({ product, colour: 'red' })).code).toBe('parameter_unknown')
  const noAmount = stripe.prices.create({ currency: 'eur', product_data: { name: 'B' } })
  expect((await refusal(noAmount)).message).toMatch(/require an `unit_amount`/)
  expect((await stripe.prices.list()).data).toEqual([])
  expect((await stripe.products.list()).data).toHaveLength(1)
})

it('lists active prices by default', async () => {
  const { stripe } = await startFake()
  const { id: product } = await stripe.products.create({ name: 'A' })
  const make = (params: object) =>
    stripe.prices.create({ product, currency: 'eur', unit_amount: 100, ...params })
  const old = await make({ active: false })
  const once = await make({ lookup_key: 'once' })
  const monthly = await make({ recurring: { interval: 'month' } })
  const dollars = await make({ currency: 'usd', product: undefined, product_data: { name: 'B' } })
  const list = async (params: object) => ids(await stripe.prices.list(params))
  expect(await list({})).toEqual([dollars.id, monthly.id, once.id])
  expect(await list({ active: false })).toEqual([old.id])
  expect(await list({ product })).toEqual([monthly.id, once.id])
  expect(await list({ currency: 'usd' })).toEqual([dollars.id])
  expect(await list({ type: 'recurring' })).toEqual([monthly.id])
  expect(await list({ recurring: { interval: 'month' } })).toEqual([monthly.id])
  expect(await list({ recurring: { interval: 'year' } })).toEqual([])
  expect(await list({ lookup_keys: ['once', 'never'] })).toEqual([once.id])
  expect(await list({ created: { gt: dollars.created } })).toEqual([])
  expect((await refusal(stripe.prices.list({ product: 'prod_none' }))).param).toBe('product')
})

it('gives a lookup key to one price at a time', async () => {
  const { stripe, control, account } = await startFake()
  const { id: product } = await stripe.products.create({ name: 'A' })
  const price = { product, currency: 'eur', unit_amount: 100 }
  const holder = await stripe.prices.create({ ...price, lookup_key: 'standard' })
  await stripe.prices.update(holder.id, { active: false })
  const taken = await refusal(stripe.prices.create({ ...price, lookup_key: 'standard' }))
  expect(taken).toMatchObject({
    param: 'lookup_key',
    message: `A price (\`${holder.id}\`) already uses that lookup key.`,
  })
  const next = await stripe.prices.create({
    ...price,
    lookup_key: 'standard',
    transfer_lookup_key: true,
  })
  expect(next.lookup_key).toBe('standard')
  expect((await stripe.prices.retrieve(holder.id)).lookup_key).toBeNull()
  const last = control.events({ account, type: 'price.updated' }).at(-1)
  expect(last?.data).toMatchObject({
    object: { id: holder.id },
    previous_attributes: { lookup_key: 'standard' },
  })
  await stripe.prices.update(next.id, { lookup_key: 'standard', nickname: 'Mine anyway' })
  await stripe.prices.update(holder.id, { lookup_key: 'standard', transfer_lookup_key: true })
  expect((await stripe.prices.retrieve(next.id)).lookup_key).toBeNull()
})

it('fixes the tax behaviour once it is set', async () => {
  const { stripe } = await startFake()
  const price = await stripe.prices.create({
    currency: 'eur',
    unit_amount: 100,
    product_data: { name: 'A' },
  })
  await stripe.prices.update(price.id, { tax_behavior: 'exclusive' })
  const error = await refusal(stripe.prices.update(price.id, { tax_behavior: 'inclusive' }))
  expect(error.param).toBe('tax_behavior')
})

it('deletes a price only by the dashboard', async () => {
  const { stripe, control, account } = await startFake()
  const price = await stripe.prices.create({
    currency: 'eur',
    unit_amount: 100,
    product_data: { name: 'A' },
  })
  const byApi = await refusal(stripe.rawRequest('DELETE', `/v1/prices/${price.id}`))
  expect(byApi).toMatchObject({
    statusCode: 404,
    message: expect.stringMatching(/^Unrecognized request URL/),
  })
  control.deletePrice(price.id)
  expect((await refusal(stripe.prices.retrieve(price.id))).param).toBe('price')
  expect(control.events({ account, type: 'price.deleted' })).toHaveLength(1)
  expect(() => control.deletePrice(price.id)).toThrow(/There is no/)
})

it('sells at a stored price under the name of its product', async () => {
  const { stripe } = await startFake()
  const price = await stripe.prices.create({
    currency: 'eur',
    unit_amount: 700,
    product_data: { name: 'Ticket' },
  })
  const open = () =>
    stripe.checkout.sessions.create(
      sessionParams({ line_items: [{ price: price.id, quantity: 2 }] }),
    )
  const session = await open()
  expect(session.amount_total).toBe(1400)
  const { data } = await stripe.checkout.sessions.listLineItems(session.id)
  expect(data[0]).toMatchObject({ description: 'Ticket', price: { id: price.id } })
  await stripe.prices.update(price.id, { active: false })
  expect((await refusal(open())).message).toMatch(/inactive/)
  const monthly = await stripe.prices.create({
    currency: 'eur',
    unit_amount: 700,
    product: idOf(price.product),
    recurring: { interval: 'month' },
  })
  const recurring = sessionParams({ line_items: [{ price: monthly.id, quantity: 1 }] })
  expect((await refusal(stripe.checkout.sessions.create(recurring))).message).toMatch(/recurring/)
})
