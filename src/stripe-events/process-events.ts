import type Stripe from 'stripe'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { MirrorFeed } from '../mirror/mirror-feed.ts'
import { referenceKey } from '../mirror/mirror-object.ts'
import type { PaymentGateway } from '../payments/payment-gateway.ts'
import {
  listAttempts,
  type PaymentAttempt,
  updateAttempt,
} from '../purchases/payment-attempt-store.ts'
import { findPurchaseIdByPaymentIntent } from '../purchases/payment-store.ts'
import {
  type Cause,
  findPurchase,
  lockPurchase,
  type PurchaseRef,
} from '../purchases/purchase-store.ts'
import { reconcilePurchase } from '../purchases/reconcile-purchase.ts'
import type { Logger } from '../shared/logger.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import { fetchOrNull } from '../stripe/stripe-errors.ts'
import {
  chargeObject,
  parseStripeObject,
  paymentIntentObject,
  sessionObject,
} from '../stripe/stripe-objects.ts'
import { type ClaimedEvent, closeClaimed, lockClaimed, moveToMirror } from './claim-events.ts'
import { isFraudWarningType, isHandledType, isSessionType } from './event-hints.ts'
import { type EventHook, hooksFor, runEventHooks } from './event-hook.ts'
import { loadEventHints } from './event-store.ts'
import { refreshBilling } from './refresh-billing.ts'
import { runWithRetry } from './retry-events.ts'

export type ProcessDeps = {
  db: Db
  clients: StripeClients
  gateway: PaymentGateway
  mirrorFeed: MirrorFeed
  logger: Logger
  metrics: ServiceMetrics
  eventHooks?: readonly EventHook[]
}

/**
 * Processes claimed events of one conference that belong together (see groupByPurchase). It calls the
 * hooks, finds the purchase, fetches its payment snapshot from Stripe once and applies it. The same
 * commit closes the events, or moves them to the mirror lane when their object was not part of the
 * snapshot.
 * When this fails, the events are retried later. Throws only when the failure cannot be recorded; then
 * the events are due again when their lease ends.
 */
export async function processEvents(deps: ProcessDeps, events: ClaimedEvent[]): Promise<void> {
  const ready = await runEventHooks(deps, events)
  if (ready.length > 0) await runWithRetry(deps, ready, () => processGroup(deps, ready))
}

/** Returns the number of closed events. */
async function processGroup(deps: ProcessDeps, events: ClaimedEvent[]): Promise<number> {
  const [first] = events
  if (first === undefined) return 0
  if (events.every(isForHooks)) return closeUnhandled(deps, first, events)
  const { conferenceId } = first
  const purchaseId = first.purchaseId ?? (await findEventPurchase(deps, first))
  if (purchaseId === null) return handOffUnmatched(deps, first, events)
  return reconcile(deps, { conferenceId, purchaseId }, events, {
    actor: { kind: 'stripe', id: first.id },
    cause: first.type,
  })
}

const isForHooks = ({ type, mirrored }: ClaimedEvent) => mirrored === null && !isHandledType(type)

/** Closes events that neither purchases nor the mirror use: they are for hooks, or were replayed. */
function closeUnhandled(
  { db, eventHooks = [] }: ProcessDeps,
  first: ClaimedEvent,
  events: ClaimedEvent[],
): Promise<number> {
  const isHooked = ({ type }: ClaimedEvent) => hooksFor(eventHooks, type).length > 0
  return withTenant(db, first, async (trx) => {
    const left = await lockClaimed(trx, events)
    const done = await closeClaimed(trx, left.filter(isHooked), { status: 'done' })
    const rest = left.filter((event) => !isHooked(event))
    return done + (await closeClaimed(trx, rest, { status: 'ignored' }))
  })
}

/** The events belong to no purchase: billing refreshes its objects, then the mirror lane takes over. */
async function handOffUnmatched(
  deps: ProcessDeps,
  first: ClaimedEvent,
  events: ClaimedEvent[],
): Promise<number> {
  const { db, logger } = deps
  await refreshBilling(deps, events)
  const { conferenceId, id, type } = first
  const isMirrored = ({ mirrored }: ClaimedEvent) => mirrored !== null
  const count = await withTenant(db, first, async (trx) => {
    await moveToMirror(trx, events.filter(isMirrored))
    const rest = events.filter((event) => !isMirrored(event))
    return closeClaimed(trx, rest, { status: 'ignored' })
  })
  logger.info({ conference: conferenceId, event: id, type }, 'the event belongs to no purchase')
  return count
}

async function reconcile(
  deps: ProcessDeps,
  ref: PurchaseRef,
  events: ClaimedEvent[],
  cause: Cause,
): Promise<number> {
  for (const { type, objectId } of events) {
    if (isSessionType(type) && objectId !== null) await adoptSession(deps, ref, objectId)
  }
  let closed = 0
  let isMirrored: (event: ClaimedEvent) => boolean = () => false
  const gateway: PaymentGateway = {
    ...deps.gateway,
    async readFacts(query) {
      const facts = await deps.gateway.readFacts(query)
      // Here and not in the transaction below, which a broken mirror would abort.
      isMirrored = await mirrorState(deps, ref, events)
      return facts
    },
  }
  await reconcilePurchase({ db: deps.db, gateway }, ref, {
    cause,
    warnings: events.some(({ type }) => isFraudWarningType(type)),
    hintedPaymentIntents: hintedPayments(events),
    within: async (trx, apply) => {
      const left = await lockClaimed(trx, events)
      // Taken over by another worker, which reads for itself.
      if (left.length === 0) return
      await apply()
      const { purchaseId } = ref
      closed = await closeClaimed(trx, left.filter(isMirrored), { status: 'done', purchaseId })
      const waiting = left.filter((event) => !isMirrored(event))
      await moveToMirror(trx, waiting, purchaseId)
    },
  })
  return closed
}

/** Tells whether the mirror has an event's object as it was when the event came, or is newer. */
async function mirrorState(
  { mirrorFeed }: ProcessDeps,
  { conferenceId }: PurchaseRef,
  events: readonly ClaimedEvent[],
): Promise<(event: ClaimedEvent) => boolean> {
  const objects = events.flatMap(({ mirrored }) => mirrored ?? [])
  const readAt = await mirrorFeed.readingTimes(conferenceId, objects)
  return ({ mirrored }) =>
    mirrored === null || (readAt.get(referenceKey(mirrored)) ?? 0) >= mirrored.after
}

function hintedPayments(events: ClaimedEvent[]): string[] {
  const hinted = events.flatMap(({ paymentIntentId }) => paymentIntentId ?? [])
  return [...new Set(hinted)]
}

/**
 * Finds the purchase of an event by fetching the event's payment from Stripe. This is needed when our
 * rows do not have the payment yet: a refund or a dispute names only the charge or the payment intent,
 * and its event may arrive first. Null when the payment belongs to no purchase of this conference.
 *
 * @throws AppError `stripe_…`
 */
async function findEventPurchase(
  deps: { db: Db; clients: StripeClients },
  event: ClaimedEvent,
): Promise<string | null> {
  // Our sessions and intents are created with our ids in them, so one without our ids is not ours.
  if (isSessionType(event.type) || event.type.startsWith('payment_intent.')) return null
  const { conferenceId } = event
  const charge =
    event.paymentIntentId === null ? (await loadEventHints(deps.db, event))?.charge : null
  if (event.paymentIntentId === null && (charge === null || charge === undefined)) return null
  const stripe = await deps.clients.forConference(conferenceId)
  const intent = event.paymentIntentId ?? (charge ? await intentOfCharge(stripe, charge) : null)
  if (intent === null) return null
  const known = await withTenant(deps.db, event, (trx) =>
    findPurchaseIdByPaymentIntent(trx, conferenceId, intent),
  )
  if (known !== null) return known
  const answer = await fetchOrNull(() => stripe.paymentIntents.retrieve(intent))
  if (answer === null) return null
  const { metadata } = parseStripeObject(paymentIntentObject, answer, 'payment intent')
  const named = metadata['purchase_id']
  if (named === undefined || metadata['conference_id'] !== conferenceId) return null
  return withTenant(deps.db, event, (trx) => ownPurchase(trx, conferenceId, named))
}

async function intentOfCharge(stripe: Stripe, charge: string): Promise<string | null> {
  const answer = await fetchOrNull(() => stripe.charges.retrieve(charge))
  return answer === null ? null : parseStripeObject(chargeObject, answer, 'charge').payment_intent
}

async function ownPurchase(trx: Tx, conferenceId: string, id: string): Promise<string | null> {
  const purchase = await findPurchase(trx, { conferenceId, purchaseId: id })
  return purchase?.id ?? null
}

/** The attempt that may have created a session that no attempt has recorded, or null. */
function attemptAwaitingSession(
  attempts: PaymentAttempt[],
  sessionId: string,
): PaymentAttempt | null {
  if (attempts.some((attempt) => attempt.sessionId === sessionId)) return null
  const open = attempts.find(({ state, sessionId: id }) => state === 'creating' && id === null)
  return open ?? null
}

/**
 * Records a Checkout session on the attempt that created it. This is needed when our process died
 * between Stripe's response and our commit; the next snapshot would not include the session. The
 * session is fetched from Stripe and must name this purchase, conference and attempt.
 *
 * @throws AppError `stripe_…`
 */
async function adoptSession(
  deps: { db: Db; clients: StripeClients },
  ref: PurchaseRef,
  sessionId: string,
): Promise<void> {
  const attempts = await withTenant(deps.db, ref, (trx) => listAttempts(trx, ref))
  const attempt = attemptAwaitingSession(attempts, sessionId)
  if (attempt === null) return
  const stripe = await deps.clients.forConference(ref.conferenceId)
  const answer = await fetchOrNull(() => stripe.checkout.sessions.retrieve(sessionId))
  if (answer === null) return
  const session = parseStripeObject(sessionObject, answer, 'checkout session')
  const { client_reference_id: reference, metadata } = session
  const namesAttempt =
    reference === ref.purchaseId &&
    metadata['conference_id'] === ref.conferenceId &&
    metadata['attempt'] === String(attempt.attempt)
  if (!namesAttempt) return
  await withTenant(deps.db, ref, async (trx) => {
    await lockPurchase(trx, ref)
    // A repeat of the interrupted request may have recorded it in the meantime.
    if (
      attemptAwaitingSession(await listAttempts(trx, ref), sessionId)?.attempt !== attempt.attempt
    )
      return
    // The attempt stays `creating`: the next snapshot moves it to the session's state.
    await updateAttempt(trx, ref, attempt.attempt, {
      session_id: sessionId,
      url: session.url,
      expires_at: new Date(session.expires_at * 1000),
    })
  })
}
