import { expect, it } from 'vitest'
import { type FakeUnderTest, idOf, refusal, sessionParams, startFake } from './fake-under-test.ts'

async function pay({ stripe, control }: FakeUnderTest): Promise<string> {
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  return idOf(control.pay(id).payment_intent)
}

function disputeTypes({ control, account }: FakeUnderTest): string[] {
  return control.events({ account, type: 'charge.dispute.*' }).map(({ type }) => type)
}

it('opens a dispute: the money is withdrawn and the charge cannot be refunded', async () => {
  const test = await startFake()
  const intent = await pay(test)
  const { id } = test.control.dispute(intent, { amount: 90_000, reason: 'product_not_received' })
  const dispute = await test.stripe.disputes.retrieve(id, { expand: ['charge'] })
  expect(dispute).toMatchObject({
    amount: 90_000,
    reason: 'product_not_received',
    status: 'needs_response',
    payment_intent: intent,
    is_charge_refundable: false,
    balance_transactions: [{ amount: -90_000, fee: 1500 }],
    charge: { disputed: true },
  })
  expect(disputeTypes(test)).toEqual(['charge.dispute.created', 'charge.dispute.funds_withdrawn'])
  expect(await refusal(test.stripe.refunds.create({ payment_intent: intent }))).toMatchObject({
    code: 'charge_disputed',
  })
})

it('is won: the money is returned and refunds are possible again', async () => {
  const test = await startFake()
  const intent = await pay(test)
  const { id } = test.control.dispute(intent)
  test.control.updateDispute(id, 'under_review')
  expect(test.control.closeDispute(id, 'won')).toMatchObject({
    status: 'won',
    balance_transactions: [{ amount: -100_000 }, { amount: 100_000 }],
  })
  expect(disputeTypes(test).slice(2)).toEqual([
    'charge.dispute.updated',
    'charge.dispute.funds_reinstated',
    'charge.dispute.closed',
  ])
  await test.stripe.refunds.create({ payment_intent: intent })
})

it('is lost: the money is not returned', async () => {
  const test = await startFake()
  const intent = await pay(test)
  const { id } = test.control.dispute(intent)
  test.control.closeDispute(id, 'lost')
  expect(disputeTypes(test).slice(2)).toEqual(['charge.dispute.closed'])
  expect(await refusal(test.stripe.refunds.create({ payment_intent: intent }))).toMatchObject({
    code: 'charge_disputed',
  })
  expect(() => test.control.closeDispute(id, 'won')).toThrow(/is lost/)
})

it('is prevented: the money is returned', async () => {
  const test = await startFake()
  const { id } = test.control.dispute(await pay(test))
  expect(test.control.closeDispute(id, 'prevented').status).toBe('prevented')
  expect(disputeTypes(test).slice(2)).toEqual([
    'charge.dispute.funds_reinstated',
    'charge.dispute.closed',
  ])
})

it('starts as an inquiry, which withdraws no money until it becomes a chargeback', async () => {
  const test = await startFake()
  const intent = await pay(test)
  const { id } = test.control.dispute(intent, { status: 'warning_needs_response' })
  expect(disputeTypes(test)).toEqual(['charge.dispute.created'])
  await test.stripe.refunds.create({ payment_intent: intent, amount: 100 })
  test.control.updateDispute(id, 'needs_response')
  expect(disputeTypes(test).slice(1)).toEqual([
    'charge.dispute.updated',
    'charge.dispute.funds_withdrawn',
  ])
})

it('ends an inquiry with warning_closed', async () => {
  const test = await startFake()
  const { id } = test.control.dispute(await pay(test), { status: 'warning_needs_response' })
  expect(test.control.closeDispute(id, 'warning_closed')).toMatchObject({
    status: 'warning_closed',
    is_charge_refundable: true,
  })
  expect(disputeTypes(test)).toEqual(['charge.dispute.created', 'charge.dispute.closed'])
})

it('accepts evidence by the API, and lets the merchant accept the loss', async () => {
  const test = await startFake()
  const { id } = test.control.dispute(await pay(test))
  const submitted = await test.stripe.disputes.update(id, {
    evidence: { product_description: 'Voucher codes' },
    metadata: { case: '7' },
  })
  expect(submitted).toMatchObject({
    status: 'under_review',
    evidence: { product_description: 'Voucher codes' },
    evidence_details: { has_evidence: true, submission_count: 1 },
    metadata: { case: '7' },
  })
  const closed = await test.stripe.disputes.close(id)
  expect(closed.status).toBe('lost')
  const again = await refusal(test.stripe.disputes.close(id))
  expect(again.message).toBe('This dispute is already closed.')
})

it('lists disputes by payment intent and by charge', async () => {
  const test = await startFake()
  const [first, second] = [await pay(test), await pay(test)]
  const a = test.control.dispute(first)
  const b = test.control.dispute(second)
  const byIntent = await test.stripe.disputes.list({ payment_intent: first })
  expect(byIntent.data.map(({ id }) => id)).toEqual([a.id])
  const byCharge = await test.stripe.disputes.list({ charge: idOf(b.charge) })
  expect(byCharge.data.map(({ id }) => id)).toEqual([b.id])
})

it('creates a fraud warning, which is not actionable after a refund', async () => {
  const test = await startFake()
  const intent = await pay(test)
  const { id } = test.control.earlyFraudWarning(intent, 'made_with_lost_card')
  const warning = await test.stripe.radar.earlyFraudWarnings.retrieve(id)
  expect(warning).toMatchObject({
    actionable: true,
    fraud_type: 'made_with_lost_card',
    payment_intent: intent,
  })
  await test.stripe.refunds.create({ payment_intent: intent })
  const { data } = await test.stripe.radar.earlyFraudWarnings.list({ payment_intent: intent })
  expect(data).toMatchObject([{ id, actionable: false }])
  const types = test.control.events({ type: 'radar.*' }).map(({ type }) => type)
  expect(types).toEqual(['radar.early_fraud_warning.created', 'radar.early_fraud_warning.updated'])
})
