import { describe, expect, it } from 'vitest'
import {
  decide,
  PURCHASE_EVENTS,
  PURCHASE_STATUSES,
  type PurchaseContext,
  type PurchaseEvent,
  type PurchaseStatus,
} from '../../src/purchases/purchase-machine.ts'

const BASE: PurchaseContext = {
  total: 1000,
  currency: 'EUR',
  due: 1000,
  net: 1000,
  attempts: { open: false, pending: false, paid: false },
}

/** Every situation that some guard distinguishes. */
const SITUATIONS: Record<string, Partial<PurchaseContext>> = {
  'price > 0, no attempt payable, paid in full': {},
  'price = 0': { total: 0, due: 0, net: 0 },
  'an attempt is open': { attempts: { open: true, pending: false, paid: false } },
  'a bank payment is pending': { attempts: { open: false, pending: true, paid: false } },
  'a payment has arrived': { attempts: { open: false, pending: false, paid: true } },
  '0 < net < due': { net: 400 },
  'net = 0': { net: 0 },
}

const flag = { fact: 'x', detail: 'x' }
const failure = { code: 'x', message: 'x' }
const recorded = { currency: 'EUR', paidAt: new Date(0) }
const payment = { paymentIntent: 'pi_1', currency: 'EUR', accepted: false }

const SAMPLES: Record<string, Record<string, PurchaseEvent>> = {
  CHECKOUT_OPENED: { '': { type: 'CHECKOUT_OPENED' } },
  COMP_APPROVED: { '': { type: 'COMP_APPROVED' } },
  COMP_REVOKED: { '': { type: 'COMP_REVOKED' } },
  PAYMENT_SUCCEEDED: {
    '(amount matches)': { type: 'PAYMENT_SUCCEEDED', amount: 1000, ...payment },
    '(other amount)': { type: 'PAYMENT_SUCCEEDED', amount: 999, ...payment },
    '(other currency)': { type: 'PAYMENT_SUCCEEDED', amount: 1000, ...payment, currency: 'JPY' },
    '(other amount, accepted by staff)': {
      type: 'PAYMENT_SUCCEEDED',
      amount: 999,
      ...payment,
      accepted: true,
    },
  },
  PAYMENT_RECORDED: {
    '(amount matches)': { type: 'PAYMENT_RECORDED', amount: 1000, ...recorded },
    '(other amount)': { type: 'PAYMENT_RECORDED', amount: 999, ...recorded },
  },
  PAYMENT_MISMATCHED: { '': { type: 'PAYMENT_MISMATCHED', flag } },
  PAYMENT_PENDING: { '': { type: 'PAYMENT_PENDING' } },
  PAYMENT_DECLINED: { '': { type: 'PAYMENT_DECLINED', failure } },
  PAYMENT_FAILED: { '': { type: 'PAYMENT_FAILED', failure } },
  CHECKOUT_EXPIRED: { '': { type: 'CHECKOUT_EXPIRED' } },
  CANCELLED: { '': { type: 'CANCELLED' } },
  SECOND_PAYMENT: { '': { type: 'SECOND_PAYMENT', flag } },
  REFUND_PENDING: { '': { type: 'REFUND_PENDING' } },
  PARTIALLY_REFUNDED: { '': { type: 'PARTIALLY_REFUNDED' } },
  REFUNDED: { '': { type: 'REFUNDED' } },
  REFUND_FAILED: { '': { type: 'REFUND_FAILED', flag } },
  DISPUTE_OPENED: { '': { type: 'DISPUTE_OPENED', flag } },
  DISPUTE_WON: { '': { type: 'DISPUTE_WON' } },
  DISPUTE_LOST: { '': { type: 'DISPUTE_LOST' } },
  FRAUD_WARNED: { '': { type: 'FRAUD_WARNED', flag } },
  REINSTATED: { '': { type: 'REINSTATED' } },
}

function rowsOf(from: PurchaseStatus, name: string): string[] {
  return Object.entries(SAMPLES[name] ?? {}).flatMap(([variant, event]) => {
    const outcomes = new Map<string, string[]>()
    for (const [situation, change] of Object.entries(SITUATIONS)) {
      const context = { ...BASE, ...change }
      // A free purchase has no payment whose amount could match.
      if (context.total === 0 && name === 'PAYMENT_SUCCEEDED') continue
      const decision = decide(from, context, event)
      if (decision.kind === 'refused') continue
      const outcome = `${decision.status} | ${decision.effects.join(', ') || '–'}`
      outcomes.set(outcome, [...(outcomes.get(outcome) ?? []), situation])
    }
    const possible = Object.keys(SITUATIONS).length - (name === 'PAYMENT_SUCCEEDED' ? 1 : 0)
    return [...outcomes].map(([outcome, situations]) => {
      const when = situations.length === possible ? 'always' : situations.join('; ')
      return `| ${from} | ${name} ${variant} | ${outcome} | ${when} |`.replace(/ {2,}/g, ' ')
    })
  })
}

function printTable(): string {
  const rows = PURCHASE_STATUSES.flatMap((from) =>
    Object.keys(SAMPLES).flatMap((name) => rowsOf(from, name)),
  )
  return [
    '# The purchase machine',
    '',
    'The test of `src/purchases/purchase-machine.ts` writes this page and fails when it is stale. Update',
    'it with `npx vitest run test/purchases/purchase-machine.test.ts -u`. Pairs that are not listed are',
    'refused.',
    '',
    '| from | event | to | effects | when |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n')
}

describe('the purchase machine', () => {
  it('has a sample of every event, so that the table is complete', () => {
    expect(Object.keys(SAMPLES).toSorted()).toEqual([...PURCHASE_EVENTS].toSorted())
  })

  it('equals the reviewed table', async () => {
    await expect(printTable()).toMatchFileSnapshot('../../docs/purchase-machine.md')
  })

  const context = (change: Partial<PurchaseContext>) => ({ ...BASE, ...change })

  it.each([
    ['PENDING', { type: 'REFUNDED' }, { net: 0 }],
    ['FAILED', { type: 'CHECKOUT_EXPIRED' }, {}],
    ['FAILED', { type: 'CANCELLED' }, {}],
    ['PAID', { type: 'CHECKOUT_EXPIRED' }, {}],
    ['PAID', { type: 'CHECKOUT_OPENED' }, {}],
    ['PAID', { type: 'PAYMENT_FAILED', failure }, {}],
    ['PAID', { type: 'REFUNDED' }, { net: 1 }],
    ['PAID', { type: 'CANCELLED' }, {}],
    ['REFUNDED', { type: 'CHECKOUT_OPENED' }, {}],
    ['REFUNDED', { type: 'REINSTATED' }, { net: 999 }],
    ['REFUNDED', { type: 'PAYMENT_SUCCEEDED', amount: 1000, ...payment }, {}],
    ['PENDING', { type: 'COMP_APPROVED' }, {}],
  ] satisfies [PurchaseStatus, PurchaseEvent, Partial<PurchaseContext>][])(
    'in status %s refuses %o',
    (status, event, change) => {
      expect(decide(status, context(change), event)).toEqual({ kind: 'refused' })
    },
  )

  it('makes a failed purchase PAID when a payment succeeds', () => {
    const event = { type: 'PAYMENT_SUCCEEDED', amount: 1000, ...payment } as const
    expect(decide('FAILED', BASE, event)).toEqual({
      kind: 'applied',
      status: 'PAID',
      effects: ['issueVouchers'],
    })
  })
})
