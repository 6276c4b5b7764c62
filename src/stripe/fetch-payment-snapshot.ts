import type { z } from 'zod'
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
import {
  chargedIntentObject,
  declineOf,
  disputeObject,
  idOf,
  parseStripeObject,
  refundObject,
  type StripeObject,
  sessionObject,
  warningObject,
} from './stripe-objects.ts'

/** Receives every object that is fetched, such as the mirror. Its methods must not throw. */
export type FetchRecorder = {
  /** The time of a request, by the recorder's clock. Called right before the request is sent. */
  now(): number
  /** Records objects from a request that was sent at `requestedAt`. */
  record(objects: readonly StripeObject[], requestedAt: number): void
}

type SnapshotContext = StripeConnection & {
  query: Omit<SnapshotQuery, 'takenAt'>
  logger: Logger
  recorder: FetchRecorder
}
type Session = z.output<typeof sessionObject>
type Intent = z.output<typeof chargedIntentObject>
/** `isHint`: known only from an event, so it counts only if Stripe's object names the owner. */
type PaymentRef = { paymentIntent: string; attempt: number | null; isHint: boolean }

// Stripe limits an account's concurrent requests, and other purchases are fetched at the same time.
const CONCURRENCY = 3
const PAGE_SIZE = 100

/**
 * Fetches everything that Stripe knows about the payments of a purchase or a charge: each object, and complete lists of
 * refunds and disputes. No list is expanded, since Stripe cuts embedded lists off at ten entries.
 * All objects go to the recorder, including those that turn out to belong to another one.
 *
 * @see https://docs.stripe.com/api/pagination
 * @throws AppError `stripe_unavailable`, `stripe_failed`, `stripe_refused`.
 */
export async function fetchPaymentSnapshot(context: SnapshotContext): Promise<PaymentSnapshot> {
  const { query } = context
  const sessions = await fetchEach(query.sessions, (session) => fetchSession(context, session))
  const payments: Money[] = []
  // One by one: each has several requests in flight.
  for (const payment of paymentsToFetch(query, sessions)) {
    const money = await fetchMoney(context, payment)
    if (money !== null) payments.push(money)
  }
  return {
    sessions,
    payments: payments.map(({ payment }) => payment),
    refunds: payments.flatMap(({ refunds }) => refunds),
    disputes: payments.flatMap(({ disputes }) => disputes),
    warnings: payments.flatMap(({ warnings }) => warnings),
  }
}

/** Fetches a few at a time and drops objects that do not belong to the owner. */
async function fetchEach<T, R>(items: T[], fetch: (item: T) => Promise<R | null>): Promise<R[]> {
  const results = await inParallel(items, CONCURRENCY, fetch)
  return results.filter((result) => result !== null)
}

async function fetchSession(
  context: SnapshotContext,
  { attempt, sessionId }: SnapshotQuery['sessions'][number],
): Promise<SessionSnapshot | null> {
  const requestedAt = context.recorder.now()
  const response = await callStripe(() => context.stripe.checkout.sessions.retrieve(sessionId))
  const session = parseStripeObject(sessionObject, response, 'checkout session')
  assertMode(context, session)
  context.recorder.record([response], requestedAt)
  if (!belongsToOwner(context, session)) {
    const { kind, id } = context.query.owner
    context.logger.warn(
      { session: sessionId, [kind]: id },
      `ignored a Checkout session that names another ${kind}`,
    )
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

/** False for a session that was made by hand at Stripe, or for a row with the wrong session id. */
function belongsToOwner({ query: { owner } }: SnapshotContext, session: Session): boolean {
  const reference = owner.kind === 'purchase' ? session.client_reference_id : null
  const named = [reference, session.metadata[`${owner.kind}_id`]]
  const given = named.filter((id) => id !== null && id !== undefined)
  return given.length > 0 && given.every((id) => id === owner.id)
}

function assertMode(
  { livemode }: SnapshotContext,
  object: { id: string; livemode?: boolean | undefined },
): void {
  if (object.livemode === undefined || object.livemode === livemode) return
  const [objectMode, keyMode] = livemode ? ['test', 'live'] : ['live', 'test']
  throw new AppError(
    'stripe_failed',
    `${object.id} is in ${objectMode} mode, but the Stripe key is for ${keyMode} mode.`,
  )
}

function paymentsToFetch(
  query: SnapshotContext['query'],
  sessions: SessionSnapshot[],
): PaymentRef[] {
  const found = new Map<string, PaymentRef>()
  for (const { paymentIntent, attempt } of sessions) {
    if (paymentIntent !== null) found.set(paymentIntent, { paymentIntent, attempt, isHint: false })
  }
  const hints = query.hintedPaymentIntents.map((paymentIntent) => ({
    paymentIntent,
    attempt: null,
  }))
  for (const payment of [...query.paymentIntents, ...hints]) {
    if (found.has(payment.paymentIntent)) continue
    const isHint = query.hintedPaymentIntents.includes(payment.paymentIntent)
    found.set(payment.paymentIntent, { ...payment, isHint })
  }
  return [...found.values()]
}

type Money = Pick<PaymentSnapshot, 'refunds' | 'disputes' | 'warnings'> & {
  payment: PaymentIntentSnapshot
}

async function fetchMoney(context: SnapshotContext, ref: PaymentRef): Promise<Money | null> {
  const { paymentIntent, isHint } = ref
  const payment = fetchPayment(context, ref)
  // What belongs to another conference must not be fetched: the recorder would take it for ours.
  if (isHint && (await payment) === null) return null
  const [found, refunds, disputes, warnings] = await Promise.all([
    payment,
    fetchRefunds(context, paymentIntent),
    fetchDisputes(context, paymentIntent),
    fetchWarnings(context, paymentIntent),
  ])
  return found === null ? null : { payment: found, refunds, disputes, warnings }
}

async function fetchPayment(
  context: SnapshotContext,
  { paymentIntent, attempt, isHint }: PaymentRef,
): Promise<PaymentIntentSnapshot | null> {
  const requestedAt = context.recorder.now()
  const retrieve = () =>
    context.stripe.paymentIntents.retrieve(paymentIntent, { expand: ['latest_charge'] })
  const response = await (isHint ? fetchOrNull(retrieve) : callStripe(retrieve))
  if (response === null) return null
  const intent = parseStripeObject(chargedIntentObject, response, 'payment intent')
  assertMode(context, intent)
  // The mirror holds objects as events contain them.
  const unexpanded = { ...response, latest_charge: idOf(response.latest_charge) }
  context.recorder.record([unexpanded], requestedAt)
  if (isHint && !namesOwner(context, intent)) return null
  const charge = intent.latest_charge
  return {
    paymentIntent: intent.id,
    attempt,
    status: intent.status,
    amount: fromStripeAmount(intent.amount, intent.currency),
    received: fromStripeAmount(intent.amount_received, intent.currency),
    currency: intent.currency,
    chargedAt: charge?.status === 'succeeded' ? toDate(charge) : null,
    decline: declineOf(intent.last_payment_error),
  }
}

/** Stripe's times are seconds since 1970. */
const toDate = ({ created }: { created: number }) => new Date(created * 1000)

function namesOwner({ query: { owner } }: SnapshotContext, { metadata }: Intent): boolean {
  return (
    metadata[`${owner.kind}_id`] === owner.id && metadata['conference_id'] === owner.conferenceId
  )
}

async function fetchRefunds(
  context: SnapshotContext,
  paymentIntent: string,
): Promise<RefundSnapshot[]> {
  const refunds = await fetchAll(context, refundObject, 'refund', () =>
    context.stripe.refunds.list(listParams(paymentIntent)),
  )
  return refunds.map((refund) => ({
    id: refund.id,
    paymentIntent,
    status: refund.status,
    amount: fromStripeAmount(refund.amount, refund.currency),
    currency: refund.currency,
    reason: refund.reason,
    failureReason: refund.failure_reason,
    refundedAt: toDate(refund),
  }))
}

async function fetchDisputes(
  context: SnapshotContext,
  paymentIntent: string,
): Promise<DisputeSnapshot[]> {
  const disputes = await fetchAll(context, disputeObject, 'dispute', () =>
    context.stripe.disputes.list(listParams(paymentIntent)),
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
  context: SnapshotContext,
  paymentIntent: string,
): Promise<FraudWarning[]> {
  if (!context.query.warnings) return []
  const warnings = await fetchAll(context, warningObject, 'early fraud warning', () =>
    context.stripe.radar.earlyFraudWarnings.list(listParams(paymentIntent)),
  )
  // Includes warnings that a refund or dispute has made obsolete: whether staff see a flag must not
  // depend on when the warning is fetched.
  return warnings.map(({ id, fraud_type }) => ({ id, paymentIntent, fraudType: fraud_type }))
}

const listParams = (paymentIntent: string) => ({ payment_intent: paymentIntent, limit: PAGE_SIZE })

/** All pages of a list, each object validated. */
async function fetchAll<T extends z.ZodType>(
  { recorder }: SnapshotContext,
  schema: T,
  what: string,
  list: () => AsyncIterable<StripeObject>,
): Promise<z.output<T>[]> {
  const requestedAt = recorder.now()
  const responses: StripeObject[] = []
  const objects = await callStripe(async () => {
    const parsed: z.output<T>[] = []
    for await (const object of list()) {
      parsed.push(parseStripeObject(schema, object, what))
      responses.push(object)
    }
    return parsed
  })
  if (responses.length > 0) recorder.record(responses, requestedAt)
  return objects
}
