import type { PaymentAttempt } from '../../src/payments/payment-records.ts'
import { NO_RECORDS } from '../../src/payments/payment-records.ts'
import type {
  DisputeSnapshot,
  PaymentIntentSnapshot,
  PaymentSnapshot,
  RefundSnapshot,
  SessionSnapshot,
} from '../../src/payments/payment-snapshot.ts'
import type { PurchasePlan } from '../../src/purchases/plan-purchase.ts'
import type { BulkPurchase, PurchaseAggregate } from '../../src/purchases/purchase-aggregate.ts'

const EPOCH = new Date(0)

/** A PENDING purchase of `quantity` codes at 1.00 EUR, as it is stored. */
function newPurchase(quantity: number, unitAmount = 100): BulkPurchase {
  return {
    conferenceId: 'conf_1',
    id: 'bp_1',
    sponsorId: null,
    status: 'PENDING',
    quantity,
    unitAmount,
    totalAmount: quantity * unitAmount,
    currency: 'EUR',
    priceSource: 'catalogue',
    description: 'codes',
    reference: null,
    ticketTypeId: null,
    addOnId: null,
    terms: {
      voucherType: 'comp',
      discountValue: 0,
      maxUses: 1,
      validFrom: null,
      validUntil: null,
      unlocksHiddenTickets: false,
      prefix: 'B-',
    },
    amountReceived: 0,
    amountRefunded: 0,
    paymentIntentId: null,
    accepted: null,
    failure: null,
    reconcileTicket: 0,
    appliedTicket: 0,
    reconciledAt: null,
    requestedBy: 'test',
    approvedBy: null,
    createdAt: EPOCH,
    updatedAt: EPOCH,
    paidAt: null,
    refundedAt: null,
  }
}

export function newAggregate(quantity: number, unitAmount?: number): PurchaseAggregate {
  return {
    purchase: newPurchase(quantity, unitAmount),
    records: NO_RECORDS,
    flags: [],
    target: null,
  }
}

/** What the next load finds after a plan was saved. */
export function saved(plan: PurchasePlan): PurchaseAggregate {
  const { after, before, raisedFlags, issuesVouchers } = plan
  const flags = raisedFlags.map(({ code, flag: { fact, detail } }) => ({
    code,
    fact,
    detail,
    raisedAt: EPOCH.toISOString(),
    isOpen: true,
  }))
  const hasVouchers = before.target !== null || issuesVouchers
  const target = plan.target === null ? before.target : { ...plan.target, missing: 0 }
  return { ...after, flags: [...after.flags, ...flags], target: hasVouchers ? target : null }
}

/** An attempt by the payment page or by a saved card, as it is inserted. */
export function newAttempt(attempt: number, kind: PaymentAttempt['kind']): PaymentAttempt {
  const common = {
    attempt,
    state: 'creating' as const,
    sessionId: null,
    url: null,
    expiresAt: null,
    paymentIntentId: null,
    paymentMethod: null,
    confirms: 0,
    decline: null,
    failure: null,
    createdAt: EPOCH,
  }
  const base = { description: 'codes', currency: 'EUR', sponsorId: null }
  if (kind === 'saved_card') {
    return { ...common, kind, params: { ...base, amount: 100, named: null } }
  }
  const urls = { successUrl: 'https://a.example', cancelUrl: 'https://b.example' }
  const params = {
    ...base,
    ...urls,
    quantity: 1,
    unitAmount: 100,
    contactEmail: null,
    expiresAt: null,
    invoiceCreation: false,
    taxIdCollection: false,
  }
  return { ...common, kind, params }
}

/** What Stripe has of one purchase. It only ever moves forward, as Stripe does. */
export class StripeSide {
  sessions: SessionSnapshot[] = []
  payments: PaymentIntentSnapshot[] = []
  refunds: RefundSnapshot[] = []
  disputes: DisputeSnapshot[] = []

  clone(): StripeSide {
    return Object.assign(new StripeSide(), this.snapshot())
  }

  snapshot(): PaymentSnapshot {
    return {
      sessions: this.sessions.map((session) => ({ ...session })),
      payments: this.payments.map((payment) => ({ ...payment })),
      refunds: this.refunds.map((refund) => ({ ...refund })),
      disputes: this.disputes.map((dispute) => ({ ...dispute })),
      warnings: [],
    }
  }

  openSession(attempt: number): SessionSnapshot {
    const session: SessionSnapshot = {
      attempt,
      sessionId: `cs_${attempt}`,
      status: 'open',
      paid: false,
      paymentIntent: null,
      url: 'https://pay.example',
      expiresAt: EPOCH,
    }
    this.sessions.push(session)
    return session
  }

  pay(session: SessionSnapshot, amount: number, currency = 'EUR'): PaymentIntentSnapshot {
    const payment = this.#newPayment(session.attempt, amount, currency)
    payment.received = amount
    payment.status = 'succeeded'
    Object.assign(session, { status: 'complete', paid: true, paymentIntent: payment.paymentIntent })
    return payment
  }

  /** A bank debit: the payer has finished, the money has not arrived. */
  debit(session: SessionSnapshot, amount: number): PaymentIntentSnapshot {
    const payment = this.#newPayment(session.attempt, amount, 'EUR')
    payment.status = 'processing'
    Object.assign(session, {
      status: 'complete',
      paid: false,
      paymentIntent: payment.paymentIntent,
    })
    return payment
  }

  #newPayment(attempt: number, amount: number, currency: string): PaymentIntentSnapshot {
    const payment: PaymentIntentSnapshot = {
      paymentIntent: `pi_${attempt}`,
      attempt,
      status: 'requires_payment_method',
      amount,
      received: 0,
      currency,
      decline: null,
    }
    this.payments.push(payment)
    return payment
  }

  /** How much of a payment Stripe would still refund. */
  left({ paymentIntent, received }: PaymentIntentSnapshot): number {
    const out = this.refunds
      .filter((refund) => refund.paymentIntent === paymentIntent)
      .filter(({ status }) => status !== 'failed' && status !== 'canceled')
      .reduce((sum, { amount }) => sum + amount, 0)
    return received - out
  }
}
