import { expect, it } from 'vitest'
import { refusal, startFake } from './fake-under-test.ts'

const NEW_CARD = { number: '5555555555554444', exp_month: 7, exp_year: 2040, cvc: '123' }

it('creates payment methods from test card numbers and tokens, unattached and without an event', async () => {
  const { stripe, control, account } = await startFake()
  const method = await stripe.paymentMethods.create({
    type: 'card',
    card: NEW_CARD,
    billing_details: { name: 'Ada', address: { country: 'DE' } },
    metadata: { a: '1' },
  })
  expect(method).toMatchObject({
    customer: null,
    billing_details: { name: 'Ada', email: null, address: { country: 'DE', city: null } },
    card: { brand: 'mastercard', last4: '4444', exp_month: 7, exp_year: 2040 },
    metadata: { a: '1' },
  })
  const token = await stripe.paymentMethods.create({ type: 'card', card: { token: 'tok_amex' } })
  expect(token.card).toMatchObject({ brand: 'amex', last4: '0005' })
  expect(control.events({ account })).toEqual([])
  const wrong = { ...NEW_CARD, number: '4242424242424241' }
  expect(await refusal(stripe.paymentMethods.create({ type: 'card', card: wrong }))).toMatchObject({
    type: 'StripeCardError',
    code: 'incorrect_number',
  })
  const missing = stripe.paymentMethods.create({ type: 'card' })
  expect(await refusal(missing)).toMatchObject({ code: 'parameter_missing', param: 'card' })
})

it('changes a saved payment method and sends the changed fields', async () => {
  const { stripe, control, account } = await startFake()
  const { id } = await stripe.paymentMethods.create({ type: 'card', card: NEW_CARD })
  const early = stripe.paymentMethods.update(id, { metadata: { a: '1' } })
  expect((await refusal(early)).message).toMatch(/save this PaymentMethod to a customer/)
  const { id: customer } = await stripe.customers.create({})
  await stripe.paymentMethods.attach(id, { customer })
  const updated = await stripe.paymentMethods.update(id, {
    card: { exp_month: 8 },
    billing_details: { email: 'a@example.com' },
    metadata: { a: '1' },
  })
  expect(updated).toMatchObject({
    card: { exp_month: 8, exp_year: 2040 },
    billing_details: { email: 'a@example.com' },
    metadata: { a: '1' },
  })
  const [event] = control.events({ account, type: 'payment_method.updated' })
  expect(event?.data.previous_attributes).toEqual({
    card: { exp_month: 7 },
    billing_details: { email: null },
    metadata: { a: null },
  })
})

it('simulates the card network that replaces a saved card', async () => {
  const { stripe, control, account } = await startFake()
  const { id: customer } = await stripe.customers.create({ source: 'tok_visa' })
  const [card] = (await stripe.paymentMethods.list({ customer })).data
  control.renewCard(card?.id ?? '', { exp_year: 2044, last4: '1881' })
  const renewed = await stripe.paymentMethods.retrieve(card?.id ?? '')
  expect(renewed.card).toMatchObject({ exp_year: 2044, last4: '1881' })
  const [source] = (await stripe.customers.listSources(customer)).data
  expect(source).toMatchObject({ exp_year: 2044, last4: '1881' })
  expect(control.events({ account, type: 'payment_method.automatically_updated' })).toHaveLength(1)
  const bank = await stripe.paymentMethods.attach('pm_sepaDebit', { customer })
  expect(() => control.renewCard(bank.id)).toThrow(/no card/)
})

it('reads and lists the methods of one customer', async () => {
  const { stripe } = await startFake()
  const { id: customer } = await stripe.customers.create({})
  const { id: other } = await stripe.customers.create({})
  const mine = await stripe.paymentMethods.attach('pm_card_visa', { customer })
  expect(await stripe.customers.retrievePaymentMethod(customer, mine.id)).toMatchObject({
    id: mine.id,
    customer,
  })
  const foreign = stripe.customers.retrievePaymentMethod(other, mine.id)
  expect(await refusal(foreign)).toMatchObject({ statusCode: 404, code: 'resource_missing' })
  const list = await stripe.customers.listPaymentMethods(customer)
  expect(list).toMatchObject({
    url: `/v1/customers/${customer}/payment_methods`,
    data: [{ id: mine.id }],
  })
  expect((await stripe.customers.listPaymentMethods(other)).data).toEqual([])
  const unknown = stripe.customers.listPaymentMethods('cus_none')
  expect(await refusal(unknown)).toMatchObject({ statusCode: 404 })
})

it('removes a detached method from the defaults of its customer', async () => {
  const { stripe, control, account } = await startFake()
  const { id: customer } = await stripe.customers.create({})
  const { id } = await stripe.paymentMethods.attach('pm_card_visa', { customer })
  const settings = { default_payment_method: id }
  await stripe.customers.update(customer, { invoice_settings: settings })
  const expanded = await stripe.customers.retrieve(customer, {
    expand: ['invoice_settings.default_payment_method'],
  })
  expect(expanded).toMatchObject({ invoice_settings: { default_payment_method: { id } } })
  await stripe.paymentMethods.detach(id)
  expect(await stripe.customers.retrieve(customer)).toMatchObject({
    invoice_settings: { default_payment_method: null },
  })
  const types = control.events({ account }).map(({ type }) => type)
  expect(types.slice(-2)).toEqual(['payment_method.detached', 'customer.updated'])
})
