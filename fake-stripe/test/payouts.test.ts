import { expect, it } from 'vitest'
import { type FakeUnderTest, idOf, refusal, sessionParams, startFake } from './fake-under-test.ts'

const ids = (page: { data: { id: string }[] }) => page.data.map(({ id }) => id)

/** 40 vouchers paid: 1,000.00 EUR less 29.30 fees. */
async function sell({ stripe, control }: FakeUnderTest) {
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  control.pay(id)
}

it('creates a manual payout with a balance transaction', async () => {
  const { stripe, control, account } = await startFake()
  const payout = await stripe.payouts.create({
    amount: 5000,
    currency: 'EUR',
    description: 'June',
    statement_descriptor: 'CONFERENCE',
    metadata: { month: '6' },
    expand: ['balance_transaction'],
  })
  expect(payout).toMatchObject({
    amount: 5000,
    currency: 'eur',
    status: 'pending',
    automatic: false,
    destination: expect.stringMatching(/^ba_/),
    reconciliation_status: 'not_applicable',
    balance_transaction: { amount: -5000, net: -5000, type: 'payout', source: payout.id },
  })
  expect(payout.arrival_date).toBeGreaterThan(payout.created)
  const updated = await stripe.payouts.update(payout.id, { metadata: { month: '7' } })
  expect(updated.metadata).toEqual({ month: '7' })
  expect(control.settlePayout(payout.id)).toMatchObject({ status: 'paid' })
  const types = control.events({ account, type: 'payout.*' }).map(({ type }) => type)
  expect(types).toEqual(['payout.created', 'payout.updated', 'payout.paid'])
  expect(() => control.settlePayout(payout.id)).toThrow(/is paid/)
  const late = control.failPayout(payout.id, 'debit_not_authorized')
  expect(late).toMatchObject({ status: 'failed', failure_code: 'debit_not_authorized' })
  expect(() => control.failPayout(payout.id)).toThrow(/is failed/)
})

it('cancels a pending payout and returns the money to the balance', async () => {
  const { stripe, control } = await startFake()
  const { id } = await stripe.payouts.create({ amount: 5000, currency: 'eur' })
  const canceled = await stripe.payouts.cancel(id, { expand: ['failure_balance_transaction'] })
  expect(canceled).toMatchObject({
    status: 'canceled',
    failure_balance_transaction: { amount: 5000, type: 'payout_cancel' },
  })
  const again = await refusal(stripe.payouts.cancel(id))
  expect(again.message).toMatch(/status of canceled/)
  const { data } = await stripe.balanceTransactions.list({ source: id })
  expect(data.reduce((sum, { net }) => sum + net, 0)).toBe(0)
  expect(() => control.failPayout(id)).toThrow(/is canceled/)
  expect(await refusal(stripe.payouts.retrieve('po_none'))).toMatchObject({
    statusCode: 404,
    message: "No such payout: 'po_none'",
  })
  const noMoney = stripe.payouts.create({ amount: 0, currency: 'eur' })
  expect((await refusal(noMoney)).param).toBe('amount')
})

it('pays out all new money once, and lists the transactions of a payout', async () => {
  const test = await startFake()
  const { stripe, control, account } = test
  expect(() => control.payOut(account, 'eur')).toThrow(/nothing to pay out in eur/)
  await sell(test)
  const first = control.payOut(account, 'EUR')
  expect(first).toMatchObject({ amount: 97_070, automatic: true, status: 'in_transit' })
  expect(() => control.payOut(account, 'eur')).toThrow(/nothing to pay out/)
  await sell(test)
  const second = control.payOut(account, 'eur')
  const list = async (payout: string) => (await stripe.balanceTransactions.list({ payout })).data
  const inFirst = await list(first.id)
  expect(inFirst.map(({ type }) => type).toSorted()).toEqual(['charge', 'payout'])
  expect(inFirst.find(({ type }) => type === 'charge')).toMatchObject({ status: 'available' })
  expect((await list(second.id)).map(({ id }) => id)).not.toContain(inFirst[0]?.id)
  const manual = await stripe.payouts.create({ amount: 1, currency: 'eur' })
  expect((await refusal(list(manual.id))).message).toMatch(/only be filtered on automatic/)
  expect((await refusal(stripe.payouts.cancel(first.id))).message).toMatch(/Automatic payouts/)
})

it('filters payouts and balance transactions', async () => {
  const test = await startFake()
  const { stripe, control } = test
  await sell(test)
  const a = await stripe.payouts.create({ amount: 1, currency: 'eur', destination: 'ba_other' })
  control.clock.advance(3 * 24 * 60 * 60)
  const b = await stripe.payouts.create({ amount: 2, currency: 'usd' })
  control.settlePayout(b.id)
  const list = async (params: object) => ids(await stripe.payouts.list(params))
  expect(await list({})).toEqual([b.id, a.id])
  expect(await list({ status: 'paid' })).toEqual([b.id])
  expect(await list({ destination: 'ba_other' })).toEqual([a.id])
  expect(await list({ created: { gt: a.created } })).toEqual([b.id])
  expect(await list({ arrival_date: { lte: a.arrival_date } })).toEqual([a.id])
  const movements = async (params: object) => {
    const { data } = await stripe.balanceTransactions.list(params)
    return data.map(({ type, currency }) => `${type} ${currency}`)
  }
  expect(await movements({})).toEqual(['payout usd', 'payout eur', 'charge eur'])
  expect(await movements({ type: 'payout' })).toEqual(['payout usd', 'payout eur'])
  expect(await movements({ currency: 'usd' })).toEqual(['payout usd'])
  expect(await movements({ created: { lte: a.created } })).toEqual(['payout eur', 'charge eur'])
  expect(await movements({ source: a.id })).toEqual(['payout eur'])
  expect(idOf(b.balance_transaction)).toMatch(/^txn_/)
})

it('pays the money of a failed payout out with the next one', async () => {
  const test = await startFake()
  const { stripe, control, account } = test
  await sell(test)
  const failed = control.payOut(account, 'eur')
  control.failPayout(failed.id)
  await sell(test)
  await stripe.payouts.create({ amount: 70, currency: 'eur' })
  const next = control.payOut(account, 'eur')
  expect(next.amount).toBe(97_070 + 97_070 - 70)
  const { data } = await stripe.balanceTransactions.list({ payout: next.id })
  const parts = data.map(({ type, net, source }) => [type, net, source === failed.id])
  expect(new Set(parts)).toEqual(
    new Set([
      ['charge', 97_070, false],
      ['payout', -194_070, false],
      ['payout', -70, false],
      ['payout_failure', 97_070, true],
    ]),
  )
  // The transactions of the failed payout stay its own.
  const before = await stripe.balanceTransactions.list({ payout: failed.id })
  expect(before.data.map(({ type }) => type).toSorted()).toEqual(['charge', 'payout'])
})
