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
import type {
  BulkPurchase,
  PurchaseAggregate,
  RaisedFlag,
} from '../../src/purchases/purchase-aggregate.ts'

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
  const { after, before, issuesVouchers } = plan
  const hasVouchers = before.target !== null || issuesVouchers
  const target = plan.target === null ? before.target : { ...plan.target, missing: 0 }
  return { ...after, flags: savedFlags(plan), target: hasVouchers ? target : null }
}

const RAISED = { raisedAt: EPOCH.toISOString(), isOpen: true }

function savedFlags({ before: { flags }, raisedFlags, withdrawnFlags }: PurchasePlan) {
  if (raisedFlags.length === 0 && withdrawnFlags.length === 0) return flags
  const isWithdrawn = ({ code, fact }: RaisedFlag) =>
    withdrawnFlags.some((one) => one.code === code && one.fact === fact)
  if (flags.filter((flag) => flag.isOpen && isWithdrawn(flag)).length !== withdrawnFlags.length) {
    throw new Error(`not open, so not to be withdrawn: ${JSON.stringify(withdrawnFlags)}`)
  }
  const raised = raisedFlags.map(({ code, flag }) => ({ code, ...flag, ...RAISED }))
  return [...flags.filter((flag) => !isWithdrawn(flag)), ...raised]
}

const INSERTED = {
  state: 'creating',
  sessionId: null,
  url: null,
  expiresAt: null,
  paymentIntentId: null,
  paymentMethod: null,
  confirms: 0,
  decline: null,
  failure: null,
  createdAt: EPOCH,
} as const

const COMMON_PARAMS = { description: 'codes', currency: 'EUR', sponsorId: null }
const CARD_PARAMS = { ...COMMON_PARAMS, amount: 100, named: null }
const CHECKOUT_PARAMS = {
  ...COMMON_PARAMS,
  successUrl: 'https://a.example',
  cancelUrl: 'https://b.example',
  quantity: 1,
  unitAmount: 100,
  contactEmail: null,
  expiresAt: null,
  invoiceCreation: false,
  taxIdCollection: false,
}

/** An attempt by the payment page or by a saved card, as it is inserted. */
export function newAttempt(attempt: number, kind: PaymentAttempt['kind']): PaymentAttempt {
  return kind === 'saved_card'
    ? { attempt, ...INSERTED, kind, params: CARD_PARAMS }
    : { attempt, ...INSERTED, kind, params: CHECKOUT_PARAMS }
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
    const payment = this.receive(session.attempt, amount, currency)
    Object.assign(session, { status: 'complete', paid: true, paymentIntent: payment.paymentIntent })
    return payment
  }

  /** A payment that succeeds at once. Without an attempt: staff take it in Stripe's dashboard. */
  receive(attempt: number | null, amount: number, currency = 'EUR'): PaymentIntentSnapshot {
    const payment = this.#newPayment(attempt, amount, currency)
    payment.received = amount
    payment.status = 'succeeded'
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

  #newPayment(attempt: number | null, amount: number, currency: string): PaymentIntentSnapshot {
    const payment: PaymentIntentSnapshot = {
      paymentIntent: attempt === null ? 'pi_dashboard' : `pi_${attempt}`,
      attempt,
      status: 'requires_payment_method',
      amount,
      received: 0,
      currency,
      chargedAt: null,
      decline: null,
    }
    this.payments.push(payment)
    return payment
  }

  /** Whether a refund or a dispute of the payment exists. */
  isReturned({ paymentIntent }: PaymentIntentSnapshot): boolean {
    return [...this.refunds, ...this.disputes].some((one) => one.paymentIntent === paymentIntent)
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
