import type { z } from 'zod'
import type { MirrorRecorder } from '../mirror/mirror-feed.ts'
import type { SnapshotQuery } from '../payments/payment-gateway.ts'
import type {
  DisputeSnapshot,
  FraudWarning,
  PaymentIntentSnapshot,
  PaymentSnapshot,
  RefundSnapshot,
  SessionSnapshot,
} from '../payments/payment-snapshot.ts'
import { AppError } from '../shared/errors.ts'
import { inParallel } from '../shared/in-parallel.ts'
import type { Logger } from '../shared/logger.ts'
import { fromStripeAmount } from '../shared/money.ts'
import type { StripeConnection } from './stripe-client.ts'
import { callStripe, fetchOrNull } from './stripe-errors.ts'
import type { StripeObject } from './stripe-object.ts'
import {
  disputeObject,
  parseStripeObject,
  paymentIntentObject,
  refundObject,
  sessionObject,
  warningObject,
} from './stripe-objects.ts'

// An account may have few requests under way at once, and other purchases are being read too.
const CONCURRENCY = 3
const PAGE_SIZE = 100

type SnapshotContext = StripeConnection & {
  query: SnapshotQuery
  logger: Logger
  mirror: MirrorRecorder
}
type Session = z.output<typeof sessionObject>
type PaymentRef = { paymentIntent: string; attempt: number | null; isHint: boolean }
type Intent = z.output<typeof paymentIntentObject>

function assertMode(
  reader: SnapshotContext,
  object: { id: string; livemode?: boolean | undefined },
): void {
  if (object.livemode === undefined || object.livemode === reader.livemode) return
  throw new AppError('stripe_failed', `${object.id} is of the other mode than the key.`)
}

/** The same id in another purchase's hands: made by hand at Stripe, or a row that points astray. */
function belongsToPurchase({ query }: SnapshotContext, session: Session): boolean {
  const named = [session.client_reference_id, session.metadata['purchase_id']]
  const given = named.filter((id) => id !== null && id !== undefined)
  return given.length > 0 && given.every((id) => id === query.ref.purchaseId)
}

async function fetchSession(
  reader: SnapshotContext,
  { attempt, sessionId }: SnapshotQuery['sessions'][number],
): Promise<SessionSnapshot | null> {
  const readAt = reader.mirror.now()
  const answer = await callStripe(() => reader.stripe.checkout.sessions.retrieve(sessionId))
  const session = parseStripeObject(sessionObject, answer, 'checkout session')
  assertMode(reader, session)
  reader.mirror.saw([answer], readAt)
  if (!belongsToPurchase(reader, session)) {
    const { purchaseId } = reader.query.ref
    reader.logger.warn({ session: sessionId, purchase: purchaseId }, 'session of another purchase')
    return null
  }
  return {
    attempt,
    sessionId: session.id,
    status: session.status,
    paid: session.payment_status !== 'unpaid',
    paymentIntent: session.payment_intent,
    url: session.url,
    expiresAt: new Date(session.expires_at * 1000),
  }
}

function declineOf(
  error: z.output<typeof paymentIntentObject>['last_payment_error'],
): PaymentIntentSnapshot['decline'] {
  if (error === null) return null
  // Banks word the decline differently; what it asks for is the payer.
  const isForPayer = error.code === 'authentication_required'
  const code = (isForPayer ? error.code : error.decline_code) ?? error.code ?? 'payment_failed'
  return {
    fact: error.charge ?? code,
    code,
    message: error.message ?? 'The payment failed.',
  }
}

/** A payment that we know by an event only counts when Stripe's own object names the purchase. */
function namesPurchase({ query: { ref } }: SnapshotContext, { metadata }: Intent): boolean {
  return (
    metadata['purchase_id'] === ref.purchaseId && metadata['conference_id'] === ref.conferenceId
  )
}

async function fetchPayment(
  reader: SnapshotContext,
  known: PaymentRef,
): Promise<PaymentIntentSnapshot | null> {
  const readAt = reader.mirror.now()
  const read = () => reader.stripe.paymentIntents.retrieve(known.paymentIntent)
  const answer = await (known.isHint ? fetchOrNull(read) : callStripe(read))
  if (answer === null) return null
  const intent = parseStripeObject(paymentIntentObject, answer, 'payment intent')
  assertMode(reader, intent)
  reader.mirror.saw([answer], readAt)
  if (known.isHint && !namesPurchase(reader, intent)) return null
  return {
    paymentIntent: intent.id,
    attempt: known.attempt,
    status: intent.status,
    amount: fromStripeAmount(intent.amount, intent.currency),
    received: fromStripeAmount(intent.amount_received, intent.currency),
    currency: intent.currency,
    decline: declineOf(intent.last_payment_error),
  }
}

/** Every page of a list, each object read by its schema. */
async function fetchAll<T extends z.ZodType>(
  { mirror }: SnapshotContext,
  schema: T,
  what: string,
  list: () => AsyncIterable<StripeObject>,
): Promise<z.output<T>[]> {
  const readAt = mirror.now()
  const answers: StripeObject[] = []
  const objects = await callStripe(async () => {
    const parsed: z.output<T>[] = []
    for await (const object of list()) {
      parsed.push(parseStripeObject(schema, object, what))
      answers.push(object)
    }
    return parsed
  })
  if (answers.length > 0) mirror.saw(answers, readAt)
  return objects
}

const listParams = (paymentIntent: string) => ({ payment_intent: paymentIntent, limit: PAGE_SIZE })

async function fetchRefunds(
  reader: SnapshotContext,
  paymentIntent: string,
): Promise<RefundSnapshot[]> {
  const refunds = await fetchAll(reader, refundObject, 'refund', () =>
    reader.stripe.refunds.list(listParams(paymentIntent)),
  )
  return refunds.map((refund) => ({
    id: refund.id,
    paymentIntent,
    status: refund.status,
    amount: fromStripeAmount(refund.amount, refund.currency),
    currency: refund.currency,
    reason: refund.reason,
    failureReason: refund.failure_reason,
  }))
}

async function fetchDisputes(
  reader: SnapshotContext,
  paymentIntent: string,
): Promise<DisputeSnapshot[]> {
  const disputes = await fetchAll(reader, disputeObject, 'dispute', () =>
    reader.stripe.disputes.list(listParams(paymentIntent)),
  )
  return disputes.map((dispute) => ({
    id: dispute.id,
    paymentIntent,
    status: dispute.status,
    amount: fromStripeAmount(dispute.amount, dispute.currency),
    currency: dispute.currency,
    reason: dispute.reason,
  }))
}

async function fetchWarnings(
  reader: SnapshotContext,
  paymentIntent: string,
): Promise<FraudWarning[]> {
  if (!reader.query.warnings) return []
  const warnings = await fetchAll(reader, warningObject, 'early fraud warning', () =>
    reader.stripe.radar.earlyFraudWarnings.list(listParams(paymentIntent)),
  )
  // Also those that a refund or a dispute has made pointless since: whether staff see a flag must not
  // depend on how soon we read.
  return warnings.map(({ id, fraud_type }) => ({ id, paymentIntent, fraudType: fraud_type }))
}

function paymentsToFetch(query: SnapshotQuery, sessions: SessionSnapshot[]): PaymentRef[] {
  const found = new Map<string, PaymentRef>()
  for (const { paymentIntent, attempt } of sessions) {
    if (paymentIntent !== null) found.set(paymentIntent, { paymentIntent, attempt, isHint: false })
  }
  const hints = query.hintedPaymentIntents.map((paymentIntent) => ({
    paymentIntent,
    attempt: null,
  }))
  for (const known of [...query.paymentIntents, ...hints]) {
    if (found.has(known.paymentIntent)) continue
    const isHint = query.hintedPaymentIntents.includes(known.paymentIntent)
    found.set(known.paymentIntent, { ...known, isHint })
  }
  return [...found.values()]
}

async function fetchMoney(reader: SnapshotContext, known: PaymentRef) {
  const payment = await fetchPayment(reader, known)
  if (payment === null) return null
  return {
    payment,
    refunds: await fetchRefunds(reader, known.paymentIntent),
    disputes: await fetchDisputes(reader, known.paymentIntent),
    warnings: await fetchWarnings(reader, known.paymentIntent),
  }
}

/** Reads a few at a time; what is not of the purchase is left out. */
async function fetchEach<T, R>(items: T[], read: (item: T) => Promise<R | null>): Promise<R[]> {
  const answers = await inParallel(items, CONCURRENCY, read)
  return answers.filter((answer) => answer !== null)
}

/**
 * Reads what Stripe says now of a purchase, object by object and list by list. Nothing is expanded:
 * embedded lists are cut off at ten. @see https://docs.stripe.com/api/pagination
 * Everything goes into the mirror too, also what turns out to be another purchase's.
 *
 * @throws AppError `stripe_unavailable`, `stripe_failed`, `stripe_refused`.
 */
export async function fetchPaymentSnapshot(reader: SnapshotContext): Promise<PaymentSnapshot> {
  const { query } = reader
  const sessions = await fetchEach(query.sessions, (session) => fetchSession(reader, session))
  const payments = paymentsToFetch(query, sessions)
  const parts = await fetchEach(payments, (payment) => fetchMoney(reader, payment))
  return {
    sessions,
    payments: parts.map(({ payment }) => payment),
    refunds: parts.flatMap(({ refunds }) => refunds),
    disputes: parts.flatMap(({ disputes }) => disputes),
    warnings: parts.flatMap(({ warnings }) => warnings),
  }
}
