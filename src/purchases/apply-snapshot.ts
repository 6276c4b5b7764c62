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
 * What happens when money arrives, goes back or fails to arrive: stores a snapshot and sends the
 * events that follow from it to the machine, in causal order. Runs under the purchase's lock.
 * Applying the same snapshot again changes nothing. What an event does is in purchase-machine.ts (the
 * transition) and transition-purchase.ts (its effects on vouchers).
 */
export async function applySnapshot(
  trx: Tx,
  ref: PurchaseRef,
  snapshot: PaymentSnapshot,
  cause: Cause,
): Promise<void> {
  const before = await loadRefundAndDisputeStatuses(trx, ref)
  const attempts = await listAttempts(trx, ref)
  await savePayments(trx, ref, snapshot)
  const changes = [
    ...(await applySessions(trx, ref, attempts, snapshot)),
    ...(await applyCardPayments(trx, ref, attempts, snapshot)),
  ]
  await saveTotals(trx, ref)

  await applyCheckoutEvents(trx, ref, changes, cause)
  const becamePaid = await applyPayments(trx, ref, cause)
  await applyRefundsAndDisputes(trx, ref, becamePaid ? NO_STATUSES : before, cause)
  await flagFraudWarnings(trx, ref, snapshot, cause)
  await failIfAllAttemptsEnded(trx, ref, changes, cause)
}

/** What to compare with when a purchase becomes PAID: before, refunds and disputes had no effect. */
export const NO_STATUSES: RefundAndDisputeStatuses = { refunds: new Map(), disputes: new Map() }

/** What changed on one attempt. */
type AttemptChange = {
  opened: boolean
  pending: boolean
  decline: Failure | null
  failed: Failure | null
}

/** Stores each session on its attempt. Returns the changes, oldest attempt first. */
async function applySessions(
  trx: Tx,
  ref: PurchaseRef,
  attempts: PaymentAttempt[],
  snapshot: PaymentSnapshot,
): Promise<AttemptChange[]> {
  const changes: AttemptChange[] = []
  for (const session of snapshot.sessions.toSorted((a, b) => a.attempt - b.attempt)) {
    const before = attempts.find(({ attempt }) => attempt === session.attempt)
    if (before === undefined) continue
    const intent = session.paymentIntent
    const payment = snapshot.payments.find(({ paymentIntent }) => paymentIntent === intent)
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
    changes.push({
      opened: before.state === 'creating' && session.status === 'open',
      pending: state === 'pending' && before.payment !== 'pending',
      decline: isNewDecline && session.status === 'open' ? decline : null,
      failed:
        state === 'failed' && before.payment !== 'failed'
          ? (decline ?? PAYMENT_NOT_RECEIVED)
          : null,
    })
  }
  return changes
}

const PAYMENT_NOT_RECEIVED: Failure = {
  code: 'async_payment_failed',
  message: 'The bank payment failed.',
}

/**
 * The payment of a session. `processing` is a pending bank debit; `requires_action` on a complete
 * session is a bank transfer that has not, or only partly, arrived.
 *
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

/** Stores each saved card's payment on its attempt. Returns the changes, oldest attempt first. */
async function applyCardPayments(
  trx: Tx,
  ref: PurchaseRef,
  attempts: PaymentAttempt[],
  snapshot: PaymentSnapshot,
): Promise<AttemptChange[]> {
  const changes: AttemptChange[] = []
  for (const before of attempts) {
    const intent = snapshot.payments.find(
      ({ paymentIntent }) => paymentIntent === before.paymentIntentId,
    )
    if (before.kind !== 'payment_intent' || intent === undefined) continue
    const { state, payment, failure } = cardAttemptStatus(intent)
    // A failed or closed attempt stays as it is: the snapshot may be older than the close, and a
    // declined intent that we cancelled has failed all the same. Only a succeeded or pending payment
    // may reopen it.
    const isClosed =
      before.payment === 'failed' || before.state === 'refused' || before.state === 'expired'
    if (isClosed && payment !== 'paid' && payment !== 'pending') continue
    await updateAttempt(trx, ref, before.attempt, {
      state,
      payment,
      decline: intent.decline?.fact ?? before.decline,
    })
    const isChange = before.state !== state || before.payment !== payment
    changes.push({
      opened: false,
      pending: isChange && payment === 'pending',
      decline: null,
      failed: isChange ? failure : null,
    })
  }
  return changes
}

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
      const message = 'The bank requires the cardholder to authenticate.'
      const failure = { code: AUTHENTICATION_REQUIRED, message }
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

/** The failure code when the bank requires the cardholder, which an off-session charge cannot offer. */
export const AUTHENTICATION_REQUIRED = 'authentication_required'

const PAYMENT_CANCELED: Failure = {
  code: 'payment_canceled',
  message: 'The payment was cancelled before the card was charged.',
}

/** Stores the sums over all payments on the purchase, where lists show and filter them. */
export async function saveTotals(trx: Tx, ref: PurchaseRef): Promise<void> {
  const { money } = await loadAggregate(trx, await lockPurchase(trx, ref))
  await updatePurchase(trx, ref, {
    amount_received: money.received,
    amount_refunded: money.refunded,
  })
}

async function applyCheckoutEvents(
  trx: Tx,
  ref: PurchaseRef,
  changes: AttemptChange[],
  cause: Cause,
): Promise<void> {
  for (const { opened, pending, decline } of changes) {
    if (opened) await transitionPurchase(trx, ref, { type: 'CHECKOUT_OPENED' }, cause)
    if (pending) await transitionPurchase(trx, ref, { type: 'PAYMENT_PENDING' }, cause)
    if (decline !== null) {
      await transitionPurchase(trx, ref, { type: 'PAYMENT_DECLINED', failure: decline }, cause)
    }
  }
}

/**
 * Handles each payment that Stripe has received, in the order of the attempts. It pays the purchase,
 * or it is a second payment, or it has another amount: staff must look at the last two.
 *
 * @returns whether the purchase became PAID.
 */
export async function applyPayments(trx: Tx, ref: PurchaseRef, cause: Cause): Promise<boolean> {
  const flagged = await flaggedFacts(trx, ref)
  let becamePaid = false
  for (const payment of await loadBalances(trx, ref)) {
    const purchase = await lockPurchase(trx, ref)
    const { paymentIntent } = payment
    if (payment.received === 0 || paymentIntent === purchase.paymentIntentId) continue
    const isFlagged =
      flagged.has(`overpaid:${paymentIntent}`) || flagged.has(`amount_mismatch:${paymentIntent}`)
    const isPaid = purchase.status === 'PAID' || purchase.status === 'REFUNDED'
    if (!isPaid && (await recordPayment(trx, ref, purchase, payment, cause))) becamePaid = true
    else if (!isFlagged) {
      const event = isPaid ? secondPayment(payment) : mismatch(purchase, payment)
      await transitionPurchase(trx, ref, event, cause)
    }
  }
  return becamePaid
}

/** Returns false if the machine refuses the payment: its amount or currency is not the purchase's. */
async function recordPayment(
  trx: Tx,
  ref: PurchaseRef,
  { accepted }: BulkPurchase,
  { paymentIntent, received, currency }: PaymentBalance,
  cause: Cause,
): Promise<boolean> {
  const event = {
    type: 'PAYMENT_SUCCEEDED',
    paymentIntent,
    amount: received,
    currency,
    accepted: accepted?.paymentIntentId === paymentIntent,
  } as const
  return (await transitionPurchase(trx, ref, event, cause)).kind === 'applied'
}

function secondPayment({ paymentIntent, received, currency }: PaymentBalance): PurchaseEvent {
  const detail = `A second payment ${paymentIntent} of ${formatMoney(received, currency)} arrived. Refund one of the payments.`
  return { type: 'SECOND_PAYMENT', flag: { fact: paymentIntent, detail } }
}

function mismatch(
  purchase: BulkPurchase,
  { paymentIntent, received, currency }: PaymentBalance,
): PurchaseEvent {
  const expected = formatMoney(purchase.totalAmount, purchase.currency)
  const detail = `Payment ${paymentIntent} is ${formatMoney(received, currency)} instead of ${expected}. No vouchers were issued: accept the payment or refund it.`
  return { type: 'PAYMENT_MISMATCHED', flag: { fact: paymentIntent, detail } }
}

/**
 * Handles refunds and disputes whose status differs from `before`. The machine's guards compare the
 * sums as they are now, so one event for each kind of change is enough: the result is the same whether
 * refunds arrive in one snapshot or in several.
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

function statusChanges<S>(
  now: Map<string, S>,
  before: Map<string, S>,
): { id: string; status: S }[] {
  return [...now]
    .filter(([id, status]) => before.get(id) !== status)
    .map(([id, status]) => ({ id, status }))
}

function refundEvents(
  now: RefundAndDisputeStatuses,
  before: RefundAndDisputeStatuses,
): PurchaseEvent[] {
  const changes = statusChanges(now.refunds, before.refunds)
  const events: PurchaseEvent[] = []
  if (changes.some(({ status }) => isRefundPending(status))) events.push({ type: 'REFUND_PENDING' })
  for (const { id, status } of changes.filter((refund) => isRefundFailed(refund.status))) {
    const detail = `Refund ${id} ${status === 'failed' ? 'failed' : 'was canceled'}, so the sponsor did not get the money. Pay the sponsor in another way, or reinstate the purchase.`
    events.push({ type: 'REFUND_FAILED', flag: { fact: id, detail } })
  }
  if (changes.some(({ status }) => status === 'succeeded')) {
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
    const previous = before.disputes.get(id)
    const outcome = disputeOutcome(status)
    if (previous !== undefined && disputeOutcome(previous) === outcome) continue
    // A dispute that is closed in its first snapshot was opened before: both events are sent.
    if (previous === undefined) {
      const detail = `Dispute ${id} was opened (${status}). Answer it in Stripe's dashboard.`
      events.push({ type: 'DISPUTE_OPENED', flag: { fact: id, detail } })
    }
    if (outcome === 'won') events.push({ type: 'DISPUTE_WON' })
    if (outcome === 'lost') events.push({ type: 'DISPUTE_LOST' })
    if (previous !== undefined && outcome === 'open') {
      const detail = `Dispute ${id} is open again. Answer it in Stripe's dashboard.`
      events.push({ type: 'DISPUTE_OPENED', flag: { fact: id, detail } })
    }
  }
  return events
}

async function flagFraudWarnings(
  trx: Tx,
  ref: PurchaseRef,
  { warnings }: PaymentSnapshot,
  cause: Cause,
): Promise<void> {
  const flagged = await flaggedFacts(trx, ref)
  for (const { id, fraudType, paymentIntent } of warnings) {
    if (flagged.has(`early_fraud_warning:${id}`)) continue
    const detail = `The bank reported possible fraud (${fraudType}) on payment ${paymentIntent}. Refund the payment if it is fraudulent.`
    await transitionPurchase(trx, ref, { type: 'FRAUD_WARNED', flag: { fact: id, detail } }, cause)
  }
}

/**
 * Fails an unpaid purchase whose attempts have all ended. It looks at the stored state and not only
 * at the changes, so that a purchase which a crash left PROCESSING fails with the next snapshot.
 */
async function failIfAllAttemptsEnded(
  trx: Tx,
  ref: PurchaseRef,
  changes: AttemptChange[],
  cause: Cause,
): Promise<void> {
  const { purchase, attempts, balances } = await loadAggregate(trx, await lockPurchase(trx, ref))
  const isUnpaid = purchase.status === 'PROCESSING' || purchase.status === 'PENDING'
  const hasEnded = attempts.some(({ state }) => state === 'expired' || state === 'complete')
  if (!isUnpaid || !hasEnded) return
  const failure =
    changes.find(({ failed }) => failed !== null)?.failed ??
    (balances.some(({ received }) => received > 0) ? PAYMENT_REFUNDED : null)
  if (failure !== null) {
    await transitionPurchase(trx, ref, { type: 'PAYMENT_FAILED', failure }, cause)
  }
  // The machine refuses it while anything is open, pending or paid, and after PAYMENT_FAILED.
  await markFailed(trx, ref, 'CHECKOUT_EXPIRED', cause)
}

const PAYMENT_REFUNDED: Failure = {
  code: 'payment_refunded',
  message: 'The payment was refunded in full.',
}
