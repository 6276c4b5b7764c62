import type Stripe from 'stripe'
import { expect, it } from 'vitest'
import { type FakeUnderTest, idOf, refusal, sessionParams, startFake } from './fake-under-test.ts'

const names = (page: { data: { name?: string | null }[] }) => page.data.map(({ name }) => name)

/** Three customers; the newest is Carla. */
async function startWithCustomers(): Promise<FakeUnderTest> {
  const test = await startFake()
  const { stripe } = test
  await stripe.customers.create({ name: 'Amy One Two', email: 'amy@rocketrides.io' })
  await stripe.customers.create({
    name: 'Bert "the Boss"',
    email: 'bert@example.com',
    metadata: { level: 'gold', 'donation-id': 'asdf-jkl' },
  })
  await stripe.customers.create({ name: 'Carla', phone: '+49301234', metadata: { level: 'Gold' } })
  return test
}

it.each([
  [`email:"amy@rocketrides.io"`, ['Amy One Two']],
  [`email:'AMY@ROCKETRIDES.IO'`, ['Amy One Two']],
  [`email:"amy"`, []],
  [`email~"example"`, ['Bert "the Boss"']],
  [`-email~"example"`, ['Carla', 'Amy One Two']],
  [`name:"one two"`, ['Amy One Two']],
  [`name:"two one"`, []],
  [`name:"bert \\"the boss\\""`, ['Bert "the Boss"']],
  [`metadata["level"]:"gold"`, ['Carla', 'Bert "the Boss"']],
  [`metadata['level']:'gold' AND email~"bert"`, ['Bert "the Boss"']],
  [`metadata["level"]:"gold" phone:"+49301234"`, ['Carla']],
  [`email~"amy" OR email~"bert"`, ['Bert "the Boss"', 'Amy One Two']],
  [`email~"amy" or name:"carla"`, ['Carla', 'Amy One Two']],
  [`-metadata["donation-id"]:null`, ['Bert "the Boss"']],
  [`metadata["donation-id"]:NULL`, ['Carla', 'Amy One Two']],
  [`email:null`, ['Carla']],
  [`created>=0`, ['Carla', 'Bert "the Boss"', 'Amy One Two']],
  [`created<"10"`, []],
])('finds customers by %s', async (query, expected) => {
  const { stripe } = await startWithCustomers()
  expect(names(await stripe.customers.search({ query }))).toEqual(expected)
})

it.each([
  ['email', /unable to parse/],
  ['email:amy', /unable to parse/],
  ['email:"amy', /unable to parse/],
  ['(email:"amy")', /unable to parse/],
  ['email:"amy" AND', /unable to parse/],
  ['metadata:"gold"', /unable to parse/],
  ['email["a"]:"gold"', /unable to parse/],
  [
    'description:"x"',
    /^Field `description` is an unsupported search field for resource `customers`/,
  ],
  ['constructor:"x"', /^Field `constructor` is an unsupported search field/],
  ['email>"a"', /^Field `email` does not support the operator `>`/],
  ['created~"123"', /^Field `created` does not support the operator `~`/],
  ['created:"soon"', /^Field `created` needs a numeric value/],
  ['email~"am"', /at least 3 characters/],
  ['email~"amy" AND name:"a" OR name:"b"', /cannot combine AND and OR/],
])('refuses the query %s', async (query, message) => {
  const { stripe } = await startFake()
  const error = await refusal(stripe.customers.search({ query }))
  expect(error).toMatchObject({ statusCode: 400, param: 'query' })
  expect(error.message).toMatch(message)
})

it('requires a query and refuses unknown parameters', async () => {
  const { stripe } = await startFake()
  const search = (params: object) =>
    refusal(stripe.customers.search(params as Stripe.CustomerSearchParams))
  expect(await search({})).toMatchObject({ code: 'parameter_missing', param: 'query' })
  expect(await search({ query: 'created>0', starting_after: 'x' })).toMatchObject({
    code: 'parameter_unknown',
    param: 'starting_after',
  })
  expect(await search({ query: 'created>0', limit: 101 })).toMatchObject({ param: 'limit' })
})

it('pages by next_page, also when objects are added and deleted between the pages', async () => {
  const { stripe, control, account } = await startFake()
  const ids = control.seedCustomers(account, 25).toReversed()
  const query = 'email~"customer-"'
  const first = await stripe.customers.search({ query })
  expect(first).toMatchObject({
    object: 'search_result',
    url: '/v1/customers/search',
    has_more: true,
    next_page: expect.any(String),
  })
  expect(first).not.toHaveProperty('total_count')
  expect(first.data.map(({ id }) => id)).toEqual(ids.slice(0, 10))
  await stripe.customers.create({ email: 'customer-new@example.com' })
  await stripe.customers.del(ids[9] ?? '')
  const next = await stripe.customers.search({ query, page: first.next_page ?? '', limit: 15 })
  expect(next.data.map(({ id }) => id)).toEqual(ids.slice(10))
  expect(next).toMatchObject({ has_more: false, next_page: null })
  const all: string[] = []
  for await (const { id } of stripe.customers.search({ query, limit: 7 })) all.push(id)
  expect(all).toHaveLength(25)
})

it('refuses a page of another query', async () => {
  const { stripe, control, account } = await startFake()
  control.seedCustomers(account, 11)
  const { next_page: page } = await stripe.customers.search({ query: 'created>0' })
  for (const params of [
    { query: 'created>1', page: page ?? '' },
    { query: 'created>0', page: 'nonsense' },
  ])
    expect(await refusal(stripe.customers.search(params))).toMatchObject({ param: 'page' })
})

it('counts the matches and expands them on request', async () => {
  const { stripe } = await startWithCustomers()
  const found = await stripe.customers.search({
    query: 'metadata["level"]:"gold"',
    limit: 1,
    expand: ['total_count', 'data.sources'],
  })
  expect(found.total_count).toBe(2)
  expect(found.data).toMatchObject([{ name: 'Carla', sources: { object: 'list' } }])
  const error = await refusal(stripe.customers.list({ expand: ['total_count'] }))
  expect(error.message).toBe('This property cannot be expanded (total_count).')
})

it('finds charges by card, amount and refund', async () => {
  const { stripe, control } = await startFake()
  const pay = async () => {
    const { id } = await stripe.checkout.sessions.create(sessionParams())
    control.pay(id)
    return id
  }
  const [full, part] = [await pay(), await pay(), await pay()]
  control.refund(full)
  control.refund(part ?? '', { amount: 1 })
  const count = async (query: string) => (await stripe.charges.search({ query })).data.length
  expect(await count('refunded:"true"')).toBe(1)
  expect(await count('refunded:"false"')).toBe(1)
  expect(await count('refunded:null')).toBe(1)
  expect(await count('payment_method_details.card.last4:4242')).toBe(3)
  expect(await count('payment_method_details.card.exp_year:2034 status:"succeeded"')).toBe(3)
  expect(await count('amount>99999 AND currency:"eur"')).toBe(3)
  expect(await count('amount>100000')).toBe(0)
  expect(await count('metadata["purchase"]:"bp_1" -disputed:"true"')).toBe(3)
})

it('searches payment intents, prices, products, subscriptions and invoices', async () => {
  const { stripe } = await startFake()
  const { id: customer } = await stripe.customers.create({ source: 'tok_visa' })
  const price = await stripe.prices.create({
    currency: 'eur',
    unit_amount: 1000,
    lookup_key: 'standard monthly',
    recurring: { interval: 'month' },
    product_data: { name: 'Membership of the year', metadata: { kind: 'club' } },
  })
  const { id: subscription } = await stripe.subscriptions.create({
    customer,
    items: [{ price: price.id }],
    metadata: { team: '7' },
  })
  const found = async (page: Promise<{ data: { id: string }[] }>) => (await page).data.length
  expect(await found(stripe.paymentIntents.search({ query: `customer:"${customer}"` }))).toBe(1)
  expect(await found(stripe.paymentIntents.search({ query: '-status:"succeeded"' }))).toBe(0)
  expect(await found(stripe.prices.search({ query: 'lookup_key~"MONTHLY" active:"true"' }))).toBe(1)
  expect(await found(stripe.prices.search({ query: `product:"${idOf(price.product)}"` }))).toBe(1)
  expect(await found(stripe.products.search({ query: 'name:"of the"' }))).toBe(1)
  expect(await found(stripe.products.search({ query: 'url:null metadata["kind"]:"club"' }))).toBe(1)
  expect(await found(stripe.subscriptions.search({ query: 'metadata["team"]:"7"' }))).toBe(1)
  expect(await found(stripe.subscriptions.search({ query: '-canceled_at:null' }))).toBe(0)
  expect(await found(stripe.invoices.search({ query: `subscription:"${subscription}"` }))).toBe(1)
  expect(await found(stripe.invoices.search({ query: 'total>1000' }))).toBe(0)
  expect(await found(stripe.invoices.search({ query: 'total>=1000 status:"paid"' }))).toBe(1)
  expect(await found(stripe.invoices.search({ query: 'last_finalization_error_code:null' }))).toBe(
    1,
  )
})

it('is not taken for an object with the id "search"', async () => {
  const { control, account } = await startFake()
  const call = () => control.call(account, 'GET', '/v1/customers/search', { query: 'created>0' })
  expect(call()).toMatchObject({ object: 'search_result', data: [] })
})
