import { expect, it } from 'vitest'
import { type FakeUnderTest, idOf, refusal, sessionParams, startFake } from './fake-under-test.ts'

/** The payment intent of a paid session over 1,000.00 EUR. */
async function pay({ stripe, control }: FakeUnderTest): Promise<string> {
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  return idOf(control.pay(id).payment_intent)
}

async function chargeOf({ stripe }: FakeUnderTest, intent: string) {
  const { latest_charge: charge } = await stripe.paymentIntents.retrieve(intent)
  return stripe.charges.retrieve(idOf(charge))
}

/** The types of the events after the four events of the payment. */
function laterTypes({ control, account }: FakeUnderTest): string[] {
  return control
    .events({ account })
    .map(({ type }) => type)
    .slice(4)
}

it('refunds in parts up to the full amount, and then refuses', async () => {
  const test = await startFake()
  const intent = await pay(test)
  const part = await test.stripe.refunds.create({
    payment_intent: intent,
    amount: 30_000,
    reason: 'requested_by_customer',
    metadata: { by: 'staff' },
  })
  expect(part).toMatchObject({
    amount: 30_000,
    currency: 'eur',
    status: 'succeeded',
    payment_intent: intent,
    reason: 'requested_by_customer',
    metadata: { by: 'staff' },
  })
  expect(await chargeOf(test, intent)).toMatchObject({ amount_refunded: 30_000, refunded: false })
  const rest = await test.stripe.refunds.create({ payment_intent: intent })
  expect(rest.amount).toBe(70_000)
  expect(await chargeOf(test, intent)).toMatchObject({ amount_refunded: 100_000, refunded: true })
  expect(await refusal(test.stripe.refunds.create({ payment_intent: intent }))).toMatchObject({
    statusCode: 400,
    code: 'charge_already_refunded',
  })
  expect(laterTypes(test)).toEqual([
    'refund.created',
    'charge.refunded',
    'refund.created',
    'charge.refunded',
  ])
})

it('refuses more than the remaining amount', async () => {
  const test = await startFake()
  const intent = await pay(test)
  await test.stripe.refunds.create({ payment_intent: intent, amount: 95_000 })
  const error = await refusal(test.stripe.refunds.create({ payment_intent: intent, amount: 5001 }))
  expect(error).toMatchObject({ statusCode: 400, param: 'amount' })
  expect(error.message).toBe(
    'Refund amount (€50.01) is greater than unrefunded amount on charge (€50.00)',
  )
})

it('requires a payment that succeeded', async () => {
  const test = await startFake()
  const { stripe } = test
  expect((await refusal(stripe.refunds.create({}))).message).toBe(
    'One of the following params should be provided for this request: payment_intent or charge.',
  )
  const unpaid = await stripe.paymentIntents.create({ amount: 1000, currency: 'eur' })
  const error = await refusal(stripe.refunds.create({ payment_intent: unpaid.id }))
  expect(error.message).toBe(
    `This PaymentIntent (${unpaid.id}) does not have a successful charge to refund.`,
  )
  expect(await refusal(stripe.refunds.create({ charge: 'ch_none' }))).toMatchObject({
    code: 'resource_missing',
    message: "No such charge: 'ch_none'",
  })
  expect(await refusal(stripe.refunds.create({ charge: 'x', amount: 0 }))).toMatchObject({
    code: 'parameter_invalid_integer',
    param: 'amount',
  })
})

it('lists refunds by payment intent and by charge', async () => {
  const test = await startFake()
  const [first, second] = [await pay(test), await pay(test)]
  const a = await test.stripe.refunds.create({ payment_intent: first, amount: 100 })
  const b = await test.stripe.refunds.create({ payment_intent: first, amount: 200 })
  const c = await test.stripe.refunds.create({ payment_intent: second, amount: 300 })
  const ofFirst = await test.stripe.refunds.list({ payment_intent: first })
  expect(ofFirst.data.map(({ id }) => id)).toEqual([b.id, a.id])
  const ofSecond = await test.stripe.refunds.list({ charge: idOf(c.charge) })
  expect(ofSecond.data.map(({ id }) => id)).toEqual([c.id])
})

it('lets a refund stay pending and succeed later', async () => {
  const test = await startFake()
  const intent = await pay(test)
  test.control.setRefundMode('pending', 1)
  const pending = await test.stripe.refunds.create({ payment_intent: intent })
  expect(pending).toMatchObject({ status: 'pending', pending_reason: 'processing' })
  test.control.settleRefund(pending.id)
  const settled = await test.stripe.refunds.retrieve(pending.id)
  expect(settled.status).toBe('succeeded')
  expect(settled).not.toHaveProperty('pending_reason')
  expect(laterTypes(test)).toEqual([
    'refund.created',
    'charge.refunded',
    'refund.updated',
    'charge.refund.updated',
  ])
  const [updated] = test.control.events({ account: test.account, type: 'refund.updated' })
  expect(updated?.data.previous_attributes).toMatchObject({ status: 'pending' })
  const next = await test.stripe.refunds.create({ payment_intent: await pay(test) })
  expect(next.status).toBe('succeeded')
})

it.each(['pending', 'succeeded'] as const)(
  'lets a %s refund fail: the money is with the merchant again',
  async (status) => {
    const test = await startFake()
    const intent = await pay(test)
    const refund = test.control.refund(intent, { status })
    test.control.failRefund(refund.id, 'expired_or_canceled_card')
    const failed = await test.stripe.refunds.retrieve(refund.id)
    expect(failed).toMatchObject({ status: 'failed', failure_reason: 'expired_or_canceled_card' })
    expect(await chargeOf(test, intent)).toMatchObject({ amount_refunded: 0, refunded: false })
    expect(laterTypes(test)).toEqual([
      'refund.created',
      'charge.refunded',
      'refund.updated',
      'charge.refund.updated',
      'refund.failed',
    ])
    expect(() => test.control.failRefund(refund.id)).toThrow(/is failed/)
    const again = await test.stripe.refunds.create({ payment_intent: intent })
    expect(again.amount).toBe(100_000)
  },
)

it('cancels only a refund that waits for the payer', async () => {
  const test = await startFake()
  const intent = await pay(test)
  const done = await test.stripe.refunds.create({ payment_intent: intent, amount: 100 })
  expect((await refusal(test.stripe.refunds.cancel(done.id))).message).toMatch(
    /status of succeeded/,
  )
  test.control.setRefundMode('requires_action', 1)
  const waiting = await test.stripe.refunds.create({ payment_intent: intent, amount: 100 })
  expect((await test.stripe.refunds.cancel(waiting.id)).status).toBe('canceled')
  expect(await chargeOf(test, intent)).toMatchObject({ amount_refunded: 100 })
})

it('changes a refund’s metadata and sends the event', async () => {
  const test = await startFake()
  const { id } = await test.stripe.refunds.create({ payment_intent: await pay(test) })
  await test.stripe.refunds.update(id, { metadata: { ticket: '7' } })
  const [event] = test.control.events({ account: test.account, type: 'refund.updated' })
  expect(event?.data).toMatchObject({
    object: { metadata: { ticket: '7' } },
    previous_attributes: { metadata: { ticket: null } },
  })
})

it('embeds the ten newest refunds in a charge when they are expanded', async () => {
  const test = await startFake()
  const intent = await pay(test)
  for (let i = 0; i < 12; i++)
    await test.stripe.refunds.create({ payment_intent: intent, amount: 100 + i })
  const { id } = await chargeOf(test, intent)
  const charge = await test.stripe.charges.retrieve(id, { expand: ['refunds'] })
  expect(charge.refunds?.has_more).toBe(true)
  expect(charge.refunds?.data.map(({ amount }) => amount)).toEqual([
    111, 110, 109, 108, 107, 106, 105, 104, 103, 102,
  ])
})
