import { expect, it } from 'vitest'
import { refusal, startFake } from './fake-under-test.ts'

const NEW_YEAR = Date.UTC(2027, 0, 1) / 1000
const DAY = 24 * 60 * 60

it('stands still until it is advanced, and sends events', async () => {
  const { stripe, control, account } = await startFake()
  const clock = await stripe.testHelpers.testClocks.create({
    frozen_time: NEW_YEAR,
    name: 'Renewals',
  })
  expect(clock).toMatchObject({
    object: 'test_helpers.test_clock',
    frozen_time: NEW_YEAR,
    status: 'ready',
    name: 'Renewals',
    livemode: false,
  })
  const target = NEW_YEAR + 30 * DAY
  const advancing = await stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: target })
  expect(advancing).toMatchObject({
    status: 'advancing',
    status_details: { advancing: { target_frozen_time: target } },
  })
  expect(await stripe.testHelpers.testClocks.retrieve(clock.id)).toMatchObject({
    status: 'ready',
    frozen_time: target,
  })
  expect(control.events({ account }).map(({ type }) => type)).toEqual([
    'test_helpers.test_clock.created',
    'test_helpers.test_clock.advancing',
    'test_helpers.test_clock.ready',
  ])
})

it('can only be advanced, by two years at most', async () => {
  const { stripe } = await startFake()
  const { id } = await stripe.testHelpers.testClocks.create({ frozen_time: NEW_YEAR })
  for (const frozen_time of [NEW_YEAR, NEW_YEAR - DAY, NEW_YEAR + 800 * DAY]) {
    const call = stripe.testHelpers.testClocks.advance(id, { frozen_time })
    expect(await refusal(call)).toMatchObject({ statusCode: 400, param: 'frozen_time' })
  }
  const unknown = stripe.testHelpers.testClocks.advance('clock_none', { frozen_time: NEW_YEAR })
  expect(await refusal(unknown)).toMatchObject({ statusCode: 404 })
})

it('dates its customers with its own time and keeps them out of other lists', async () => {
  const { stripe } = await startFake()
  const { id: clock } = await stripe.testHelpers.testClocks.create({ frozen_time: NEW_YEAR })
  const timed = await stripe.customers.create({ test_clock: clock })
  const plain = await stripe.customers.create({})
  expect(timed).toMatchObject({ test_clock: clock, created: NEW_YEAR })
  const ids = async (params: object) =>
    (await stripe.customers.list(params)).data.map(({ id }) => id)
  expect(await ids({})).toEqual([plain.id])
  expect(await ids({ test_clock: clock })).toEqual([timed.id])
  const unknown = stripe.customers.create({ test_clock: 'clock_none' })
  expect(await refusal(unknown)).toMatchObject({ code: 'resource_missing', param: 'test_clock' })
  const { id } = await stripe.testHelpers.testClocks.create({ frozen_time: 1, customer: plain.id })
  expect(await ids({ test_clock: id })).toEqual([plain.id])
})

it('deletes everything that belongs to its customers', async () => {
  const { stripe, control, account } = await startFake()
  const { id: clock } = await stripe.testHelpers.testClocks.create({ frozen_time: NEW_YEAR })
  const { id } = await stripe.customers.create({ test_clock: clock, source: 'tok_visa' })
  const setup = await stripe.setupIntents.create({ customer: id })
  const [method] = (await stripe.paymentMethods.list({ customer: id })).data
  expect(await stripe.testHelpers.testClocks.del(clock)).toMatchObject({
    id: clock,
    object: 'test_helpers.test_clock',
    deleted: true,
  })
  expect(await stripe.customers.retrieve(id)).toMatchObject({ deleted: true })
  for (const call of [
    stripe.testHelpers.testClocks.retrieve(clock),
    stripe.setupIntents.retrieve(setup.id),
    stripe.paymentMethods.retrieve(method?.id ?? ''),
  ])
    expect(await refusal(call)).toMatchObject({ statusCode: 404, code: 'resource_missing' })
  expect((await stripe.testHelpers.testClocks.list()).data).toEqual([])
  const types = control.events({ account }).map(({ type }) => type)
  expect(types).toContain('customer.deleted')
  expect(types.at(-1)).toBe('test_helpers.test_clock.deleted')
})
