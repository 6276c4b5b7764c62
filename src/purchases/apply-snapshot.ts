import type { Tx } from '../db/connect.ts'
import type { PurchaseRef } from '../payments/payment-gateway.ts'
import {
  disputeOutcome,
  isRefundFailed,
  isRefundPending,
  type PaymentIntentSnapshot,
  type PaymentSnapshot,
  type SessionSnapshot,
} from '../payments/payment-snapshot.ts'
import { formatMoney } from '../shared/money.ts'
import {
  type AttemptPayment,
  type AttemptState,
  listAttempts,
  type PaymentAttempt,
  updateAttempt,
} from './payment-attempt-store.ts'
import {
  loadBalances,
  loadRefundAndDisputeStatuses,
  type PaymentBalance,
  type RefundAndDisputeStatuses,
  savePayments,
} from './payment-store.ts'
import { loadAggregate } from './purchase-aggregate.ts'
import { flaggedFacts } from './purchase-flags.ts'
import type { Failure, PurchaseEvent } from './purchase-machine.ts'
import { type BulkPurchase, type Cause, lockPurchase, updatePurchase } from './purchase-store.ts'
import { markFailed, transitionPurchase } from './transition-purchase.ts'

/**
 * Turns one reading of Stripe into business facts, in the order in which they happen, and lets the
 * machine decide on each. Runs under the purchase's lock; applying the same reading again changes
 * nothing.
 */
export async function applySnapshot(
  trx: Tx,
  ref: PurchaseRef,
  facts: PaymentSnapshot,
  cause: Cause,
): Promise<void> {
  const known = await loadRefundAndDisputeStatuses(trx, ref)
  const attempts = await listAttempts(trx, ref)
  await savePayments(trx, ref, facts)
  const news = [
    ...(await applySessions(trx, ref, attempts, facts)),
    ...(await applyCardPayments(trx, ref, attempts, facts)),
  ]
  await saveTotals(trx, ref)

  await applyCheckoutEvents(trx, ref, news, cause)
  const becamePaid = await applyPayments(trx, ref, cause)
  // What was known before the purchase was paid has had no effect yet, so all of it is news now.
  await applyRefundsAndDisputes(
    trx,
    ref,
    becamePaid ? { refunds: new Map(), disputes: new Map() } : known,
    cause,
  )
  await flagFraudWarnings(trx, ref, facts, cause)
  await failIfAllAttemptsEnded(trx, ref, news, cause)
}

async function applyCheckoutEvents(
  trx: Tx,
  ref: PurchaseRef,
  news: AttemptChange[],
  cause: Cause,
): Promise<void> {
  for (const { opened, pending, decline } of news) {
    if (opened) await transitionPurchase(trx, ref, { type: 'CHECKOUT_OPENED' }, cause)
    if (pending) await transitionPurchase(trx, ref, { type: 'PAYMENT_PENDING' }, cause)
    if (decline !== null)
      await transitionPurchase(trx, ref, { type: 'PAYMENT_DECLINED', failure: decline }, cause)
  }
}

async function flagFraudWarnings(
  trx: Tx,
  ref: PurchaseRef,
  facts: PaymentSnapshot,
  cause: Cause,
): Promise<void> {
  const flagged = await flaggedFacts(trx, ref)
  for (const warning of facts.warnings) {
    if (flagged.has(`early_fraud_warning:${warning.id}`)) continue
    const detail = `The bank warns of fraud (${warning.fraudType}) on ${warning.paymentIntent}.`
    await transitionPurchase(
      trx,
      ref,
      { type: 'FRAUD_WARNED', flag: { fact: warning.id, detail } },
      cause,
    )
  }
}

/**
 * A purchase whose tries are all over has failed. Asked of the state and not of the news, so that a
 * purchase left PROCESSING by a crash between two commits is found by the next reading.
 */
async function failIfAllAttemptsEnded(
  trx: Tx,
  ref: PurchaseRef,
  news: AttemptChange[],
  cause: Cause,
): Promise<void> {
  const { purchase, attempts, balances } = await loadAggregate(trx, await lockPurchase(trx, ref))
  const isUnpaid = purchase.status === 'PROCESSING' || purchase.status === 'PENDING'
  if (!isUnpaid || !attempts.some(({ state }) => state === 'expired' || state === 'complete'))
    return
  const failure =
    news.find(({ failed }) => failed !== null)?.failed ??
    (balances.some(({ received }) => received > 0)
      ? { code: 'payment_refunded', message: 'The payment was refunded in full.' }
      : null)
  if (failure !== null)
    await transitionPurchase(trx, ref, { type: 'PAYMENT_FAILED', failure }, cause)
  // Refused by the machine while anything is open, pending or paid, and after PAYMENT_FAILED.
  await markFailed(trx, ref, 'CHECKOUT_EXPIRED', cause)
}

/**
 * What happens when money arrives. Each payment that Stripe has received is, in the order of the
 * attempts: the one that pays the purchase, a second one, or one of another amount that staff must
 * look at.
 *
 * @returns whether the purchase became PAID by it.
 */
export async function applyPayments(trx: Tx, ref: PurchaseRef, cause: Cause): Promise<boolean> {
  const flagged = await flaggedFacts(trx, ref)
  let becamePaid = false
  for (const payment of await loadBalances(trx, ref)) {
    const purchase = await lockPurchase(trx, ref)
    if (payment.received === 0 || payment.paymentIntent === purchase.paymentIntentId) continue
    if (purchase.status === 'PAID' || purchase.status === 'REFUNDED') {
      if (!isFlagged(flagged, payment)) await flagSecondPayment(trx, ref, payment, cause)
      continue
    }
    if (await recordPayment(trx, ref, purchase, payment, cause)) becamePaid = true
    else if (!isFlagged(flagged, payment)) await flagMismatch(trx, ref, purchase, payment, cause)
  }
  return becamePaid
}

function isFlagged(flagged: Set<string>, { paymentIntent }: PaymentBalance): boolean {
  return flagged.has(`overpaid:${paymentIntent}`) || flagged.has(`amount_mismatch:${paymentIntent}`)
}

async function recordPayment(
  trx: Tx,
  ref: PurchaseRef,
  purchase: BulkPurchase,
  payment: PaymentBalance,
  cause: Cause,
): Promise<boolean> {
  const step = await transitionPurchase(
    trx,
    ref,
    {
      type: 'PAYMENT_SUCCEEDED',
      paymentIntent: payment.paymentIntent,
      amount: payment.received,
      currency: payment.currency,
      accepted: purchase.accepted?.paymentIntentId === payment.paymentIntent,
    },
    cause,
  )
  return step.kind === 'applied'
}

async function flagSecondPayment(trx: Tx, ref: PurchaseRef, payment: PaymentBalance, cause: Cause) {
  const detail = `A second payment ${payment.paymentIntent} of ${formatMoney(payment.received, payment.currency)} arrived. Refund one of them.`
  await transitionPurchase(
    trx,
    ref,
    { type: 'SECOND_PAYMENT', flag: { fact: payment.paymentIntent, detail } },
    cause,
  )
}

async function flagMismatch(
  trx: Tx,
  ref: PurchaseRef,
  purchase: BulkPurchase,
  payment: PaymentBalance,
  cause: Cause,
) {
  const expected = formatMoney(purchase.totalAmount, purchase.currency)
  const detail = `Payment ${payment.paymentIntent} brought ${formatMoney(payment.received, payment.currency)} instead of ${expected}. No codes were made: accept it or refund it.`
  await transitionPurchase(
    trx,
    ref,
    { type: 'PAYMENT_MISMATCHED', flag: { fact: payment.paymentIntent, detail } },
    cause,
  )
}

type StatusChange<S> = { id: string; status: S }

function statusChanges<S>(now: Map<string, S>, before: Map<string, S>): StatusChange<S>[] {
  return [...now]
    .filter(([id, status]) => before.get(id) !== status)
    .map(([id, status]) => ({ id, status }))
}

/**
 * What happens when money goes back: refunds and disputes whose status is news since `before`. The
 * machine's guards look at the sums as they stand, so one event for each kind of news is enough,
 * and several refunds between two readings end like the same refunds read one by one.
 */
export async function applyRefundsAndDisputes(
  trx: Tx,
  ref: PurchaseRef,
  before: RefundAndDisputeStatuses,
  cause: Cause,
): Promise<void> {
  const now = await loadRefundAndDisputeStatuses(trx, ref)
  for (const event of [...disputeEvents(now, before), ...refundEvents(now, before)]) {
    await transitionPurchase(trx, ref, event, cause)
  }
}

function refundEvents(
  now: RefundAndDisputeStatuses,
  before: RefundAndDisputeStatuses,
): PurchaseEvent[] {
  const news = statusChanges(now.refunds, before.refunds)
  const events: PurchaseEvent[] = []
  if (news.some(({ status }) => isRefundPending(status))) events.push({ type: 'REFUND_PENDING' })
  for (const { id, status } of news.filter((refund) => isRefundFailed(refund.status))) {
    const detail = `Refund ${id} ${status === 'failed' ? 'failed' : 'was canceled'}: the money is back with us. Decide what the sponsor gets.`
    events.push({ type: 'REFUND_FAILED', flag: { fact: id, detail } })
  }
  if (news.some(({ status }) => status === 'succeeded')) {
    // At most one of the two passes its guard.
    events.push({ type: 'PARTIALLY_REFUNDED' }, { type: 'REFUNDED' })
  }
  return events
}

function disputeEvents(
  now: RefundAndDisputeStatuses,
  before: RefundAndDisputeStatuses,
): PurchaseEvent[] {
  const events: PurchaseEvent[] = []
  for (const { id, status } of statusChanges(now.disputes, before.disputes)) {
    const known = before.disputes.get(id)
    const outcome = disputeOutcome(status)
    if (known !== undefined && disputeOutcome(known) === outcome) continue
    // A dispute that is over when we first see it was opened before: staff see both.
    if (known === undefined) {
      const detail = `Dispute ${id} was opened (${status}). Answer it in Stripe's dashboard.`
      events.push({ type: 'DISPUTE_OPENED', flag: { fact: id, detail } })
    }
    if (outcome === 'won') events.push({ type: 'DISPUTE_WON' })
    if (outcome === 'lost') events.push({ type: 'DISPUTE_LOST' })
    if (known !== undefined && outcome === 'open') {
      events.push({
        type: 'DISPUTE_OPENED',
        flag: { fact: id, detail: `Dispute ${id} is open again.` },
      })
    }
  }
  return events
}

/** What a reading tells of one attempt that was not known before. */
type AttemptChange = {
  opened: boolean
  pending: boolean
  decline: Failure | null
  failed: Failure | null
}

/**
 * Where the money of a session stands. `processing` is a bank debit under way; `requires_action` on
 * a complete session is a bank transfer that has not (or only partly) arrived.
 * @see https://docs.stripe.com/payments/paymentintents/lifecycle
 */
function sessionPayment(
  session: SessionSnapshot,
  payment: PaymentIntentSnapshot | undefined,
): AttemptPayment {
  if (session.paid || (payment !== undefined && payment.received > 0)) return 'paid'
  if (session.status !== 'complete') return 'none'
  const isOver = payment?.status === 'requires_payment_method' || payment?.status === 'canceled'
  return isOver ? 'failed' : 'pending'
}

/** Writes each session's state on its attempt and returns the news, oldest attempt first. */
async function applySessions(
  trx: Tx,
  ref: PurchaseRef,
  attempts: PaymentAttempt[],
  facts: PaymentSnapshot,
): Promise<AttemptChange[]> {
  const news: AttemptChange[] = []
  for (const session of facts.sessions.toSorted((a, b) => a.attempt - b.attempt)) {
    const before = attempts.find(({ attempt }) => attempt === session.attempt)
    if (before === undefined) continue
    const intent = session.paymentIntent
    const payment = facts.payments.find(({ paymentIntent }) => paymentIntent === intent)
    const state = sessionPayment(session, payment)
    const decline = payment?.decline ?? null
    await updateAttempt(trx, ref, session.attempt, {
      state: session.status,
      session_id: session.sessionId,
      url: session.url ?? before.url,
      expires_at: session.expiresAt,
      payment_intent_id: intent ?? before.paymentIntentId,
      payment: state,
      decline: decline?.fact ?? before.decline,
    })
    const isNewDecline = decline !== null && decline.fact !== before.decline
    news.push({
      opened: before.state === 'creating' && session.status === 'open',
      pending: state === 'pending' && before.payment !== 'pending',
      decline: isNewDecline && session.status === 'open' ? decline : null,
      failed:
        state === 'failed' && before.payment !== 'failed'
          ? (decline ?? { code: 'async_payment_failed', message: 'The payment did not arrive.' })
          : null,
    })
  }
  return news
}

/** The bank wants the payer there: a card that is charged without one cannot be more than declined. */
export const AUTHENTICATION_REQUIRED = 'authentication_required'

type CardAttemptStatus = { state: AttemptState; payment: AttemptPayment; failure: Failure | null }

/** @see https://docs.stripe.com/payments/paymentintents/lifecycle */
function cardAttemptStatus({
  status,
  received,
  decline,
}: PaymentIntentSnapshot): CardAttemptStatus {
  if (received > 0) return { state: 'complete', payment: 'paid', failure: null }
  switch (status) {
    case 'processing':
      return { state: 'complete', payment: 'pending', failure: null }
    case 'requires_action': {
      const failure = { code: AUTHENTICATION_REQUIRED, message: 'The bank asks for the payer.' }
      return { state: 'complete', payment: 'failed', failure }
    }
    case 'requires_payment_method':
      return { state: 'complete', payment: 'failed', failure: decline ?? PAYMENT_CANCELED }
    case 'canceled':
      return { state: 'expired', payment: 'none', failure: decline ?? PAYMENT_CANCELED }
    default:
      return { state: 'open', payment: 'none', failure: null }
  }
}

const PAYMENT_CANCELED: Failure = {
  code: 'payment_canceled',
  message: 'The payment was given up before the card was charged.',
}

/** Writes what became of saved cards on their tries, and returns the news, oldest try first. */
async function applyCardPayments(
  trx: Tx,
  ref: PurchaseRef,
  attempts: PaymentAttempt[],
  facts: PaymentSnapshot,
): Promise<AttemptChange[]> {
  const news: AttemptChange[] = []
  for (const before of attempts) {
    const fact = facts.payments.find(
      ({ paymentIntent }) => paymentIntent === before.paymentIntentId,
    )
    if (before.kind !== 'payment_intent' || fact === undefined) continue
    const { state, payment, failure } = cardAttemptStatus(fact)
    // A declined intent that was closed afterwards has failed all the same. What we closed after this
    // reading began stays closed: only money undoes that.
    const wasOver =
      before.payment === 'failed' || before.state === 'refused' || before.state === 'expired'
    if (wasOver && payment !== 'paid' && payment !== 'pending') continue
    await updateAttempt(trx, ref, before.attempt, {
      state,
      payment,
      decline: fact.decline?.fact ?? before.decline,
    })
    const isNews = before.state !== state || before.payment !== payment
    news.push({
      opened: false,
      pending: isNews && payment === 'pending',
      decline: null,
      failed: isNews ? failure : null,
    })
  }
  return news
}

/** Writes the sums over the payments on the purchase, where people read and filter them. */
export async function saveTotals(trx: Tx, ref: PurchaseRef): Promise<void> {
  const { money } = await loadAggregate(trx, await lockPurchase(trx, ref))
  await updatePurchase(trx, ref, {
    amount_received: money.received,
    amount_refunded: money.refunded,
  })
}
