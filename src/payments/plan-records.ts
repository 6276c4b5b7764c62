import { type AttemptEvent, isOver, nextAttemptState } from './attempt-machine.ts'
import type {
  Failure,
  PaymentAttempt,
  PaymentRecords,
  RecordChanges,
  StoredPayment,
} from './payment-records.ts'
import type { PaymentIntentSnapshot, PaymentSnapshot, SessionSnapshot } from './payment-snapshot.ts'

/** What changed on one attempt. */
export type AttemptChange = {
  before: PaymentAttempt
  after: PaymentAttempt
  /** A new decline on a payment page that is open, or that ended unpaid before the decline was seen. */
  decline: Failure | null
}

/** The failure code when the bank requires the cardholder, which an off-session charge cannot offer. */
export const AUTHENTICATION_REQUIRED = 'authentication_required'

/**
 * The records after a snapshot, and what it changed on the attempts, oldest first. Pure. The attempt
 * machine decides: a snapshot that was fetched before an attempt was closed here cannot reopen it.
 */
export function applySnapshotToRecords(
  records: PaymentRecords,
  snapshot: PaymentSnapshot,
): { records: PaymentRecords; changes: AttemptChange[] } {
  const changes: AttemptChange[] = []
  const attempts = records.attempts.map((before) => {
    const change = changeOf(before, snapshot)
    if (change !== null) changes.push(change)
    return change?.after ?? before
  })
  const payments = mergeBy(
    records.payments,
    snapshot.payments.map(toStored),
    ({ paymentIntent }) => paymentIntent,
    (before, now) => ({ ...now, attempt: now.attempt ?? before.attempt }),
  ).toSorted((a, b) => (a.attempt ?? Infinity) - (b.attempt ?? Infinity) || 0)
  const byId = ({ id }: { id: string }) => id
  return {
    records: {
      ...records,
      attempts,
      payments,
      refunds: mergeBy(records.refunds, snapshot.refunds, byId),
      disputes: mergeBy(records.disputes, snapshot.disputes, byId),
    },
    changes,
  }
}

/**
 * What a stale snapshot may still add: payments that are not stored, because only an event or a person named
 * them, so that no newer snapshot can contain them; and fraud warnings, which only some snapshots fetch. Null:
 * nothing.
 */
export function additionsOfStale(
  { payments: stored }: PaymentRecords,
  snapshot: PaymentSnapshot,
): PaymentSnapshot | null {
  const known = new Set<string | null>(stored.map(({ paymentIntent }) => paymentIntent))
  const found = new Set<string | null>()
  for (const { paymentIntent } of snapshot.payments) {
    if (!known.has(paymentIntent)) found.add(paymentIntent)
  }
  if (found.size === 0 && snapshot.warnings.length === 0) return null
  const ofFound = <T extends { paymentIntent: string | null }>(all: T[]) =>
    all.filter(({ paymentIntent }) => found.has(paymentIntent))
  return {
    sessions: ofFound(snapshot.sessions),
    payments: ofFound(snapshot.payments),
    refunds: ofFound(snapshot.refunds),
    disputes: ofFound(snapshot.disputes),
    warnings: snapshot.warnings,
  }
}

const toStored = ({
  paymentIntent,
  attempt,
  status,
  amount,
  received,
  currency,
  chargedAt,
}: PaymentIntentSnapshot): StoredPayment => ({
  paymentIntent,
  attempt,
  status,
  amount,
  received,
  currency,
  chargedAt,
})

function changeOf(before: PaymentAttempt, snapshot: PaymentSnapshot): AttemptChange | null {
  if (before.kind === 'saved_card') {
    const payment = snapshot.payments.find((one) => one.paymentIntent === before.paymentIntentId)
    return payment === undefined || before.paymentIntentId === null
      ? null
      : cardChange(before, payment)
  }
  const session = snapshot.sessions.find(({ attempt }) => attempt === before.attempt)
  if (session === undefined) return null
  const payment = snapshot.payments.find((one) => one.paymentIntent === session.paymentIntent)
  return sessionChange(before, session, payment)
}

const PAYMENT_NOT_RECEIVED: Failure = {
  code: 'async_payment_failed',
  message: 'The bank payment failed.',
}

function sessionChange(
  before: PaymentAttempt,
  session: SessionSnapshot,
  payment: PaymentIntentSnapshot | undefined,
): AttemptChange {
  const decline = payment?.decline ?? null
  const state = nextAttemptState(before.state, sessionEvent(session, payment)) ?? before.state
  const hasFailed = state === 'failed' && before.state !== 'failed'
  const after: PaymentAttempt = {
    ...before,
    state,
    sessionId: session.sessionId,
    url: session.url ?? before.url,
    expiresAt: session.expiresAt,
    paymentIntentId: session.paymentIntent ?? before.paymentIntentId,
    decline: decline?.fact ?? before.decline,
    failure: hasFailed ? failureOf(decline, PAYMENT_NOT_RECEIVED) : before.failure,
  }
  const isUnpaid = state === 'open' || isOver(after)
  const isNewDecline = decline !== null && decline.fact !== before.decline && isUnpaid
  return { before, after, decline: isNewDecline ? failureOf(decline, decline) : null }
}

/**
 * `processing` is a pending bank debit; `requires_action` on a complete session is a bank transfer that
 * has not, or only partly, arrived.
 *
 * @see https://docs.stripe.com/payments/paymentintents/lifecycle
 */
function sessionEvent(
  session: SessionSnapshot,
  payment: PaymentIntentSnapshot | undefined,
): AttemptEvent {
  if (session.paid || (payment !== undefined && payment.received > 0)) return 'PAID'
  if (session.status === 'open') return 'OPENED'
  if (session.status === 'expired') return 'EXPIRED'
  const hasFailed = payment?.status === 'requires_payment_method' || payment?.status === 'canceled'
  return hasFailed ? 'FAILED' : 'PROCESSING'
}

/** The failure of a saved card's payment that was closed before the card was charged. */
export const PAYMENT_CANCELED: Failure = {
  code: 'payment_canceled',
  message: 'The payment was cancelled before the card was charged.',
}

const CARDHOLDER_REQUIRED: Failure = {
  code: AUTHENTICATION_REQUIRED,
  message: 'The bank requires the cardholder to authenticate.',
}

function cardChange(before: PaymentAttempt, payment: PaymentIntentSnapshot): AttemptChange {
  const canceled = before.state === 'processing' && payment.status === 'canceled'
  // Stripe may cancel a bank debit that is pending: the money did not arrive.
  const event = canceled ? 'FAILED' : cardEvent(payment)
  const state = (event === null ? null : nextAttemptState(before.state, event)) ?? before.state
  const isChange = state !== before.state
  const failure =
    isChange && (event === 'FAILED' || event === 'CANCELLED')
      ? payment.status === 'requires_action'
        ? CARDHOLDER_REQUIRED
        : failureOf(payment.decline, PAYMENT_CANCELED)
      : before.failure
  const decline = isChange ? (payment.decline?.fact ?? before.decline) : before.decline
  return { before, after: { ...before, state, decline, failure }, decline: null }
}

/** @see https://docs.stripe.com/payments/paymentintents/lifecycle */
function cardEvent({ status, received }: PaymentIntentSnapshot): AttemptEvent | null {
  if (received > 0) return 'PAID'
  switch (status) {
    case 'processing':
      return 'PROCESSING'
    case 'requires_action':
    case 'requires_payment_method':
      return 'FAILED'
    case 'canceled':
      return 'CANCELLED'
    default:
      return null
  }
}

function failureOf(decline: Failure | null, otherwise: Failure): Failure {
  const { code, message } = decline ?? otherwise
  return { code, message }
}

/** The stored objects, replaced and followed by those of the snapshot. */
function mergeBy<T>(
  stored: T[],
  seen: T[],
  idOf: (object: T) => string,
  merge: (before: T, now: T) => T = (_, now) => now,
): T[] {
  const byId = new Map(stored.map((object) => [idOf(object), object]))
  for (const now of seen) {
    const before = byId.get(idOf(now))
    byId.set(idOf(now), before === undefined ? now : merge(before, now))
  }
  return [...byId.values()]
}

/** What our own request to Stripe, or a person, says about an attempt. */
export type AttemptInput = {
  attempt: number
  event: AttemptEvent
  changes?: Partial<
    Pick<PaymentAttempt, 'sessionId' | 'url' | 'expiresAt' | 'paymentIntentId' | 'failure'>
  >
}

/** The records after the event, or null if the attempt's machine refuses it: nothing changes then. */
export function applyAttemptEvent(
  records: PaymentRecords,
  { attempt: number, event, changes = {} }: AttemptInput,
): { records: PaymentRecords; change: AttemptChange } | null {
  const before = records.attempts.find(({ attempt }) => attempt === number)
  const state = before === undefined ? null : nextAttemptState(before.state, event)
  if (before === undefined || state === null) return null
  const after: PaymentAttempt = { ...before, ...changes, state }
  const attempts = records.attempts.map((one) => (one === before ? after : one))
  const payments = [...records.payments, ...newPayment(records, after)]
  return { records: { ...records, attempts, payments }, change: { before, after, decline: null } }
}

/** The payment of a stored intent: from now on snapshots, events and the drift report find it. */
function newPayment({ payments }: PaymentRecords, attempt: PaymentAttempt): StoredPayment[] {
  const { kind, paymentIntentId: paymentIntent } = attempt
  if (kind !== 'saved_card' || paymentIntent === null) return []
  if (payments.some((payment) => payment.paymentIntent === paymentIntent)) return []
  const { amount, currency } = attempt.params
  const status = 'requires_confirmation'
  const payment = { paymentIntent, attempt: attempt.attempt, status, amount, currency }
  return [{ ...payment, received: 0, chargedAt: null }]
}

/** What must be written so that the stored records become `after`. */
export function recordChanges(before: PaymentRecords, after: PaymentRecords): RecordChanges {
  return {
    attempts: after.attempts.flatMap((to) => {
      const from = before.attempts.find(({ attempt }) => attempt === to.attempt)
      return from === undefined || isSame(from, to) ? [] : [{ from: from.state, to }]
    }),
    payments: changed(before.payments, after.payments, ({ paymentIntent }) => paymentIntent),
    refunds: changed(before.refunds, after.refunds, ({ id }) => id),
    disputes: changed(before.disputes, after.disputes, ({ id }) => id),
  }
}

function changed<T extends object>(before: T[], after: T[], idOf: (object: T) => string): T[] {
  if (before === after) return []
  const stored = new Map(before.map((object) => [idOf(object), object]))
  return after.filter((object) => !isSame(stored.get(idOf(object)), object))
}

/** Whether two records have the same values, independently of the order of their fields. */
function isSame(before: object | undefined, after: object): boolean {
  if (before === after) return true
  if (before === undefined) return false
  const stored: Record<string, unknown> = { ...before }
  return Object.entries(after).every(
    ([field, value]) =>
      stored[field] === value || JSON.stringify(stored[field]) === JSON.stringify(value),
  )
}
