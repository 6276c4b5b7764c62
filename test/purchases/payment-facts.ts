import { isPayable } from '../../src/payments/attempt-machine.ts'
import { balancesOf, refundable } from '../../src/payments/balances.ts'
import type { RecordedPayment } from '../../src/payments/payment-records.ts'
import { disputeOutcome } from '../../src/payments/payment-snapshot.ts'
import {
  type PurchaseInput,
  type PurchasePlan,
  planPurchase,
} from '../../src/purchases/plan-purchase.ts'
import {
  allowedActions,
  type PurchaseAggregate,
  paymentsToDecide,
} from '../../src/purchases/purchase-aggregate.ts'
import { newAggregate, newAttempt, StripeSide, saved } from './payment-history.ts'

export const QUANTITY = 5
export const TOTAL = 500

const ORDERED = newAggregate(QUANTITY)
const FREE = newAggregate(QUANTITY, 0)

/** One purchase and what Stripe has of it. */
export class History {
  stripe = new StripeSide()
  ours: PurchaseAggregate
  /** How often vouchers were issued. */
  issues = 0
  ticket = 0
  applied = 0
  readonly log: string[] = []

  constructor(ours: PurchaseAggregate = ORDERED) {
    this.ours = ours
  }

  /** Of a purchase without a price. */
  static free(): History {
    return new History(FREE)
  }

  clone(): History {
    const copy = new History(this.ours)
    copy.stripe = this.stripe.clone()
    copy.issues = this.issues
    copy.ticket = this.ticket
    copy.applied = this.applied
    copy.log.push(...this.log)
    return copy
  }

  plan(input: PurchaseInput): PurchasePlan {
    const plan = planPurchase(this.ours, input)
    if (plan.issuesVouchers) this.issues += 1
    this.ours = saved(plan)
    return plan
  }

  read(): void {
    this.ticket += 1
    this.apply(this.ticket, this.stripe.snapshot())
  }

  apply(ticket: number, snapshot: ReturnType<StripeSide['snapshot']>): void {
    if (ticket < this.applied) return
    this.applied = ticket
    this.plan({ type: 'snapshot', snapshot })
  }

  /** Staff resolve the flags of one payment. */
  resolveFlags(paymentIntent: string): void {
    const flags = this.ours.flags.map((flag) =>
      flag.fact === paymentIntent ? { ...flag, isOpen: false } : flag,
    )
    this.ours = { ...this.ours, flags }
  }
}

/** A fact that may happen now, or null if it may not. */
type Fact = (history: History, random: () => number) => (() => void) | null

export const pick = <T>(all: readonly T[], random: () => number): T | undefined =>
  all[Math.floor(random() * all.length)]

const openSession = ({ stripe }: History) =>
  stripe.sessions.findLast(({ status }) => status === 'open')

const paidPayment = ({ stripe }: History, random: () => number) =>
  pick(
    stripe.payments.filter(({ received }) => received > 0),
    random,
  )

function refundFact(share: number, status: 'pending' | 'succeeded'): Fact {
  return (history, random) => {
    const { stripe } = history
    const payment = paidPayment(history, random)
    const amount = payment === undefined ? 0 : Math.floor(stripe.left(payment) * share)
    if (payment === undefined || amount === 0) return null
    return () => {
      stripe.refunds.push({
        id: `re_${stripe.refunds.length + 1}`,
        paymentIntent: payment.paymentIntent,
        status,
        amount,
        currency: payment.currency,
        reason: null,
        failureReason: null,
        refundedAt: null,
      })
    }
  }
}

function refundEnds(from: 'pending' | 'succeeded', to: 'succeeded' | 'failed'): Fact {
  return ({ stripe }, random) => {
    const refund = pick(
      stripe.refunds.filter(({ status }) => status === from),
      random,
    )
    return refund === undefined ? null : () => void (refund.status = to)
  }
}

function disputeOpens(status: 'needs_response' | 'warning_needs_response'): Fact {
  return (history, random) => {
    const { stripe } = history
    const payment = paidPayment(history, random)
    const isDisputed = stripe.disputes.some((one) => one.paymentIntent === payment?.paymentIntent)
    if (payment === undefined || isDisputed) return null
    return () => {
      stripe.disputes.push({
        id: `dp_${stripe.disputes.length + 1}`,
        paymentIntent: payment.paymentIntent,
        status,
        amount: payment.received,
        currency: payment.currency,
        reason: null,
      })
    }
  }
}

function disputeEnds(to: 'won' | 'lost' | 'warning_closed'): Fact {
  return ({ stripe }, random) => {
    const open = stripe.disputes.filter(({ status }) => disputeOutcome(status) === 'open')
    const isInquiry = to === 'warning_closed'
    const fitting = open.filter(({ status }) => status.startsWith('warning') === isInquiry)
    const dispute = pick(fitting, random)
    return dispute === undefined ? null : () => void (dispute.status = to)
  }
}

function payFact(amount: number, currency: string): Fact {
  return (history) => {
    const session = openSession(history)
    return session === undefined ? null : () => void history.stripe.pay(session, amount, currency)
  }
}

/** A bank debit (`processing`) or the rest of a transfer (`requires_action`), of which nothing was returned. */
function debitEnds(
  from: 'processing' | 'requires_action',
  status: 'succeeded' | 'requires_payment_method',
): Fact {
  return ({ stripe }, random) => {
    const debit = pick(
      stripe.payments.filter((payment) => payment.status === from && !stripe.isReturned(payment)),
      random,
    )
    if (debit === undefined) return null
    return () => {
      debit.status = status
      if (status === 'succeeded') debit.received = debit.amount
      const session = stripe.sessions.find((one) => one.paymentIntent === debit.paymentIntent)
      if (session !== undefined) session.paid = status === 'succeeded'
    }
  }
}

/** A bank transfer arrives in parts. */
const transferBegins: Fact = (history) => {
  const session = openSession(history)
  return session === undefined
    ? null
    : () => {
        const payment = history.stripe.debit(session, TOTAL)
        payment.status = 'requires_action'
        payment.received = 200
      }
}

/** Staff take a second payment in Stripe's dashboard, while there is a first one with something left. */
const paySecond: Fact = ({ stripe }) => {
  const isLeft = stripe.payments.some(
    (payment) =>
      payment.status === 'succeeded' &&
      stripe.left(payment) > 0 &&
      !stripe.disputes.some((one) => one.paymentIntent === payment.paymentIntent),
  )
  const isTaken = stripe.payments.some(({ attempt }) => attempt === null)
  return isTaken || !isLeft ? null : () => void stripe.receive(null, TOTAL)
}

/** Opens the next payment page, if the purchase allows it. `isLost`: our process dies before it stores it. */
function openFact(isLost: boolean): Fact {
  return (history) => {
    const { attempts } = history.ours.records
    if (!allowedActions(history.ours, false).includes('checkout')) return null
    if (attempts.some(isPayable) || history.ours.purchase.totalAmount === 0) return null
    return () => {
      const number = attempts.length + 1
      const attempt = newAttempt(number, 'checkout')
      const records = { ...history.ours.records, attempts: [...attempts, attempt] }
      history.ours = { ...history.ours, records }
      const { sessionId, url, expiresAt } = history.stripe.openSession(number)
      const changes = { sessionId, url, expiresAt }
      if (!isLost) history.plan({ type: 'attempt', attempt: number, event: 'OPENED', changes })
    }
  }
}

const cancel: Fact = (history) => {
  const session = openSession(history)
  if (!allowedActions(history.ours, false).includes('cancel')) return null
  return () => {
    if (session !== undefined) {
      session.status = 'expired'
      history.plan({ type: 'attempt', attempt: session.attempt, event: 'CANCELLED' })
    }
    history.plan({ type: 'event', event: { type: 'CANCELLED' } })
  }
}

const accept: Fact = (history) => {
  const payment = paymentsToDecide(history.ours).at(-1)
  if (payment === undefined) return null
  return () => {
    const before = history.ours
    history.resolveFlags(payment.paymentIntent)
    const { accepted } = history.plan({ type: 'accept_payment', ...payment })
    if (!accepted) history.ours = before
  }
}

const resolve: Fact = (history) => {
  const flag = history.ours.flags.find(({ fact, isOpen }) => isOpen && fact.startsWith('pi_'))
  return flag === undefined ? null : () => history.resolveFlags(flag.fact)
}

const reinstate: Fact = (history) => {
  const isFlagged = history.ours.flags.some(({ code }) => code === 'refund_failed')
  if (!isFlagged || history.ours.purchase.status !== 'REFUNDED') return null
  return () => void history.plan({ type: 'event', event: { type: 'REINSTATED' } })
}

const recordPayment: Fact = (history) => {
  const session = openSession(history)
  if (!allowedActions(history.ours, false).includes('mark_paid')) return null
  // The payer was faster, and no snapshot shows it yet: the page cannot be closed.
  if (session === undefined && history.ours.records.attempts.some(isPayable)) return null
  return () => {
    if (session !== undefined) {
      session.status = 'expired'
      history.plan({ type: 'attempt', attempt: session.attempt, event: 'CANCELLED' })
    }
    const { accepted } = history.plan({ type: 'recorded_payment', payment: RECORDED })
    if (!accepted) throw new Error('an allowed action was refused')
  }
}

const RECORDED = {
  id: 'rp_1',
  amount: TOTAL,
  currency: 'EUR',
  method: 'cash',
  reference: 'receipt 1',
  paidAt: new Date(0),
  note: null,
  refunds: [],
} as const satisfies RecordedPayment

function bookRefund(share: number): Fact {
  return (history) => {
    const { recorded } = history.ours.records
    if (recorded === null) return null
    const left = recorded.refunds.reduce((sum, { amount }) => sum - amount, recorded.amount)
    const amount = Math.floor(left * share)
    if (amount === 0) return null
    const refund = {
      id: `rfd_${recorded.refunds.length + 1}`,
      amount,
      reason: null,
      voucherIds: [],
    }
    return () => void history.plan({ type: 'recorded_refund', refund })
  }
}

/** Staff refund codes by name: the ids of vouchers. `answer`: what Stripe says, or null if it is not known yet. */
function refundCodes(answer: 'pending' | 'succeeded' | 'refused' | null): Fact {
  return (history, random) => {
    const { stripe, ours } = history
    const payment = stripe.payments.find(
      ({ paymentIntent }) => paymentIntent === ours.purchase.paymentIntentId,
    )
    const left = balancesOf(ours.records).find(
      (one) => one.paymentIntent === payment?.paymentIntent,
    )
    const isPaid = ours.purchase.status === 'PAID' && ours.purchase.accepted === null
    if (payment === undefined || left === undefined || !isPaid) return null
    const amount = TOTAL / QUANTITY
    if (Math.min(refundable(left), stripe.left(payment)) < amount) return null
    return () => {
      const { requests } = ours.records
      const id = `rr_${requests.length + 1}`
      const { paymentIntent, currency } = payment
      const refundId = answer === 'pending' || answer === 'succeeded' ? `re_of_${id}` : null
      const state = answer === null ? 'requested' : answer === 'refused' ? 'refused' : 'accepted'
      const voucherIds = [1 + Math.floor(random() * QUANTITY)]
      const request = { id, paymentIntent, amount, reason: null, refusal: null, voucherIds }
      const records = { ...ours.records, requests: [...requests, { ...request, state, refundId }] }
      history.ours = { ...ours, records } as PurchaseAggregate
      if (refundId !== null) {
        const refund = { id: refundId, paymentIntent, amount, currency, reason: null }
        stripe.refunds.push({
          ...refund,
          status: answer as 'pending',
          failureReason: null,
          refundedAt: null,
        })
      }
      history.plan({ type: 'refresh' })
    }
  }
}

function staffEvent(type: 'COMP_APPROVED' | 'COMP_REVOKED', action: 'approve' | 'revoke'): Fact {
  return (history) =>
    allowedActions(history.ours, false).includes(action)
      ? () => void history.plan({ type: 'event', event: { type } })
      : null
}

export const AT_STRIPE: Record<string, Fact> = {
  pay: payFact(TOTAL, 'EUR'),
  'pay less': payFact(300, 'EUR'),
  'pay in another currency': payFact(700, 'USD'),
  'a second payment arrives': paySecond,
  'debit begins': (history) => {
    const session = openSession(history)
    return session === undefined ? null : () => void history.stripe.debit(session, TOTAL)
  },
  'debit succeeds': debitEnds('processing', 'succeeded'),
  'debit fails': debitEnds('processing', 'requires_payment_method'),
  'part of a transfer arrives': transferBegins,
  'the rest of a transfer arrives': debitEnds('requires_action', 'succeeded'),
  'session expires': (history) => {
    const session = openSession(history)
    return session === undefined ? null : () => void (session.status = 'expired')
  },
  'refund of all': refundFact(1, 'succeeded'),
  'refund of a half': refundFact(0.5, 'succeeded'),
  'refund of all is pending': refundFact(1, 'pending'),
  'refund of a part is pending': refundFact(0.4, 'pending'),
  'pending refund succeeds': refundEnds('pending', 'succeeded'),
  'pending refund fails': refundEnds('pending', 'failed'),
  'refund fails after all': refundEnds('succeeded', 'failed'),
  'dispute opens': disputeOpens('needs_response'),
  'inquiry opens': disputeOpens('warning_needs_response'),
  'dispute is won': disputeEnds('won'),
  'dispute is lost': disputeEnds('lost'),
  'inquiry closes': disputeEnds('warning_closed'),
}

export const HERE: Record<string, Fact> = {
  'checkout opens': openFact(false),
  'checkout opens, and its answer is lost': openFact(true),
  'staff cancel': cancel,
  'staff accept a payment': accept,
  'staff resolve a flag': resolve,
  'staff reinstate': reinstate,
  'staff record a payment': recordPayment,
  'the whole recorded payment is paid back': bookRefund(1),
  'a part of the recorded payment is paid back': bookRefund(0.3),
  'codes are refunded': refundCodes('succeeded'),
  'codes are refunded later': refundCodes('pending'),
  'the answer to a refund of codes is lost': refundCodes(null),
  'a refund of codes is refused': refundCodes('refused'),
  'staff approve': staffEvent('COMP_APPROVED', 'approve'),
  'staff revoke': staffEvent('COMP_REVOKED', 'revoke'),
}
