import type { PaymentRecords, RecordedPayment } from './payment-records.ts'
import { disputeOutcome, isRefundPending } from './payment-snapshot.ts'

/** The balance of one payment, in minor units of its own currency. */
export type PaymentBalance = {
  /** The id of the payment intent; for money that did not come through Stripe, of the recorded payment (`rp_…`). */
  paymentIntent: string
  /** Whether it came outside Stripe: then Stripe cannot refund it. */
  isRecorded: boolean
  currency: string
  received: number
  refunded: number
  /** Refunds that Stripe accepted and has not sent yet. */
  refundPending: number
  /** Lost disputes. */
  lost: number
  /** Whether a dispute is open. */
  disputed: boolean
  /** Requested here, not refused, and in no snapshot yet. It counts as refunded for further requests. */
  requested: number
}

/** The balance of every payment, in the order of the records. */
export function balancesOf({
  payments,
  refunds,
  disputes,
  requests,
  recorded,
}: PaymentRecords): PaymentBalance[] {
  const listed = new Set(refunds.map(({ id }) => id))
  const ofStripe = payments.map(({ paymentIntent, currency, received }) => {
    const ofPayment = <T extends { paymentIntent: string }>(all: T[]) =>
      all.filter((one) => one.paymentIntent === paymentIntent)
    // An amount in another currency cannot be subtracted: staff decide by the flag of the dispute.
    const inCurrency = <T extends { currency: string }>(all: T[]) =>
      all.filter((one) => one.currency === currency)
    const ownRefunds = inCurrency(ofPayment(refunds))
    const ownDisputes = ofPayment(disputes)
    return {
      paymentIntent,
      isRecorded: false,
      currency,
      received,
      refunded: sum(ownRefunds.filter(({ status }) => status === 'succeeded')),
      refundPending: sum(ownRefunds.filter(({ status }) => isRefundPending(status))),
      lost: sum(inCurrency(ownDisputes).filter(({ status }) => disputeOutcome(status) === 'lost')),
      disputed: ownDisputes.some(({ status }) => disputeOutcome(status) === 'open'),
      requested: sum(
        ofPayment(requests).filter(
          ({ state, refundId }) =>
            state !== 'refused' && (refundId === null || !listed.has(refundId)),
        ),
      ),
    }
  })
  return recorded === null ? ofStripe : [...ofStripe, recordedBalance(recorded)]
}

function recordedBalance({ id, currency, amount, refunds }: RecordedPayment): PaymentBalance {
  return {
    paymentIntent: id,
    isRecorded: true,
    currency,
    received: amount,
    refunded: sum(refunds),
    refundPending: 0,
    lost: 0,
    disputed: false,
    requested: 0,
  }
}

function sum(amounts: { amount: number }[]): number {
  return amounts.reduce((total, { amount }) => total + amount, 0)
}

/** What is left of a payment after refunds and lost disputes. */
export function netOf({ received, refunded, lost }: PaymentBalance): number {
  return received - refunded - lost
}

/** How much of a payment a new refund may be: nothing while it is disputed. */
export function refundable(balance: PaymentBalance): number {
  if (balance.disputed) return 0
  return Math.max(0, netOf(balance) - balance.refundPending - balance.requested)
}

/** The sums over payments of one currency. Integer minor units. */
export type Money = {
  received: number
  refunded: number
  refundPending: number
  lost: number
  /** received − refunded − lost */
  net: number
  disputed: boolean
}

/** Sums the payments of one currency: amounts of different currencies are never added. */
export function sumBalances(balances: PaymentBalance[], currency: string): Money {
  const counted = balances.filter((balance) => balance.currency === currency)
  const total = (of: (balance: PaymentBalance) => number) =>
    counted.reduce((all, balance) => all + of(balance), 0)
  return {
    received: total(({ received }) => received),
    refunded: total(({ refunded }) => refunded),
    refundPending: total(({ refundPending }) => refundPending),
    lost: total(({ lost }) => lost),
    net: total(netOf),
    disputed: counted.some(({ disputed }) => disputed),
  }
}
