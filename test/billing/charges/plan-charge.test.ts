import { describe, expect, it } from 'vitest'
import type { Charge, ChargeAggregate } from '../../../src/billing/charges/charge-store.ts'
import { planCharge } from '../../../src/billing/charges/plan-charge.ts'
import type { PaymentAttempt } from '../../../src/payments/payment-records.ts'
import { NO_RECORDS } from '../../../src/payments/payment-records.ts'
import type { PaymentSnapshot } from '../../../src/payments/payment-snapshot.ts'
import { newAttempt, StripeSide } from '../../purchases/payment-history.ts'
import { dispute, NOTHING, payment, refund, session } from '../../purchases/purchase-scene.ts'
import { generator } from '../../support/random.ts'

const NOW = new Date('2027-01-01T00:00:00Z')

const CHARGE: Charge = {
  conferenceId: 'conf_1',
  id: 'chg_1',
  customerId: 'cust_1',
  sponsorId: 'spon_1',
  status: 'open',
  amount: 1_000,
  currency: 'EUR',
  description: 'Booth',
  statementDescriptorSuffix: null,
  comment: null,
  sourceReference: null,
  manual: false,
  paymentMethod: null,
  successUrl: null,
  cancelUrl: null,
  amountReceived: 0,
  amountRefunded: 0,
  amountRefunding: 0,
  paymentIntentId: null,
  failure: null,
  metadata: {},
  appliedTicket: 0,
  createdBy: 'key_1',
  createdAt: NOW,
  updatedAt: NOW,
  succeededAt: null,
}

const card = (attempt: number, over: Partial<PaymentAttempt> = {}): PaymentAttempt =>
  ({
    ...newAttempt(attempt, 'saved_card'),
    state: 'open',
    paymentIntentId: `pi_${attempt}`,
    ...over,
  }) as PaymentAttempt

const page = (attempt: number, over: Partial<PaymentAttempt> = {}): PaymentAttempt =>
  ({
    ...newAttempt(attempt, 'checkout'),
    state: 'open',
    sessionId: `cs_${attempt}`,
    ...over,
  }) as PaymentAttempt

const charge = (attempts: PaymentAttempt[], over: Partial<Charge> = {}): ChargeAggregate => ({
  charge: { ...CHARGE, ...over },
  records: { ...NO_RECORDS, attempts },
})

const read = (before: ChargeAggregate, snapshot: Partial<PaymentSnapshot>) =>
  planCharge(before, { type: 'snapshot', snapshot: { ...NOTHING, ...snapshot } })

const DECLINED = payment({
  status: 'requires_payment_method',
  received: 0,
  decline: { fact: 'ch_1', code: 'card_declined', message: 'No.' },
})

describe('a charge', () => {
  it('is the same after the same snapshot twice', () => {
    const once = read(charge([card(1)]), { payments: [payment()], refunds: [refund('re_1', 300)] })
    expect(once.after.charge).toMatchObject({
      status: 'succeeded',
      paymentIntentId: 'pi_1',
      amountReceived: 1_000,
      amountRefunded: 300,
    })
    const twice = read(once.after, { payments: [payment()], refunds: [refund('re_1', 300)] })
    expect(twice.after).toEqual(once.after)
    expect(twice.declines).toEqual([])
  })

  it('is declined once, and a stale snapshot does not open its attempt again', () => {
    const declined = read(charge([card(1)]), { payments: [DECLINED] })
    expect(declined.declines).toMatchObject([{ attempt: 1, failure: { code: 'card_declined' } }])
    const stale = read(declined.after, {
      payments: [payment({ status: 'requires_confirmation', received: 0 })],
    })
    expect(stale.declines).toEqual([])
    expect(stale.after.charge).toMatchObject({ status: 'declined' })
    expect(stale.after.records.attempts).toMatchObject([{ state: 'failed' }])
  })

  it('that is canceled stays so, unless a payment arrives late', () => {
    const { after } = planCharge(charge([card(1, { state: 'cancelled' })]), { type: 'cancel' })
    expect(after.charge.status).toBe('canceled')
    expect(read(after, { payments: [DECLINED] }).after.charge.status).toBe('canceled')
    const late = read(after, { payments: [payment()] }).after.charge
    expect(late).toMatchObject({ status: 'succeeded', amountReceived: 1_000 })
  })

  it.each([
    ['a smaller amount', payment({ received: 999, amount: 999 })],
    ['another currency', payment({ currency: 'JPY' })],
  ])('is not paid by a payment of %s, and is free again when that is refunded', (_, wrong) => {
    const { after } = read(charge([]), { payments: [{ ...wrong, attempt: null }] })
    expect(after.charge).toMatchObject({ status: 'processing', paymentIntentId: null })
    const all = refund('re_1', wrong.received, { currency: wrong.currency })
    expect(read(after, { payments: [wrong], refunds: [all] }).after.charge.status).toBe('open')
  })

  it('that is canceled stays so when a payment of another amount arrives', () => {
    const { after } = planCharge(charge([]), { type: 'cancel' })
    const wrong = payment({ received: 400, amount: 400, attempt: null })
    const held = read(after, { payments: [wrong] }).after
    expect(held.charge).toMatchObject({ status: 'canceled', amountReceived: 400 })
    const free = read(held, { payments: [wrong], refunds: [refund('re_1', 400)] }).after
    expect(free.charge.status).toBe('canceled')
  })

  it('is processing while a bank transfer has arrived in part', () => {
    const { after } = read(charge([page(1)]), {
      sessions: [session({ paid: false })],
      payments: [payment({ status: 'requires_action', received: 400 })],
    })
    expect(after.charge).toMatchObject({ status: 'processing', amountReceived: 400 })
  })

  it('never refunds more than it received, whatever was requested and lost', () => {
    const before = charge([card(1, { state: 'paid' })])
    const request = { id: 'r', paymentIntent: 'pi_1', amount: 900, reason: null, voucherIds: [] }
    const requests = [{ ...request, state: 'requested' as const, refundId: null, refusal: null }]
    const { after } = read(
      { ...before, records: { ...before.records, requests } },
      { payments: [payment()], refunds: [refund('re_1', 400)], disputes: [dispute('lost')] },
    )
    const { amountRefunded, amountRefunding, status } = after.charge
    expect({ amountRefunded, amountRefunding, status }).toEqual({
      amountRefunded: 400,
      amountRefunding: 600,
      status: 'succeeded',
    })
  })
})

describe('a refused attempt', () => {
  const creating = card(1, { state: 'creating', paymentIntentId: null })
  const refuse = (code: string, over: Partial<Charge> = {}) =>
    planCharge(charge([creating], over), {
      type: 'attempt',
      attempt: 1,
      event: 'REFUSED',
      changes: { failure: { code, message: 'No.' } },
    })

  it('declines the charge if Stripe would refuse it again (issue 8, line 14)', () => {
    const { after, declines } = refuse('stripe_refused')
    expect(after.charge).toMatchObject({ status: 'declined', failure: { code: 'stripe_refused' } })
    expect(declines).toHaveLength(1)
    expect(planCharge(after, { type: 'refresh' }).declines).toEqual([])
  })

  it('declines the charge if the charge’s own card is gone, but not if the sponsor has none yet', () => {
    expect(refuse('no_payment_method', { paymentMethod: 'pm_1' }).after.charge.status).toBe(
      'declined',
    )
    expect(refuse('no_payment_method').after.charge).toMatchObject({
      status: 'open',
      failure: null,
    })
  })

  it('leaves the charge open if another attempt may succeed', () => {
    for (const code of ['stripe_failed', 'validation_failed']) {
      const { after, declines } = refuse(code)
      expect(after.charge).toMatchObject({ status: 'open', failure: null })
      expect(declines).toEqual([])
    }
  })

  it('does not hide the failure before it', () => {
    const failure = { code: 'authentication_required', message: 'The bank asks.' }
    const before = charge([
      card(1, { state: 'failed', failure }),
      page(2, { state: 'creating', sessionId: null }),
    ])
    const refused = { code: 'stripe_refused', message: 'No.' }
    const input = { attempt: 2, event: 'REFUSED', changes: { failure: refused } } as const
    for (const plan of [
      planCharge(before, { type: 'refresh' }),
      planCharge(before, { type: 'attempt', ...input }),
    ]) {
      expect(plan.after.charge).toMatchObject({ status: 'requires_action', failure })
    }
  })
})

type Fact = (stripe: StripeSide, random: () => number) => unknown

const paid = ({ payments }: StripeSide) => payments.find(({ received }) => received > 0)

function refundPart(status: 'pending' | 'succeeded'): Fact {
  return (stripe, random) => {
    const payment = paid(stripe)
    const amount = payment === undefined ? 0 : Math.ceil(stripe.left(payment) * random())
    if (payment === undefined || amount === 0) return
    const { paymentIntent } = payment
    stripe.refunds.push(refund(`re_${stripe.refunds.length}`, amount, { paymentIntent, status }))
  }
}

/** What may happen at Stripe to a charge whose two attempts were opened. */
const FACTS: Fact[] = [
  (stripe) => {
    const open = stripe.sessions.find(({ status }) => status === 'open')
    if (open !== undefined) stripe.pay(open, 1_000)
  },
  (stripe) => {
    const open = stripe.sessions.find(({ status }) => status === 'open')
    if (open !== undefined) stripe.debit(open, 1_000)
  },
  (stripe) => {
    const debit = stripe.payments.find(({ status }) => status === 'processing')
    if (debit !== undefined) Object.assign(debit, { status: 'succeeded', received: 1_000 })
  },
  (stripe) => {
    const debit = stripe.payments.find(({ status }) => status === 'processing')
    if (debit !== undefined) debit.status = 'requires_payment_method'
  },
  (stripe) => {
    const open = stripe.sessions.find(({ status }) => status === 'open')
    if (open !== undefined) open.status = 'expired'
  },
  refundPart('pending'),
  refundPart('succeeded'),
  (stripe, random) => {
    const pending = stripe.refunds.find(({ status }) => status === 'pending')
    if (pending !== undefined) pending.status = random() < 0.5 ? 'succeeded' : 'failed'
  },
  (stripe, random) => {
    const last = stripe.disputes.at(-1)
    if (last !== undefined) last.status = random() < 0.5 ? 'won' : 'lost'
    else if (paid(stripe) !== undefined) stripe.disputes.push(dispute('needs_response'))
  },
]

describe('random histories of a charge', () => {
  it('end the same for any snapshots in between, and never break a rule', () => {
    for (let seed = 1; seed <= 5_000; seed += 1) {
      const random = generator(seed)
      const stripe = new StripeSide()
      const start = charge([card(1, { state: 'cancelled' }), page(2)])
      stripe.openSession(2)
      let ours = start
      let successes = 0
      let declines = 0
      for (let step = 0; step < 10; step += 1) {
        FACTS[Math.floor(random() * FACTS.length)]?.(stripe, random)
        if (random() < 0.4) continue
        const plan = read(ours, stripe.snapshot())
        const again = read(plan.after, stripe.snapshot())
        expect(again.after).toEqual(plan.after)
        expect(again.declines).toEqual([])
        const isPaid = ({ status }: Charge) => status === 'succeeded' || status === 'refunded'
        if (isPaid(plan.after.charge) && !isPaid(ours.charge)) successes += 1
        declines += plan.declines.length
        ours = plan.after
        const { status, amountReceived, amountRefunded, amountRefunding } = ours.charge
        // The check constraint of the table.
        expect(amountRefunded + amountRefunding).toBeLessThanOrEqual(amountReceived)
        expect(isPaid(ours.charge)).toBe(paid(stripe) !== undefined)
        expect(status === 'refunded').toBe(amountReceived > 0 && amountRefunded === amountReceived)
      }
      expect(successes + declines).toBeLessThanOrEqual(1)
      const end = stripe.snapshot()
      expect(read(ours, end).after.charge).toEqual(read(start, end).after.charge)
    }
  })
})
