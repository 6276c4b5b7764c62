import type Stripe from 'stripe'
import { expect, it } from 'vitest'
import { type FakeUnderTest, idOf, refusal, startFake } from './fake-under-test.ts'

function types({ control, account }: FakeUnderTest): string[] {
  return control.events({ account }).map(({ type }) => type)
}

async function customerWithCard(test: FakeUnderTest) {
  const { id } = await test.stripe.customers.create({ name: 'Sponsor' })
  const card = await test.stripe.customers.createSource(id, { source: 'tok_visa' })
  return { customer: id, card: card as Stripe.Card } // a test token always makes a card
}

it('saves the card of a token, makes the first one the default, and sends both events', async () => {
  const test = await startFake()
  const { customer, card } = await customerWithCard(test)
  expect(card).toMatchObject({ object: 'card', brand: 'Visa', last4: '4242', customer })
  expect(card.id).toMatch(/^card_/)
  await test.stripe.customers.createSource(customer, { source: 'tok_mastercard' })
  expect(await test.stripe.customers.retrieve(customer)).toMatchObject({ default_source: card.id })
  expect(types(test)).toEqual([
    'customer.created',
    'customer.source.created',
    'payment_method.attached',
    'customer.updated',
    'customer.source.created',
    'payment_method.attached',
  ])
})

it('lists, changes and deletes the cards of one customer only', async () => {
  const test = await startFake()
  const { stripe } = test
  const { customer, card } = await customerWithCard(test)
  const other = await customerWithCard(test)
  const list = await stripe.customers.listSources(customer, { object: 'card' })
  expect(list).toMatchObject({ url: `/v1/customers/${customer}/sources`, data: [{ id: card.id }] })
  expect((await stripe.customers.listSources(customer, { object: 'bank_account' })).data).toEqual(
    [],
  )
  const changed = await stripe.customers.updateSource(customer, card.id, {
    name: 'Ada',
    exp_month: '3',
    exp_year: '2040',
    address_zip: '10115',
    metadata: { a: '1' },
  })
  expect(changed).toMatchObject({ name: 'Ada', exp_month: 3, exp_year: 2040, metadata: { a: '1' } })
  const foreign = stripe.customers.retrieveSource(customer, other.card.id)
  expect(await refusal(foreign)).toMatchObject({ statusCode: 404, code: 'resource_missing' })
  expect(await stripe.customers.deleteSource(customer, card.id)).toMatchObject({
    id: card.id,
    object: 'card',
    deleted: true,
  })
  const gone = stripe.customers.retrieveSource(customer, card.id)
  expect(await refusal(gone)).toMatchObject({ statusCode: 404, code: 'resource_missing' })
})

it('shows a card as a payment method with the same id; a change of one changes both', async () => {
  const test = await startFake()
  const { stripe } = test
  const { customer, card } = await customerWithCard(test)
  expect(await stripe.paymentMethods.retrieve(card.id)).toMatchObject({
    id: card.id,
    object: 'payment_method',
    type: 'card',
    customer,
    card: { last4: '4242', brand: 'visa' },
  })
  const listed = await stripe.paymentMethods.list({ customer, type: 'card' })
  expect(listed.data.map(({ id }) => id)).toEqual([card.id])
  await stripe.customers.updateSource(customer, card.id, { name: 'Ada', address_city: 'Berlin' })
  expect(await stripe.paymentMethods.retrieve(card.id)).toMatchObject({
    billing_details: { name: 'Ada', address: { city: 'Berlin' } },
  })
  await stripe.paymentMethods.update(card.id, { card: { exp_month: 5, exp_year: 2041 } })
  expect(await stripe.customers.retrieveSource(customer, card.id)).toMatchObject({
    object: 'card',
    exp_month: 5,
    exp_year: 2041,
    name: 'Ada',
  })
  expect(types(test).slice(-4)).toEqual([
    'customer.source.updated',
    'payment_method.updated',
    'payment_method.updated',
    'customer.source.updated',
  ])
})

it('expands default_source to the card and a payment_method to the payment method', async () => {
  const test = await startFake()
  const { customer, card } = await customerWithCard(test)
  const expanded = await test.stripe.customers.retrieve(customer, {
    expand: ['default_source', 'sources'],
  })
  expect(expanded).toMatchObject({
    default_source: { object: 'card', id: card.id },
    sources: { object: 'list', has_more: false, data: [{ id: card.id }] },
  })
  const intent = await test.stripe.paymentIntents.create({
    amount: 1000,
    currency: 'eur',
    customer,
    payment_method: card.id,
    confirm: true,
    expand: ['payment_method'],
  })
  expect(intent).toMatchObject({
    status: 'succeeded',
    payment_method: { object: 'payment_method', id: card.id },
  })
})

it('accepts a source on creation and replaces the default one on update', async () => {
  const test = await startFake()
  const { stripe } = test
  const created = await stripe.customers.create({ source: 'tok_visa' })
  const first = idOf(created.default_source)
  expect(first).toMatch(/^card_/)
  const updated = await stripe.customers.update(created.id, { source: 'tok_amex' })
  const second = idOf(updated.default_source)
  expect(second).not.toBe(first)
  const left = await stripe.customers.listSources(created.id)
  expect(left.data).toMatchObject([{ id: second, brand: 'American Express' }])
  const third = await stripe.customers.createSource(created.id, { source: 'tok_visa' })
  const switched = await stripe.customers.update(created.id, { default_source: third.id })
  expect(switched.default_source).toBe(third.id)
  const unknown = stripe.customers.update(created.id, { default_source: first })
  expect(await refusal(unknown)).toMatchObject({ code: 'resource_missing' })
  await stripe.customers.deleteSource(created.id, third.id)
  expect(await stripe.customers.retrieve(created.id)).toMatchObject({ default_source: second })
})

it('refuses unknown tokens, and cards that their bank declines', async () => {
  const test = await startFake()
  const { id } = await test.stripe.customers.create({})
  const unknown = test.stripe.customers.createSource(id, { source: 'tok_none' })
  expect(await refusal(unknown)).toMatchObject({ message: "No such token: 'tok_none'" })
  const declined = test.stripe.customers.createSource(id, { source: 'tok_chargeDeclined' })
  expect(await refusal(declined)).toMatchObject({
    statusCode: 402,
    type: 'StripeCardError',
    code: 'card_declined',
    decline_code: 'generic_decline',
  })
  expect((await test.stripe.customers.listSources(id)).data).toEqual([])
  const saved = await test.stripe.customers.createSource(id, { source: 'tok_chargeCustomerFail' })
  expect(saved).toMatchObject({ last4: '0341' })
})

it('detaches the saved methods of a deleted customer, with an event for each', async () => {
  const test = await startFake()
  const { stripe } = test
  const { customer, card } = await customerWithCard(test)
  const bank = await stripe.paymentMethods.attach('pm_usBankAccount', { customer })
  const before = types(test).length
  await stripe.customers.del(customer)
  expect(types(test).slice(before)).toEqual([
    'payment_method.detached',
    'customer.source.deleted',
    'payment_method.detached',
    'customer.deleted',
  ])
  for (const id of [card.id, bank.id])
    expect((await stripe.paymentMethods.retrieve(id)).customer).toBeNull()
  const list = stripe.customers.listPaymentMethods(customer)
  expect(await refusal(list)).toMatchObject({ statusCode: 404, code: 'resource_missing' })
})
