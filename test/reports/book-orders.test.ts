import { describe, expect, it } from 'vitest'
import {
  bookOrder,
  type Entry,
  type MoneyFact,
  type Order,
  toAccounts,
} from '../../src/reports/book-orders.ts'
import { generator } from '../support/random.ts'

const order = (more: Partial<Order> = {}): Order => ({
  kind: 'purchase',
  id: 'bp_1',
  reference: 'PO-7',
  description: 'Ten tickets',
  currency: 'EUR',
  total: 10_000,
  at: 1,
  accepted: null,
  states: [],
  money: [],
  ...more,
})

const money = (type: MoneyFact['type'], at: number, amount: number, currency = 'EUR') => ({
  type,
  at,
  reference: `${type}_${at}`,
  currency,
  amount,
  method: 'stripe',
  paidAt: null,
})

const lines = (entries: Entry[]) =>
  entries.map(({ at, type, currency, amount }) => `${at} ${type} ${amount} ${currency}`)

describe('the entries of an order', () => {
  it('show what was owed and what was paid', () => {
    const paid = order({ money: [money('payment', 2, 10_000)], states: [{ to: 'paid', at: 3 }] })
    expect(lines(bookOrder(paid))).toEqual(['1 order 10000 EUR', '2 payment -10000 EUR'])
    expect(bookOrder(paid).map(({ reference }) => reference)).toEqual(['PO-7', 'payment_2'])
  })

  it('credit what was refunded and lost, because its codes are inactive', () => {
    const refunded = order({
      money: [
        money('payment', 2, 10_000),
        money('refund', 4, -2_500),
        money('dispute', 5, -7_500),
        money('dispute_won', 7, 7_500),
      ],
      states: [
        { to: 'paid', at: 3 },
        { to: 'refunded', at: 6 },
        { to: 'paid', at: 8 },
      ],
    })
    expect(lines(bookOrder(refunded)).slice(2)).toEqual([
      '4 refund 2500 EUR',
      '4 credit -2500 EUR',
      '5 dispute 7500 EUR',
      '5 credit -7500 EUR',
      // The codes are off until staff decide: the money is the sponsor's.
      '7 dispute_won -7500 EUR',
      '8 credit 7500 EUR',
    ])
  })

  it('owe nothing while the order has failed, and again when it is tried once more', () => {
    const states = [
      { to: 'failed' as const, at: 2 },
      { to: 'open' as const, at: 3 },
      { to: 'failed' as const, at: 4 },
    ]
    expect(lines(bookOrder(order({ states })))).toEqual([
      '1 order 10000 EUR',
      '2 cancellation -10000 EUR',
      '3 order 10000 EUR',
      '4 cancellation -10000 EUR',
    ])
  })

  it('leave an overpaid amount to the sponsor, and a refund of it credits nothing', () => {
    const twice = order({
      money: [
        money('payment', 2, 10_000),
        money('payment', 4, 10_000),
        money('refund', 5, -10_000),
      ],
      states: [{ to: 'paid', at: 3 }],
    })
    expect(lines(bookOrder(twice)).slice(1)).toEqual([
      '2 payment -10000 EUR',
      '4 payment -10000 EUR',
      '5 refund 10000 EUR',
    ])
  })

  it('settle the order in the currency and amount that staff accepted', () => {
    const inYen = order({
      accepted: { currency: 'JPY', amount: 15_000 },
      money: [money('payment', 2, 15_000, 'JPY')],
      states: [{ to: 'paid', at: 3 }],
    })
    expect(lines(bookOrder(inYen))).toEqual([
      '1 order 10000 EUR',
      '2 payment -15000 JPY',
      '3 credit -10000 EUR',
      '3 order 15000 JPY',
    ])
    const less = order({
      accepted: { currency: 'EUR', amount: 9_000 },
      money: [money('payment', 2, 9_000)],
      states: [{ to: 'paid', at: 3 }],
    })
    expect(lines(bookOrder(less)).at(-1)).toBe('3 credit -1000 EUR')
  })

  it('contain an order that costs nothing', () => {
    const free = order({ total: 0, states: [{ to: 'paid', at: 2 }] })
    expect(lines(bookOrder(free))).toEqual(['1 order 0 EUR'])
  })
})

describe('the accounts of a period', () => {
  const orders = [
    order({ money: [money('payment', 20, 10_000)], states: [{ to: 'paid', at: 21 }] }),
    order({ id: 'bp_2', at: 30, total: 400 }),
  ]

  it('begin with what was booked before it, and end before what comes after', () => {
    const [account, ...others] = toAccounts(orders, { from: 20, until: 30 })
    expect(others).toEqual([])
    expect(account).toMatchObject({ currency: 'EUR', opening: 10_000, closing: 0 })
    expect(account?.entries).toMatchObject([{ type: 'payment', amount: -10_000, balance: 0 }])
  })

  it('can be continued on any day: the closing balance is the next opening balance', () => {
    const random = generator(7)
    const pick = <T>(all: readonly [T, ...T[]]): T =>
      all[Math.floor(random() * all.length)] ?? all[0]
    for (let round = 0; round < 50; round += 1) {
      const many = Array.from({ length: 5 }, (_, index) =>
        order({
          id: `bp_${index}`,
          at: Math.floor(random() * 50),
          money: Array.from({ length: 6 }, () =>
            money(
              pick(['payment', 'refund', 'dispute']),
              50 + Math.floor(random() * 50),
              pick([10_000, -2_500, -10_000]),
              pick(['EUR', 'EUR', 'USD']),
            ),
          ),
          states: [{ to: pick(['paid', 'failed']), at: 75 }],
        }),
      )
      const cut = Math.floor(random() * 100)
      const whole = toAccounts(many, { from: 0, until: 1_000 })
      const first = new Map(
        toAccounts(many, { from: 0, until: cut }).map((account) => [account.currency, account]),
      )
      for (const second of toAccounts(many, { from: cut, until: 1_000 })) {
        const before = first.get(second.currency)
        const all = whole.find(({ currency }) => currency === second.currency)
        expect(second.opening).toBe(before?.closing ?? 0)
        expect(second.closing).toBe(all?.closing)
        expect([...(before?.entries ?? []), ...second.entries]).toEqual(all?.entries)
        const sum = second.entries.reduce((total, { amount }) => total + amount, 0)
        expect(second.opening + sum).toBe(second.closing)
      }
    }
  })
})
