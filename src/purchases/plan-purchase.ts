import { isPayable } from '../payments/attempt-machine.ts'
import { balancesOf, netOf, type PaymentBalance, sumBalances } from '../payments/balances.ts'
import type {
  Failure,
  PaymentRecords,
  RecordedPayment,
  RecordedRefund,
} from '../payments/payment-records.ts'
import type { FraudWarning, PaymentSnapshot } from '../payments/payment-snapshot.ts'
import {
  type AttemptChange,
  type AttemptInput,
  applyAttemptEvent,
  applySnapshotToRecords,
} from '../payments/plan-records.ts'
import type { VoucherTarget } from '../vouchers/freeze-vouchers.ts'
import {
  disputeEvents,
  mismatch,
  NOTHING_RETURNED,
  paymentSucceeded,
  type Returned,
  refundEvents,
  secondPayment,
} from './money-events.ts'
import {
  type BulkPurchase,
  isPaid,
  machineContext,
  type PurchaseAggregate,
  targetOf,
} from './purchase-aggregate.ts'
import {
  decide,
  FLAG_OF_EVENT,
  type FlagCode,
  type FlagFact,
  type PurchaseEffect,
  type PurchaseEvent,
  type PurchaseStatus,
} from './purchase-machine.ts'

/** What happened, or what a person decided. */
export type PurchaseInput =
  | { type: 'snapshot'; snapshot: PaymentSnapshot }
  /** Stripe's answer to a request of ours about an attempt, or its close here. */
  | ({ type: 'attempt' } & AttemptInput)
  /** Staff accept a payment of another amount or currency as full payment. */
  | ({ type: 'accept_payment' } & Pick<PaymentBalance, 'paymentIntent' | 'received'>)
  /** Staff record a payment that came outside Stripe, or a refund of it. */
  | { type: 'recorded_payment'; payment: RecordedPayment }
  | { type: 'recorded_refund'; refund: RecordedRefund }
  /** Nothing happened: computes again what the vouchers must be. */
  | { type: 'refresh' }
  /** An event of the machine that a person or a timer sends. */
  | { type: 'event'; event: PurchaseEvent; approvedBy?: string }

/** One transition, with the purchase as it is after it. */
export type Transition = {
  from: PurchaseStatus
  to: PurchaseStatus
  event: PurchaseEvent
  purchase: BulkPurchase
}

/** Everything that an input changes. change-purchase.ts writes it. */
export type PurchasePlan = {
  before: PurchaseAggregate
  after: Omit<PurchaseAggregate, 'target'>
  /** What the vouchers must be. Null while the purchase has none. */
  target: VoucherTarget | null
  /** In causal order. */
  transitions: Transition[]
  raisedFlags: { code: FlagCode; flag: FlagFact }[]
  /** Open flags whose cause has ended. They are deleted, so that the same cause may raise them again. */
  withdrawnFlags: { code: FlagCode; fact: string }[]
  issuesVouchers: boolean
  /** Whether the machine took the input's own event; true for a snapshot. */
  accepted: boolean
}

/**
 * What happens when money arrives, goes back or fails to arrive, and what staff's decisions mean. Pure:
 * no clock, no I/O. The same snapshot again plans nothing. The machine decides each transition; what the
 * vouchers must be follows from the money and the disputes at the end, not from the order of events.
 */
export function planPurchase(before: PurchaseAggregate, input: PurchaseInput): PurchasePlan {
  const draft = new Draft(before)
  switch (input.type) {
    case 'snapshot':
      draft.applySnapshot(input.snapshot)
      break
    case 'attempt':
      draft.applyAttempt(input)
      break
    case 'accept_payment':
      draft.acceptPayment(input)
      break
    case 'refresh':
      break
    case 'recorded_payment':
      draft.recordPayment(input.payment)
      break
    case 'recorded_refund':
      draft.recordRefund(input.refund)
      break
    case 'event':
      draft.accepted = draft.send(input.event)
      if (draft.accepted && input.approvedBy !== undefined) {
        draft.change({ approvedBy: input.approvedBy })
      }
  }
  return draft.finish()
}

const PAYMENT_REFUNDED: Failure = {
  code: 'payment_refunded',
  message: 'The payment was refunded in full.',
}

/** The aggregate while events are folded over it. */
class Draft {
  readonly #before: PurchaseAggregate
  readonly #transitions: Transition[] = []
  readonly #raised: PurchasePlan['raisedFlags'] = []
  #now: PurchaseAggregate
  #issues = false
  accepted = true

  constructor(before: PurchaseAggregate) {
    this.#before = before
    this.#now = before
  }

  change(changes: Partial<BulkPurchase>): void {
    this.#now = { ...this.#now, purchase: { ...this.#now.purchase, ...changes } }
  }

  /** Sends an event to the machine. Returns whether the machine has such a transition. */
  send(event: PurchaseEvent): boolean {
    const from = this.#now.purchase.status
    const decision = decide(from, machineContext(this.#now), event)
    if (decision.kind === 'refused') return false
    this.change({ status: decision.status, ...fieldsAfter(event, this.#now.purchase) })
    for (const effect of decision.effects) effects[effect](this, event)
    this.#transitions.push({ from, to: decision.status, event, purchase: this.#now.purchase })
    return true
  }

  issueVouchers(): void {
    this.#issues = true
  }

  raise(code: FlagCode, flag: FlagFact): void {
    if (!this.#isFlagged(code, flag.fact)) this.#raised.push({ code, flag })
  }

  #isFlagged(code: FlagCode, fact: string): boolean {
    return (
      this.#before.flags.some((flag) => flag.code === code && flag.fact === fact) ||
      this.#raised.some((raised) => raised.code === code && raised.flag.fact === fact)
    )
  }

  applySnapshot(snapshot: PaymentSnapshot): void {
    const { records, changes } = applySnapshotToRecords(this.#now.records, snapshot)
    this.#setRecords(records)
    this.#checkoutEvents(changes)
    const becamePaid = this.#paymentEvents()
    // Before it was PAID, refunds and disputes had no effect, so all of them count now.
    this.#refundAndDisputeEvents(becamePaid ? NOTHING_RETURNED : this.#before.records)
    this.#fraudWarningEvents(snapshot.warnings)
    this.#failIfAllAttemptsEnded()
  }

  applyAttempt(input: AttemptInput): void {
    const applied = applyAttemptEvent(this.#now.records, input)
    this.accepted = applied !== null
    if (applied === null) return
    this.#setRecords(applied.records)
    this.#checkoutEvents([applied.change])
    const { before, after } = applied.change
    // A page that Stripe refused to open was never offered, so the purchase is as before.
    const wasOpen = before.state === 'open' && after.state === 'refused'
    if (wasOpen && after.failure !== null) {
      this.send({ type: 'PAYMENT_FAILED', failure: after.failure })
    }
  }

  /** Refused once the purchase is paid: another amount would then change what the codes cost. */
  acceptPayment({ paymentIntent, received }: { paymentIntent: string; received: number }): void {
    this.accepted = !isPaid(this.#now.purchase)
    if (!this.accepted) return
    this.change({ accepted: { paymentIntentId: paymentIntent, amount: received } })
    this.accepted = this.#paymentEvents()
    if (this.accepted) this.#refundAndDisputeEvents(NOTHING_RETURNED)
  }

  recordPayment(payment: RecordedPayment): void {
    const before = this.#now
    this.#setRecords({ ...before.records, recorded: payment })
    const { amount, currency, paidAt } = payment
    this.accepted = this.send({ type: 'PAYMENT_RECORDED', amount, currency, paidAt })
    if (!this.accepted) this.#now = before
    // Those of an earlier payment of another amount had no effect until now.
    else this.#refundAndDisputeEvents(NOTHING_RETURNED)
  }

  recordRefund(refund: RecordedRefund): void {
    const { records } = this.#now
    if (records.recorded === null) throw new Error('There is no recorded payment to refund')
    const recorded = { ...records.recorded, refunds: [...records.recorded.refunds, refund] }
    this.#setRecords({ ...records, recorded })
    const money = { amount: refund.amount, currency: recorded.currency, reason: refund.reason }
    // At most one of the two passes its guard.
    this.send({ type: 'PARTIALLY_REFUNDED', ...money })
    this.send({ type: 'REFUNDED', ...money })
  }

  finish(): PurchasePlan {
    return {
      before: this.#before,
      after: this.#now,
      target: targetOf(this.#now),
      transitions: this.#transitions,
      raisedFlags: this.#raised,
      withdrawnFlags: endedPaymentFlags(this.#now),
      issuesVouchers: this.#issues,
      accepted: this.accepted,
    }
  }

  /** The purchase shows the sums in its own currency; lists filter by them. */
  #setRecords(records: PaymentRecords): void {
    this.#now = { ...this.#now, records }
    const { currency, amountReceived, amountRefunded } = this.#now.purchase
    const { received, refunded } = sumBalances(balancesOf(records), currency)
    if (received === amountReceived && refunded === amountRefunded) return
    this.change({ amountReceived: received, amountRefunded: refunded })
  }

  #checkoutEvents(changes: AttemptChange[]): void {
    for (const { before, after, decline } of changes) {
      const isNew = before.state !== after.state
      if (isNew && after.state === 'open') this.send({ type: 'CHECKOUT_OPENED' })
      if (isNew && after.state === 'processing') this.send({ type: 'PAYMENT_PENDING' })
      const isNewest = after.attempt === this.#now.records.attempts.at(-1)?.attempt
      if (decline !== null && isNewest) this.#decline(decline)
    }
  }

  /**
   * A decline explains a purchase that failed without a payment, also if the page ended before the decline was
   * seen: the result must not depend on the order of Stripe's events.
   */
  #decline(failure: Failure): void {
    if (this.send({ type: 'PAYMENT_DECLINED', failure })) return
    const { status, failure: known } = this.#now.purchase
    const isUnexplained = known?.code === CANCELLED.code || known?.code === CHECKOUT_EXPIRED.code
    if (status === 'FAILED' && isUnexplained) this.change({ failure })
  }

  /**
   * Handles each payment that Stripe has received, in the order of the attempts. It pays the purchase, or
   * staff must decide about what is left of it: it is a second payment, or it has another amount.
   *
   * @returns whether the purchase became PAID.
   */
  #paymentEvents(): boolean {
    let becamePaid = false
    for (const payment of balancesOf(this.#now.records)) {
      const { paymentIntent } = payment
      if (
        payment.isRecorded ||
        payment.received === 0 ||
        paymentIntent === this.#now.purchase.paymentIntentId
      )
        continue
      const isSecond = isPaid(this.#now.purchase)
      if (!isSecond && this.send(paymentSucceeded(this.#now.purchase, payment))) becamePaid = true
      else if (
        netOf(payment) > 0 &&
        !PAYMENT_FLAGS.some((code) => this.#isFlagged(code, paymentIntent))
      ) {
        this.send(isSecond ? secondPayment(payment) : mismatch(this.#now.purchase, payment))
      }
    }
    return becamePaid
  }

  /**
   * Handles refunds and disputes whose status differs from `before`. The machine's guards compare the
   * sums as they are now, so one event for each kind of change is enough: the result is the same whether
   * refunds arrive in one snapshot or in several.
   */
  #refundAndDisputeEvents(before: Returned): void {
    for (const event of disputeEvents(this.#now.records, before)) this.send(event)
    for (const event of refundEvents(this.#now.records, before)) this.send(event)
  }

  #fraudWarningEvents(warnings: FraudWarning[]): void {
    for (const { id, fraudType, paymentIntent } of warnings) {
      if (this.#isFlagged('early_fraud_warning', id)) continue
      const detail = `The bank reported possible fraud (${fraudType}) on payment ${paymentIntent}. Refund the payment if it is fraudulent.`
      this.send({ type: 'FRAUD_WARNED', flag: { fact: id, detail } })
    }
  }

  /**
   * Fails an unpaid purchase whose attempts have all ended. It looks at the records and not at what
   * changed, so that a purchase which a crash left PROCESSING fails with the next snapshot.
   */
  #failIfAllAttemptsEnded(): void {
    const { status } = this.#now.purchase
    if (status !== 'PROCESSING' && status !== 'PENDING') return
    const { attempts } = this.#now.records
    const hasEnded = attempts.some((one) => !isPayable(one) && one.state !== 'refused')
    if (!hasEnded) return
    const last = attempts.findLast(({ state }) => state !== 'refused')
    const wasRefunded = this.#now.records.payments.some(({ received }) => received > 0)
    const failure = last?.failure ?? (wasRefunded ? PAYMENT_REFUNDED : null)
    if (failure !== null) this.send({ type: 'PAYMENT_FAILED', failure })
    // The machine refuses it while anything is open, pending or paid, and after PAYMENT_FAILED.
    this.send({ type: 'CHECKOUT_EXPIRED' })
  }
}

const CHECKOUT_EXPIRED: Failure = {
  code: 'checkout_expired',
  message: 'The checkout expired before it was paid.',
}
const CANCELLED: Failure = { code: 'cancelled', message: 'The purchase was cancelled.' }

/**
 * What else an event changes on the purchase: the reason of a failure, or the payment that paid it. If a
 * payment failed before the checkout ended, its failure stays: it is the reason why nothing was paid.
 */
function fieldsAfter(event: PurchaseEvent, { failure }: BulkPurchase): Partial<BulkPurchase> {
  switch (event.type) {
    case 'PAYMENT_SUCCEEDED':
      return { paymentIntentId: event.paymentIntent, failure: null }
    case 'PAYMENT_RECORDED':
      return { failure: null, paidAt: event.paidAt }
    case 'PAYMENT_FAILED':
      return { failure: event.failure }
    case 'CHECKOUT_EXPIRED':
      return { failure: failure ?? CHECKOUT_EXPIRED }
    case 'CANCELLED':
      return { failure: failure ?? CANCELLED }
    case 'CHECKOUT_OPENED':
    case 'PAYMENT_PENDING':
      return { failure: null }
    default:
      return {}
  }
}

/**
 * Adds nothing: which vouchers are frozen or inactive follows at the end (`targetOf`) from the money and the disputes as
 * they are then, whatever the order of events.
 */
const derivedAtTheEnd = () => {}

/** What each effect of the machine adds to the plan. An effect without an entry does not compile. */
const effects: Record<PurchaseEffect, (draft: Draft, event: PurchaseEvent) => void> = {
  issueVouchers: (draft) => draft.issueVouchers(),
  flagForStaff(draft, event) {
    if (!('flag' in event)) throw new Error(`${event.type} raises no flag`)
    draft.raise(FLAG_OF_EVENT[event.type], event.flag)
  },
  recordDecline(draft, event) {
    if (event.type !== 'PAYMENT_DECLINED') throw new Error(`${event.type} is no decline`)
    draft.change({ failure: event.failure })
  },
  freezeForRefund: derivedAtTheEnd,
  unfreezeAfterRefund: derivedAtTheEnd,
  freezeForDispute: derivedAtTheEnd,
  unfreezeAfterDispute: derivedAtTheEnd,
  deactivateUnredeemed: derivedAtTheEnd,
  deactivateVouchers: derivedAtTheEnd,
  reactivateVouchers: derivedAtTheEnd,
}

/** The flags of a payment that does not pay the purchase. Each exists while something is left of it. */
const PAYMENT_FLAGS: readonly FlagCode[] = ['overpaid', 'amount_mismatch']

/** A payment also pays the purchase after its flag was raised: the rest of a bank transfer arrived. */
function endedPaymentFlags({ purchase, records, flags }: PurchaseAggregate) {
  const hasCause = (fact: string) =>
    fact !== purchase.paymentIntentId &&
    balancesOf(records).some((payment) => payment.paymentIntent === fact && netOf(payment) > 0)
  return flags
    .filter(({ code, fact, isOpen }) => isOpen && PAYMENT_FLAGS.includes(code) && !hasCause(fact))
    .map(({ code, fact }) => ({ code, fact }))
}
