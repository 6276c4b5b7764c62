import { describe, expect, it } from 'vitest'
import type { Charge, ChargeAggregate } from '../../../src/billing/charges/charge-store.ts'
import { planCharge } from '../../../src/billing/charges/plan-charge.ts'
import type { PaymentAttempt } from '../../../src/payments/payment-records.ts'
import { NO_RECORDS } from '../../../src/payments/payment-records.ts'
import type { PaymentSnapshot } from '../../../src/payments/payment-snapshot.ts'
import { dispute, NOTHING, payment, refund, session } from '../../purchases/purchase-scene.ts'

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

const common = {
  sessionId: null,
  url: null,
  expiresAt: null,
  paymentIntentId: null,
  paymentMethod: null,
  confirms: 0,
  decline: null,
  failure: null,
  createdAt: NOW,
}

const card = (attempt: number, over: Partial<PaymentAttempt> = {}): PaymentAttempt =>
  ({
    kind: 'saved_card',
    params: { description: 'x', amount: 1_000, currency: 'EUR', sponsorId: null, named: null },
    attempt,
    state: 'open',
    ...common,
    paymentIntentId: `pi_${attempt}`,
    ...over,
  }) as PaymentAttempt

const page = (attempt: number, over: Partial<PaymentAttempt> = {}): PaymentAttempt =>
  ({
    kind: 'checkout',
    params: {},
    attempt,
    state: 'open',
    ...common,
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

  it('is processing while a bank transfer has arrived in part', () => {
    const { after } = read(charge([page(1)]), {
      sessions: [session({ paid: false })],
      payments: [payment({ status: 'requires_action', received: 400 })],
    })
    expect(after.charge).toMatchObject({ status: 'processing', amountReceived: 400 })
  })

  it('never refunds more than it received, whatever was requested and lost', () => {
    const before = charge([card(1, { state: 'paid' })])
    const request = { id: 'r', paymentIntent: 'pi_1', amount: 900, reason: null } as const
    const requests = [{ ...request, state: 'requested', refundId: null, refusal: null } as const]
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
