import type Stripe from 'stripe'
import { expect, it } from 'vitest'
import { idOf, refusal, sessionParams, startFake } from './fake-under-test.ts'

const MINUTE = 60
const HOUR = 60 * MINUTE

function lineOf(currency: string, unitAmount: number, quantity = 1) {
  const product_data = { name: 'Voucher' }
  return { quantity, price_data: { currency, unit_amount: unitAmount, product_data } }
}

const line_items = (currency: string, unitAmount: number, quantity = 1) => [
  lineOf(currency, unitAmount, quantity),
]

it('opens a session with the merchant’s parameters and without a payment intent', async () => {
  const { stripe, fake } = await startFake()
  const session = await stripe.checkout.sessions.create(
    sessionParams({
      adaptive_pricing: { enabled: false },
      allow_promotion_codes: false,
      customer_email: 'sponsor@example.com',
      invoice_creation: { enabled: true, invoice_data: { description: 'Vouchers' } },
      tax_id_collection: { enabled: true },
    }),
  )
  expect(session).toMatchObject({
    object: 'checkout.session',
    adaptive_pricing: { enabled: false },
    allow_promotion_codes: false,
    amount_subtotal: 100_000,
    amount_total: 100_000,
    client_reference_id: 'bp_1',
    currency: 'eur',
    customer_email: 'sponsor@example.com',
    invoice_creation: { enabled: true, invoice_data: { description: 'Vouchers' } },
    livemode: false,
    metadata: { purchase: 'bp_1' },
    mode: 'payment',
    payment_intent: null,
    payment_status: 'unpaid',
    status: 'open',
    success_url: 'https://shop.example/thanks?session={CHECKOUT_SESSION_ID}',
    tax_id_collection: { enabled: true, required: 'never' },
    url: `${fake.url}/c/pay/${session.id}`,
  })
  expect(session.expires_at - session.created).toBe(24 * HOUR)
})

it('computes the total of the lines and lists them in order', async () => {
  const { stripe } = await startFake()
  const lines = Array.from({ length: 12 }, (_, i) => lineOf('usd', 100 + i, i + 1))
  const { id, amount_total } = await stripe.checkout.sessions.create(
    sessionParams({ line_items: lines }),
  )
  expect(amount_total).toBe(
    lines.reduce((sum, line) => sum + line.price_data.unit_amount * line.quantity, 0),
  )
  const first = await stripe.checkout.sessions.listLineItems(id)
  expect(first.data.map(({ quantity }) => quantity)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  expect(first.has_more).toBe(true)
  const all = await stripe.checkout.sessions.listLineItems(id).autoPagingToArray({ limit: 100 })
  expect(all).toHaveLength(12)
  expect(all[11]).toMatchObject({ amount_total: 111 * 12, description: 'Voucher', currency: 'usd' })
})

it('rounds fractions of the smallest unit per line', async () => {
  const { stripe } = await startFake()
  const price = { currency: 'usd', unit_amount_decimal: '12.5', product_data: { name: 'x' } }
  const session = await stripe.checkout.sessions.create(
    // The SDK's type is Decimal; the request contains this text.
    sessionParams({ line_items: [{ quantity: 10, price_data: price as never }] }),
  )
  expect(session.amount_total).toBe(125)
})

it.each([
  ['usd', 49, /at least \$0\.50 usd$/],
  ['eur', 49, /at least €0\.50 eur$/],
  ['gbp', 29, /at least £0\.30 gbp$/],
  ['jpy', 49, /at least ¥50 jpy$/],
  ['huf', 17_499, /at least HUF\s175\.00 huf$/],
])('refuses a total below the minimum charge of %s', async (currency, amount, message) => {
  const { stripe } = await startFake()
  const error = await refusal(
    stripe.checkout.sessions.create(sessionParams({ line_items: line_items(currency, amount) })),
  )
  expect(error).toMatchObject({ statusCode: 400, code: 'amount_too_small' })
  expect(error.message).toMatch(message)
  const enough = sessionParams({ line_items: line_items(currency, amount + 1) })
  expect((await stripe.checkout.sessions.create(enough)).status).toBe('open')
})

it('accepts amounts of at most eight digits', async () => {
  const { stripe } = await startFake()
  const most = sessionParams({ line_items: line_items('usd', 33_333_333, 3) })
  expect((await stripe.checkout.sessions.create(most)).amount_total).toBe(99_999_999)
  const error = await refusal(
    stripe.checkout.sessions.create(
      sessionParams({ line_items: line_items('usd', 50_000_000, 2) }),
    ),
  )
  expect(error).toMatchObject({ code: 'amount_too_large' })
  expect(error.message).toBe(
    "The Checkout Session's total amount due must be no more than $999,999.99.",
  )
})

it('accepts three-decimal currencies in steps of ten and ISK in whole krónur', async () => {
  const { stripe } = await startFake()
  const create = (currency: string, amount: number) =>
    stripe.checkout.sessions.create(sessionParams({ line_items: line_items(currency, amount) }))
  expect((await create('kwd', 1250)).amount_total).toBe(1250)
  expect((await refusal(create('kwd', 1255))).message).toMatch(/multiple of 10/)
  expect((await create('isk', 500)).amount_total).toBe(500)
  expect((await refusal(create('isk', 550))).message).toMatch(/multiple of 100/)
})

it('refuses lines in two currencies, no lines, too many lines and lines without a quantity', async () => {
  const { stripe } = await startFake()
  const create = (items: Stripe.Checkout.SessionCreateParams.LineItem[]) =>
    refusal(stripe.checkout.sessions.create(sessionParams({ line_items: items })))
  const mixed = await create([lineOf('eur', 500), lineOf('usd', 500)])
  expect(mixed.message).toMatch(/only supports `usd`.*expected currency: `eur`/)
  expect(await create([])).toMatchObject({ code: 'parameter_missing', param: 'line_items' })
  const many = await create(Array.from({ length: 101 }, () => lineOf('eur', 100)))
  expect(many.message).toMatch(/at most 100/)
  const { quantity: _, ...unquantified } = lineOf('eur', 500)
  expect(await create([unquantified])).toMatchObject({
    code: 'parameter_missing',
    param: 'line_items[0][quantity]',
  })
  expect(await create([lineOf('eur', 500, 0)])).toMatchObject({
    code: 'parameter_invalid_integer',
    param: 'line_items[0][quantity]',
  })
  expect(await create([lineOf('eur', -1)])).toMatchObject({
    code: 'parameter_invalid_integer',
    param: 'line_items[0][price_data][unit_amount]',
  })
  const unknownPrice = await create([{ quantity: 1, price: 'price_none' }])
  expect(unknownPrice.message).toBe("No such price: 'price_none'")
})

it('accepts an expiry from 30 minutes to 24 hours after creation', async () => {
  const { stripe, control } = await startFake()
  const now = () => Math.floor(control.clock.now().getTime() / 1000)
  const create = (seconds: number) =>
    stripe.checkout.sessions.create(sessionParams({ expires_at: now() + seconds }))
  const short = await refusal(create(29 * MINUTE))
  expect(short).toMatchObject({ param: 'expires_at', statusCode: 400 })
  expect(short.message).toBe(
    'The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.',
  )
  const long = await refusal(create(24 * HOUR + 5))
  expect(long.message).toBe(
    'The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.',
  )
  const session = await create(31 * MINUTE)
  expect(session.expires_at - session.created).toBeGreaterThanOrEqual(31 * MINUTE - 1)
})

it('refuses invalid URLs, long references and two kinds of customer', async () => {
  const { stripe } = await startFake()
  const create = (changes: Partial<Stripe.Checkout.SessionCreateParams>) =>
    refusal(stripe.checkout.sessions.create(sessionParams(changes)))
  expect(await create({ success_url: 'shop.example' })).toMatchObject({
    code: 'url_invalid',
    param: 'success_url',
    message: 'Not a valid URL',
  })
  const reference = await create({ client_reference_id: 'x'.repeat(201) })
  expect(reference.message).toMatch(/must be at most 200 characters/)
  const { id: customer } = await stripe.customers.create({})
  expect(await create({ customer, customer_email: 'a@example.com' })).toMatchObject({
    code: 'parameters_exclusive',
  })
  expect((await create({ customer: 'cus_none' })).message).toBe("No such customer: 'cus_none'")
})

it('accepts a total of zero, and completes the session without a payment intent', async () => {
  const { stripe, control } = await startFake()
  const open = await stripe.checkout.sessions.create(
    sessionParams({ line_items: line_items('eur', 0) }),
  )
  expect(open.payment_status).toBe('no_payment_required')
  expect(control.pay(open.id)).toMatchObject({
    status: 'complete',
    payment_status: 'no_payment_required',
    payment_intent: null,
  })
})

it('expires only an open session, once', async () => {
  const { stripe, control, account } = await startFake()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  const expired = await stripe.checkout.sessions.expire(id)
  expect(expired).toMatchObject({ status: 'expired', url: null })
  expect(control.events({ account }).map(({ type }) => type)).toEqual(['checkout.session.expired'])
  const again = await refusal(stripe.checkout.sessions.expire(id))
  expect(again.message).toBe(
    'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of `expired`.',
  )
  const paid = await stripe.checkout.sessions.create(sessionParams())
  control.pay(paid.id)
  expect((await refusal(stripe.checkout.sessions.expire(paid.id))).message).toMatch(/`complete`/)
})

it('expires by the clock, and cancels the intent of an earlier decline', async () => {
  const { stripe, control, account } = await startFake()
  const untouched = await stripe.checkout.sessions.create(sessionParams())
  const declined = await stripe.checkout.sessions.create(sessionParams())
  const paid = await stripe.checkout.sessions.create(sessionParams())
  control.decline(declined.id)
  control.pay(paid.id)
  control.clock.advance(24 * HOUR - 10)
  expect((await stripe.checkout.sessions.retrieve(untouched.id)).status).toBe('open')
  control.clock.advance(60)
  expect((await stripe.checkout.sessions.retrieve(untouched.id)).status).toBe('expired')
  expect((await stripe.checkout.sessions.retrieve(paid.id)).status).toBe('complete')
  const session = await stripe.checkout.sessions.retrieve(declined.id, {
    expand: ['payment_intent'],
  })
  expect(session).toMatchObject({
    status: 'expired',
    payment_intent: { status: 'canceled', cancellation_reason: 'expired' },
  })
  const [first] = control.events({ account, type: 'checkout.session.expired' })
  expect(first?.created).toBe(untouched.expires_at)
  expect(first?.request).toEqual({ id: null, idempotency_key: null })
})

it('finds the session of a payment intent', async () => {
  const { stripe, control } = await startFake()
  await stripe.checkout.sessions.create(sessionParams())
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  const paid = control.pay(id)
  const found = await stripe.checkout.sessions.list({ payment_intent: idOf(paid.payment_intent) })
  expect(found.data.map((session) => session.id)).toEqual([id])
  expect((await stripe.checkout.sessions.list({ status: 'open' })).data).toHaveLength(1)
  const none = await stripe.checkout.sessions.list({ payment_intent: 'pi_none' })
  expect(none.data).toEqual([])
})

it('saves a card in setup mode', async () => {
  const { stripe, control } = await startFake()
  const { id: customer } = await stripe.customers.create({ email: 'a@example.com' })
  const session = await stripe.checkout.sessions.create({
    mode: 'setup',
    currency: 'eur',
    customer,
    setup_intent_data: { metadata: { sponsor: 'spon_1' } },
    success_url: 'https://shop.example/',
  })
  expect(session).toMatchObject({ amount_total: null, payment_status: 'no_payment_required' })
  control.pay(session.id)
  const intent = await stripe.setupIntents.retrieve(idOf(session.setup_intent))
  expect(intent).toMatchObject({ status: 'succeeded', metadata: { sponsor: 'spon_1' } })
  const saved = await stripe.customers.listPaymentMethods(customer)
  expect(saved.data.map(({ id }) => id)).toEqual([intent.payment_method])
  const error = await refusal(
    stripe.checkout.sessions.create({ ...sessionParams(), mode: 'setup' }),
  )
  expect(error.message).toMatch(/You can not pass `.*` in `setup` mode/)
})

it('changes a session’s metadata', async () => {
  const { stripe } = await startFake()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  const changed = await stripe.checkout.sessions.update(id, { metadata: { note: 'x' } })
  expect(changed.metadata).toEqual({ purchase: 'bp_1', note: 'x' })
})
