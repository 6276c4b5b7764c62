import type Stripe from 'stripe'
import { expect, it } from 'vitest'
import { sessionParams, startFake } from './fake-under-test.ts'

const DAY = 24 * 60 * 60

const sums = (balance: Stripe.Balance) => ({
  available: Object.fromEntries(balance.available.map((entry) => [entry.currency, entry.amount])),
  pending: Object.fromEntries(balance.pending.map((entry) => [entry.currency, entry.amount])),
})

it('is zero in the default currency of a new account', async () => {
  const { stripe } = await startFake()
  expect(await stripe.balance.retrieve()).toMatchObject({
    object: 'balance',
    available: [{ amount: 0, currency: 'usd', source_types: { card: 0 } }],
    livemode: false,
    pending: [{ amount: 0, currency: 'usd', source_types: { card: 0 } }],
  })
})

it('moves money from pending to available, and out by a payout', async () => {
  const { stripe, control, account } = await startFake()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  control.pay(id)
  const [movement] = (await stripe.balanceTransactions.list()).data
  const net = movement?.net ?? 0
  expect(sums(await stripe.balance.retrieve())).toEqual({
    available: { usd: 0 },
    pending: { eur: net, usd: 0 },
  })
  control.refund(id, { amount: 1000 })
  expect(sums(await stripe.balance.retrieve()).pending['eur']).toBe(net - 1000)
  control.clock.advance(2 * DAY)
  expect(sums(await stripe.balance.retrieve())).toEqual({
    available: { eur: net - 1000, usd: 0 },
    pending: { usd: 0 },
  })
  control.payOut(account, 'eur')
  expect(sums(await stripe.balance.retrieve())).toEqual({
    available: { eur: 0, usd: 0 },
    pending: { usd: 0 },
  })
})

it('is reduced when a manual payout is created', async () => {
  const { stripe } = await startFake()
  await stripe.payouts.create({ amount: 500, currency: 'usd' })
  expect(sums(await stripe.balance.retrieve())).toEqual({
    available: { usd: -500 },
    pending: { usd: 0 },
  })
})

it('converts money into the currency of the balance, with fees in that currency', async () => {
  const { stripe, control, account } = await startFake()
  control.convert(account, { from: 'EUR', into: 'chf', rate: 0.95 })
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  control.pay(id)
  control.refund(id, { amount: 10_000 })
  const dispute = control.dispute(id)
  control.closeDispute(dispute.id, 'won')
  const { data } = await stripe.balanceTransactions.list()
  expect(data.map(({ amount, fee, currency }) => [amount, fee, currency])).toEqual([
    [85_500, 0, 'chf'],
    [-85_500, 1500, 'chf'],
    [-9500, 0, 'chf'],
    [95_000, 2785, 'chf'],
  ])
  expect(new Set(data.map((movement) => movement.exchange_rate))).toEqual(new Set([0.95]))
})

it('expands the source of a balance transaction: a charge, a refund, a dispute or a payout', async () => {
  const { stripe, control, account } = await startFake()
  const { id } = await stripe.checkout.sessions.create(sessionParams())
  control.pay(id)
  control.refund(id, { amount: 10_000 })
  control.dispute(id, { amount: 5000 })
  control.payOut(account, 'eur')
  const { data } = await stripe.balanceTransactions.list({ expand: ['data.source'] })
  const kinds = data.map(({ source }) => (typeof source === 'string' ? source : source?.object))
  expect(kinds).toEqual(['payout', 'dispute', 'refund', 'charge'])
})
