import { expect, it } from 'vitest'
import { type FakeUnderTest, idOf, refusal, sessionParams, startFake } from './fake-under-test.ts'

async function openSession({ stripe }: FakeUnderTest, changes = {}) {
  const session = await stripe.checkout.sessions.create(sessionParams(changes))
  return session.id
}

function typesOf({ control, account }: FakeUnderTest): string[] {
  return control.events({ account }).map(({ type }) => type)
}

it('pays: session complete, intent and charge succeeded, events in order', async () => {
  const test = await startFake()
  const id = await openSession(test)
  test.control.pay(id, { email: 'payer@example.com', name: 'Pat' })
  const session = await test.stripe.checkout.sessions.retrieve(id, {
    expand: ['payment_intent.latest_charge'],
  })
  expect(session).toMatchObject({
    status: 'complete',
    payment_status: 'paid',
    url: null,
    customer_details: { email: 'payer@example.com', name: 'Pat' },
    payment_intent: {
      status: 'succeeded',
      amount: 100_000,
      amount_received: 100_000,
      currency: 'eur',
      metadata: { purchase: 'bp_1' },
      description: '40 vouchers',
      latest_charge: {
        status: 'succeeded',
        paid: true,
        amount: 100_000,
        amount_captured: 100_000,
        amount_refunded: 0,
        metadata: { purchase: 'bp_1' },
        description: '40 vouchers',
        billing_details: { email: 'payer@example.com', name: 'Pat' },
      },
    },
  })
  expect(typesOf(test)).toEqual([
    'payment_intent.created',
    'charge.succeeded',
    'payment_intent.succeeded',
    'checkout.session.completed',
  ])
})

it('declines: the session stays open and the same intent is paid in the end', async () => {
  const test = await startFake()
  const id = await openSession(test)
  test.control.decline(id, 'insufficient_funds')
  const open = await test.stripe.checkout.sessions.retrieve(id, { expand: ['payment_intent'] })
  expect(open).toMatchObject({
    status: 'open',
    payment_status: 'unpaid',
    payment_intent: {
      status: 'requires_payment_method',
      last_payment_error: {
        type: 'card_error',
        code: 'card_declined',
        decline_code: 'insufficient_funds',
        message: 'Your card has insufficient funds.',
      },
    },
  })
  expect(typesOf(test)).toEqual([
    'payment_intent.created',
    'charge.failed',
    'payment_intent.payment_failed',
  ])
  const paid = test.control.pay(id)
  expect(idOf(paid.payment_intent)).toBe(idOf(open.payment_intent))
  const charges = await test.stripe.charges.list({ payment_intent: idOf(paid.payment_intent) })
  expect(charges.data.map(({ status, failure_code }) => [status, failure_code])).toEqual([
    ['succeeded', null],
    ['failed', 'card_declined'],
  ])
  expect(typesOf(test).filter((type) => type === 'payment_intent.created')).toHaveLength(1)
})

it('pays later by bank debit, which succeeds', async () => {
  const test = await startFake()
  const id = await openSession(test)
  const unpaid = test.control.payLater(id)
  expect(unpaid).toMatchObject({ status: 'complete', payment_status: 'unpaid' })
  const intent = await test.stripe.paymentIntents.retrieve(idOf(unpaid.payment_intent), {
    expand: ['latest_charge'],
  })
  expect(intent).toMatchObject({
    status: 'processing',
    amount_received: 0,
    latest_charge: {
      status: 'pending',
      paid: false,
      payment_method_details: { type: 'sepa_debit' },
    },
  })
  expect(typesOf(test)).toEqual([
    'payment_intent.created',
    'charge.pending',
    'payment_intent.processing',
    'checkout.session.completed',
  ])
  test.control.settle(id)
  expect(await test.stripe.checkout.sessions.retrieve(id)).toMatchObject({ payment_status: 'paid' })
  expect(typesOf(test).slice(4)).toEqual([
    'charge.succeeded',
    'payment_intent.succeeded',
    'checkout.session.async_payment_succeeded',
  ])
  expect(() => test.control.settle(id)).toThrow(/succeeded, not processing/)
})

it('pays later by bank debit, which fails', async () => {
  const test = await startFake()
  const id = await openSession(test)
  const { payment_intent: intent } = test.control.payLater(id)
  test.control.failAsync(idOf(intent))
  expect(await test.stripe.checkout.sessions.retrieve(id)).toMatchObject({
    status: 'complete',
    payment_status: 'unpaid',
  })
  const { data } = await test.stripe.charges.list({ payment_intent: idOf(intent) })
  expect(data).toMatchObject([{ status: 'failed', failure_code: 'insufficient_funds' }])
  expect(typesOf(test).slice(4)).toEqual([
    'charge.failed',
    'payment_intent.payment_failed',
    'checkout.session.async_payment_failed',
  ])
})

it('waits for a bank transfer that arrives in two parts', async () => {
  const test = await startFake()
  const id = await openSession(test)
  const { payment_intent: intent } = test.control.payLater(id, { method: 'customer_balance' })
  const waiting = await test.stripe.paymentIntents.retrieve(idOf(intent))
  expect(waiting).toMatchObject({
    status: 'requires_action',
    next_action: { display_bank_transfer_instructions: { amount_remaining: 100_000 } },
  })
  test.control.fundPartially(id, 30_000)
  expect(await test.stripe.paymentIntents.retrieve(idOf(intent))).toMatchObject({
    status: 'requires_action',
    next_action: { display_bank_transfer_instructions: { amount_remaining: 70_000 } },
  })
  expect(await test.stripe.checkout.sessions.retrieve(id)).toMatchObject({
    payment_status: 'unpaid',
  })
  test.control.fundPartially(id, 70_000)
  expect(await test.stripe.checkout.sessions.retrieve(id)).toMatchObject({ payment_status: 'paid' })
  expect(typesOf(test)).toEqual([
    'payment_intent.created',
    'payment_intent.requires_action',
    'checkout.session.completed',
    'payment_intent.partially_funded',
    'charge.succeeded',
    'payment_intent.succeeded',
    'checkout.session.async_payment_succeeded',
  ])
})

it('simulates a payment of another amount and currency', async () => {
  const test = await startFake()
  const id = await openSession(test)
  const paid = test.control.pay(id, { amount: 1, currency: 'jpy' })
  expect(paid).toMatchObject({ amount_total: 1, currency: 'jpy', payment_status: 'paid' })
  const intent = await test.stripe.paymentIntents.retrieve(idOf(paid.payment_intent))
  expect(intent).toMatchObject({ amount: 1, amount_received: 1, currency: 'jpy' })
})

it('refuses to pay a session that is not open', async () => {
  const test = await startFake()
  const id = await openSession(test)
  test.control.pay(id)
  expect(() => test.control.pay(id)).toThrow(/is complete/)
  expect(() => test.control.decline(id)).toThrow(/is complete/)
  expect(() => test.control.payLater(id)).toThrow(/is complete/)
  expect(() => test.control.pay('cs_test_none')).toThrow(/There is no object/)
})

it('creates a customer when the session asks for one', async () => {
  const test = await startFake()
  const id = await openSession(test, { customer_creation: 'always' })
  const paid = test.control.pay(id, { email: 'new@example.com' })
  const customer = await test.stripe.customers.retrieve(idOf(paid.customer))
  expect(customer).toMatchObject({ email: 'new@example.com' })
})

it('saves the card with the customer when the session asks for it', async () => {
  const test = await startFake()
  const { id: customer } = await test.stripe.customers.create({})
  const id = await openSession(test, {
    customer,
    payment_intent_data: { setup_future_usage: 'off_session' },
  })
  test.control.pay(id)
  const { data } = await test.stripe.paymentMethods.list({ customer, type: 'card' })
  const again = await test.stripe.paymentIntents.create({
    amount: 500,
    currency: 'eur',
    customer,
    payment_method: data[0]?.id ?? '',
    off_session: true,
    confirm: true,
  })
  expect(again.status).toBe('succeeded')
  const once = await openSession(test, { customer })
  test.control.pay(once)
  expect((await test.stripe.paymentMethods.list({ customer })).data).toHaveLength(1)
})

it('records the charge with Stripe’s fee', async () => {
  const test = await startFake()
  const paid = test.control.pay(await openSession(test))
  const { data } = await test.stripe.charges.list({ payment_intent: idOf(paid.payment_intent) })
  const movement = await test.stripe.balanceTransactions.retrieve(
    idOf(data[0]?.balance_transaction),
  )
  expect(movement).toMatchObject({ amount: 100_000, fee: 2930, net: 97_070, source: data[0]?.id })
})

it('refuses to change an intent of Checkout by the API', async () => {
  const test = await startFake()
  const id = await openSession(test)
  test.control.decline(id)
  const { payment_intent: intent } = await test.stripe.checkout.sessions.retrieve(id)
  for (const call of [
    test.stripe.paymentIntents.cancel(idOf(intent)),
    test.stripe.paymentIntents.confirm(idOf(intent), { payment_method: 'pm_card_visa' }),
    test.stripe.paymentIntents.update(idOf(intent), { amount: 5 }),
  ])
    expect((await refusal(call)).message).toBe(
      'You cannot perform this action on PaymentIntents created by Checkout.',
    )
})

it('confirms an intent with a saved card', async () => {
  const { stripe } = await startFake()
  const { id: customer } = await stripe.customers.create({})
  const card = await stripe.paymentMethods.attach('pm_card_visa', { customer })
  const intent = await stripe.paymentIntents.create({
    amount: 2000,
    currency: 'usd',
    customer,
    payment_method: card.id,
    off_session: true,
    confirm: true,
    metadata: { purchase: 'bp_2' },
  })
  expect(intent).toMatchObject({ status: 'succeeded', amount_received: 2000, customer })
  const charge = await stripe.charges.retrieve(idOf(intent.latest_charge))
  expect(charge).toMatchObject({
    metadata: { purchase: 'bp_2' },
    customer,
    payment_method: card.id,
  })
})

it('confirms in two steps, and not twice', async () => {
  const { stripe } = await startFake()
  const created = await stripe.paymentIntents.create({ amount: 2000, currency: 'usd' })
  expect(created.status).toBe('requires_payment_method')
  const missing = await refusal(stripe.paymentIntents.confirm(created.id))
  expect(missing).toMatchObject({ code: 'payment_intent_unexpected_state' })
  await stripe.paymentIntents.update(created.id, { amount: 2500, payment_method: 'pm_card_visa' })
  const paid = await stripe.paymentIntents.confirm(created.id)
  expect(paid).toMatchObject({ status: 'succeeded', amount_received: 2500 })
  const again = await refusal(stripe.paymentIntents.confirm(created.id))
  expect(again).toMatchObject({ code: 'payment_intent_unexpected_state' })
  const late = await refusal(stripe.paymentIntents.update(created.id, { amount: 1 }))
  expect(late).toMatchObject({ code: 'payment_intent_unexpected_state' })
  const noted = await stripe.paymentIntents.update(created.id, { metadata: { note: 'ok' } })
  expect(noted.metadata).toEqual({ note: 'ok' })
})

it.each([
  ['pm_card_chargeDeclined', 'card_declined', 'generic_decline'],
  ['pm_card_visa_chargeDeclinedInsufficientFunds', 'card_declined', 'insufficient_funds'],
  ['pm_card_chargeDeclinedExpiredCard', 'expired_card', 'expired_card'],
  ['pm_card_authenticationRequired', 'authentication_required', 'authentication_required'],
])('declines the test card %s with 402', async (card, code, declineCode) => {
  const { stripe } = await startFake()
  const error = await refusal(
    stripe.paymentIntents.create({
      amount: 2000,
      currency: 'usd',
      payment_method: card,
      confirm: true,
      off_session: true,
    }),
  )
  expect(error).toMatchObject({
    statusCode: 402,
    type: 'StripeCardError',
    code,
    decline_code: declineCode,
    payment_intent: { status: 'requires_payment_method' },
  })
  const { data } = await stripe.charges.list()
  expect(data).toMatchObject([{ status: 'failed', failure_code: code, paid: false }])
})

it('asks a payer who is present to authenticate', async () => {
  const { stripe } = await startFake()
  const intent = await stripe.paymentIntents.create({
    amount: 2000,
    currency: 'usd',
    payment_method: 'pm_card_authenticationRequired',
    confirm: true,
  })
  expect(intent.status).toBe('requires_action')
})

it('settles a bank debit that the API started', async () => {
  const { stripe, control } = await startFake()
  const intent = await stripe.paymentIntents.create({
    amount: 2000,
    currency: 'usd',
    payment_method: 'pm_usBankAccount',
    confirm: true,
  })
  expect(intent.status).toBe('processing')
  expect(control.settle(intent.id).status).toBe('succeeded')
})

it('cancels only an intent that is not paid', async () => {
  const { stripe } = await startFake()
  const { id } = await stripe.paymentIntents.create({ amount: 2000, currency: 'usd' })
  const canceled = await stripe.paymentIntents.cancel(id, { cancellation_reason: 'abandoned' })
  expect(canceled).toMatchObject({ status: 'canceled', cancellation_reason: 'abandoned' })
  const again = await refusal(stripe.paymentIntents.cancel(id))
  expect(again.message).toMatch(/because it has a status of canceled/)
})

it('refuses amounts out of bounds, unknown methods and another customer’s card', async () => {
  const { stripe } = await startFake()
  const create = (changes: object) =>
    refusal(stripe.paymentIntents.create({ amount: 2000, currency: 'usd', ...changes }))
  expect(await create({ amount: 49 })).toMatchObject({ code: 'amount_too_small', param: 'amount' })
  expect(await create({ amount: 100_000_000 })).toMatchObject({ code: 'amount_too_large' })
  expect((await create({ payment_method: 'pm_none' })).message).toBe(
    "No such PaymentMethod: 'pm_none'",
  )
  const { id: customer } = await stripe.customers.create({})
  const { id: other } = await stripe.customers.create({})
  const card = await stripe.paymentMethods.attach('pm_card_visa', { customer })
  const stolen = await create({ customer: other, payment_method: card.id, confirm: true })
  expect(stolen.message).toMatch(/belongs to a different Customer/)
})
