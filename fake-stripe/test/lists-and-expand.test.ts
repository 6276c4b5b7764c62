import type Stripe from 'stripe'
import { expect, it } from 'vitest'
import { type FakeUnderTest, idOf, refusal, sessionParams, startFake } from './fake-under-test.ts'

async function makeCustomers({ stripe }: FakeUnderTest, count: number): Promise<string[]> {
  const ids: string[] = []
  for (let i = 0; i < count; i++) ids.push((await stripe.customers.create({ name: `C${i}` })).id)
  return ids
}

const ids = (page: { data: { id: string }[] }) => page.data.map(({ id }) => id)

it('lists newest first, ten a page unless asked otherwise', async () => {
  const test = await startFake()
  const made = await makeCustomers(test, 12)
  const page = await test.stripe.customers.list()
  expect(page).toMatchObject({ object: 'list', has_more: true, url: '/v1/customers' })
  expect(ids(page)).toEqual(made.toReversed().slice(0, 10))
  const exact = await test.stripe.customers.list({ limit: 12 })
  expect(exact.has_more).toBe(false)
  expect(exact.data).toHaveLength(12)
})

it('pages forward and backward by cursor', async () => {
  const test = await startFake()
  const [a = '', b = '', c = '', d = '', e = ''] = await makeCustomers(test, 5)
  const { customers } = test.stripe
  const forward = await customers.list({ limit: 2, starting_after: d })
  expect([ids(forward), forward.has_more]).toEqual([[c, b], true])
  const last = await customers.list({ limit: 2, starting_after: b })
  expect([ids(last), last.has_more]).toEqual([[a], false])
  // The page before the cursor, not the first page; newest first.
  const backward = await customers.list({ limit: 2, ending_before: b })
  expect([ids(backward), backward.has_more]).toEqual([[d, c], true])
  const first = await customers.list({ limit: 2, ending_before: d })
  expect([ids(first), first.has_more]).toEqual([[e], false])
})

it.each([9, 10, 11, 99, 100, 101])(
  'gives each of %i objects once when all pages are walked',
  async (count) => {
    const { stripe, control, account } = await startFake()
    const objects = Array.from({ length: count }, (_, i) => ({
      id: `cus_${i}`,
      object: 'customer',
      created: 1000 + Math.floor(i / 7), // many in the same second
    }))
    control.put(account, objects)
    for (const limit of [10, 100]) {
      const all = await stripe.customers.list({ limit }).autoPagingToArray({ limit: 10_000 })
      expect(all.map(({ id }) => id)).toEqual(objects.map(({ id }) => id).toReversed())
    }
  },
)

it('keeps its position when objects are added and deleted between pages', async () => {
  const test = await startFake()
  const made = await makeCustomers(test, 6)
  const first = await test.stripe.customers.list({ limit: 3 })
  await makeCustomers(test, 1)
  await test.stripe.customers.del(made[3] ?? '')
  const second = await test.stripe.customers.list({ limit: 3, starting_after: made[3] ?? '' })
  expect(ids(first)).toEqual([made[5], made[4], made[3]])
  expect(ids(second)).toEqual([made[2], made[1], made[0]])
})

it('refuses a limit out of bounds, two cursors and an unknown cursor', async () => {
  const { stripe } = await startFake()
  for (const limit of [0, 101])
    expect(await refusal(stripe.customers.list({ limit }))).toMatchObject({
      code: 'parameter_invalid_integer',
      param: 'limit',
    })
  const both = await refusal(stripe.customers.list({ starting_after: 'a', ending_before: 'b' }))
  expect(both.code).toBe('parameters_exclusive')
  const never = await refusal(stripe.customers.list({ starting_after: 'cus_never' }))
  expect(never).toMatchObject({ code: 'resource_missing', param: 'starting_after' })
})

it('filters by the time of creation', async () => {
  const { stripe, control, account } = await startFake()
  const objects = [100, 200, 300].map((created) => ({
    id: `cus_${created}`,
    object: 'customer',
    created,
  }))
  control.put(account, objects)
  const list = async (created: Stripe.CustomerListParams['created']) =>
    ids(await stripe.customers.list({ created: created ?? 0 }))
  expect(await list(200)).toEqual(['cus_200'])
  expect(await list({ gte: 200 })).toEqual(['cus_300', 'cus_200'])
  expect(await list({ gt: 200 })).toEqual(['cus_300'])
  expect(await list({ lte: 200 })).toEqual(['cus_200', 'cus_100'])
  expect(await list({ gt: 100, lt: 300 })).toEqual(['cus_200'])
  const wrong = { gte: 'soon' } as unknown as Stripe.RangeQueryParam
  expect(await refusal(stripe.customers.list({ created: wrong }))).toMatchObject({
    param: 'created[gte]',
  })
})

it.each([
  ['balance_transaction', '/v1/balance_transactions'],
  ['charge', '/v1/charges'],
  ['checkout.session', '/v1/checkout/sessions'],
  ['coupon', '/v1/coupons'],
  ['customer', '/v1/customers'],
  ['dispute', '/v1/disputes'],
  ['payment_intent', '/v1/payment_intents'],
  ['payout', '/v1/payouts'],
  ['price', '/v1/prices'],
  ['product', '/v1/products'],
  ['promotion_code', '/v1/promotion_codes'],
  ['refund', '/v1/refunds'],
  ['setup_intent', '/v1/setup_intents'],
])('lists each %s newest first and by its creation', async (object, path) => {
  const { stripe, control, account } = await startFake()
  const objects = [100, 200, 300].map((created) => ({
    id: `x_${created}`,
    object,
    created,
    active: true, // prices are listed only when they are
  }))
  control.put(account, objects)
  const list = async (query: string) => {
    const answer: unknown = await stripe.rawRequest('GET', `${path}?${query}`)
    return ids(answer as { data: { id: string }[] }) // a list of the objects put above
  }
  expect(await list('limit=2')).toEqual(['x_300', 'x_200'])
  expect(await list('created[gt]=100&created[lte]=300')).toEqual(['x_300', 'x_200'])
  expect(await list('created=100')).toEqual(['x_100'])
})

it('expands references, lists and what is below them', async () => {
  const { stripe, control } = await startFake()
  const { id: customer } = await stripe.customers.create({ name: 'Sponsor' })
  const { id } = await stripe.checkout.sessions.create(sessionParams({ customer }))
  control.pay(id)
  const session = await stripe.checkout.sessions.retrieve(id, {
    expand: [
      'line_items',
      'customer',
      'payment_intent.latest_charge.balance_transaction',
      'payment_intent.payment_method',
    ],
  })
  expect(session).toMatchObject({
    line_items: { object: 'list', data: [{ quantity: 40, price: { unit_amount: 2500 } }] },
    customer: { object: 'customer', name: 'Sponsor' },
    payment_intent: {
      object: 'payment_intent',
      payment_method: { object: 'payment_method', type: 'card' },
      latest_charge: {
        object: 'charge',
        balance_transaction: { object: 'balance_transaction', amount: 100_000 },
      },
    },
  })
  const plain = await stripe.checkout.sessions.retrieve(id)
  expect(plain.customer).toBe(customer)
  expect(plain).not.toHaveProperty('line_items')
})

it('expands in lists by data.…, on creation, and from a refund up to its intent', async () => {
  const { stripe, control } = await startFake()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  const intent = idOf(control.pay(id).payment_intent)
  const refund = await stripe.refunds.create({
    payment_intent: intent,
    amount: 5,
    expand: ['charge.payment_intent'],
  })
  expect(refund).toMatchObject({ charge: { payment_intent: { id: intent } } })
  const list = await stripe.refunds.list({ expand: ['data.charge'] })
  expect(list.data[0]).toMatchObject({ charge: { object: 'charge' } })
  const created = await stripe.checkout.sessions.create(sessionParams({ expand: ['line_items'] }))
  expect(created.line_items?.data).toHaveLength(1)
})

it('keeps a reference that is null', async () => {
  const { stripe } = await startFake()
  const session = await stripe.checkout.sessions.create(
    sessionParams({ expand: ['payment_intent.latest_charge'] }),
  )
  expect(session.payment_intent).toBeNull()
})

it('refuses an invalid expand before anything is created', async () => {
  const { stripe } = await startFake()
  const create = (path: string) =>
    refusal(stripe.checkout.sessions.create(sessionParams({ expand: [path] })))
  expect((await create('status')).message).toBe('This property cannot be expanded (status).')
  expect((await create('payment_intent.nothing')).message).toBe(
    'This property cannot be expanded (payment_intent.nothing).',
  )
  expect((await create('data.customer')).message).toMatch(/cannot be expanded/)
  expect((await create('a.b.c.d.e')).message).toMatch(/more than 4 levels/)
  expect((await stripe.checkout.sessions.list()).data).toEqual([])
})
