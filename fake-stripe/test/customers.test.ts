import { expect, it } from 'vitest'
import { refusal, startFake } from './fake-under-test.ts'

it('creates, changes and finds customers', async () => {
  const { stripe } = await startFake()
  const created = await stripe.customers.create({
    email: 'a@example.com',
    name: 'Sponsor A',
    address: { country: 'DE', city: 'Berlin' },
    metadata: { sponsor: 'spon_1' },
  })
  expect(created).toMatchObject({
    email: 'a@example.com',
    name: 'Sponsor A',
    address: { country: 'DE', city: 'Berlin', line1: null },
    metadata: { sponsor: 'spon_1' },
    livemode: false,
  })
  await stripe.customers.create({ email: 'b@example.com' })
  const changed = await stripe.customers.update(created.id, { name: 'Sponsor Z', address: '' })
  expect(changed).toMatchObject({ name: 'Sponsor Z', email: 'a@example.com', address: null })
  const found = await stripe.customers.list({ email: 'a@example.com' })
  expect(found.data.map(({ id }) => id)).toEqual([created.id])
})

it('sends the changed fields in the event', async () => {
  const { stripe, control, account } = await startFake()
  const { id } = await stripe.customers.create({ name: 'A', metadata: { a: '1' } })
  await stripe.customers.update(id, { name: 'B', metadata: { b: '2' } })
  const [event] = control.events({ account, type: 'customer.updated' })
  expect(event?.data).toMatchObject({ object: { name: 'B' } })
  expect(event?.data.previous_attributes).toEqual({ name: 'A', metadata: { b: null } })
})

it('keeps a deleted customer readable as deleted, out of lists and unchangeable', async () => {
  const { stripe, control, account } = await startFake()
  const { id } = await stripe.customers.create({ name: 'A' })
  const gone = { id, object: 'customer', deleted: true }
  expect(await stripe.customers.del(id)).toMatchObject(gone)
  expect(await stripe.customers.retrieve(id)).toMatchObject(gone)
  expect((await stripe.customers.list()).data).toEqual([])
  for (const call of [stripe.customers.update(id, { name: 'B' }), stripe.customers.del(id)])
    expect(await refusal(call)).toMatchObject({ statusCode: 404, code: 'resource_missing' })
  expect(control.events({ account }).map(({ type }) => type)).toEqual([
    'customer.created',
    'customer.deleted',
  ])
})

it('attaches, lists and detaches cards', async () => {
  const { stripe } = await startFake()
  const { id: customer } = await stripe.customers.create({ payment_method: 'pm_card_visa' })
  const bank = await stripe.paymentMethods.attach('pm_usBankAccount', { customer })
  const all = await stripe.paymentMethods.list({ customer })
  expect(all.data.map(({ type }) => type).toSorted()).toEqual(['card', 'us_bank_account'])
  const cards = await stripe.customers.listPaymentMethods(customer, { type: 'card' })
  expect(cards.data).toMatchObject([{ customer, card: { brand: 'visa', last4: '4242' } }])
  const { id: other } = await stripe.customers.create({})
  const taken = await refusal(stripe.paymentMethods.attach(bank.id, { customer: other }))
  expect(taken.message).toMatch(/already been attached/)
  expect((await stripe.paymentMethods.detach(bank.id)).customer).toBeNull()
  expect((await stripe.paymentMethods.list({ customer })).data).toHaveLength(1)
  expect((await refusal(stripe.paymentMethods.detach(bank.id))).message).toMatch(/not attached/)
})
