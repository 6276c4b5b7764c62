import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { NoteWrites } from '../db/write-positions.ts'
import type { MirrorFeed } from '../mirror/mirror-feed.ts'
import { referenceKey } from '../mirror/mirror-object.ts'
import type { PaymentGateway } from '../payments/payment-gateway.ts'
import type {
  BulkPurchaseService,
  CheckoutWebhook,
  FetchedSnapshot,
  PurchaseRef,
} from '../purchases/bulk-purchase-service.ts'
import type { Logger } from '../shared/logger.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { concerns, showFailure } from '../shared/work-context.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import { fetchOrNull } from '../stripe/stripe-errors.ts'
import { chargeObject, parseStripeObject, paymentIntentObject } from '../stripe/stripe-objects.ts'
import {
  type ClaimedEvent,
  closeClaimed,
  lockClaimed,
  moveToMirror,
  runWithRetry,
} from './claim-events.ts'
import { isFraudWarningType, isHandledType, isSessionType } from './classify-event.ts'
import { type EventHook, hooksFor, runEventHooks } from './event-hook.ts'
import { loadEventHints } from './event-inbox.ts'
import { refreshBilling } from './refresh-billing.ts'

export type ProcessDeps = {
  db: Db
  clients: StripeClients
  gateway: PaymentGateway
  purchases: Pick<BulkPurchaseService, 'handleCheckoutWebhook' | 'applySnapshot'>
  mirrorFeed: MirrorFeed
  logger: Logger
  metrics: ServiceMetrics
  eventHooks?: readonly EventHook[]
  /** For reads from a replica that follow a change of a purchase. Absent: there is none. */
  noteWrites?: NoteWrites
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
  if (ready.length === 0) return
  await runWithRetry(deps, ready, () => showFailure(() => processGroup(deps, ready)))
}

/** Returns the number of closed events. */
async function processGroup(deps: ProcessDeps, events: ClaimedEvent[]): Promise<number> {
  const [first] = events
  if (first === undefined) return 0
  if (events.every(isForHooks)) return closeUnhandled(deps, first, events)
  const snapshot = await fetchSnapshot(deps, first, events)
  if (snapshot === null) return handOffUnmatched(deps, first, events)
  const closed = await applyAndClose(deps, snapshot, first, events)
  await deps.noteWrites?.(first.conferenceId)
  return closed
}

/**
 * Finds the purchase of the events and fetches its snapshot. Null when the events are about no purchase
 * of this conference. The purchase is found by our own rows, or else by the payment at Stripe: a refund
 * or a dispute names only a charge or a payment intent, and its event may be the first of a payment.
 *
 * @throws AppError `stripe_…`
 */
async function fetchSnapshot(
  deps: ProcessDeps,
  first: ClaimedEvent,
  events: ClaimedEvent[],
): Promise<FetchedSnapshot | null> {
  const webhook = {
    conferenceId: first.conferenceId,
    purchaseId: first.purchaseId,
    sessionIds: events.flatMap(({ type, objectId }) =>
      isSessionType(type) && objectId !== null ? [objectId] : [],
    ),
    paymentIntents: [...new Set(events.flatMap(({ paymentIntentId }) => paymentIntentId ?? []))],
    fraudWarnings: events.some(({ type }) => isFraudWarningType(type)),
  }
  const handle = (more: Partial<CheckoutWebhook> = {}) =>
    deps.purchases.handleCheckoutWebhook({ ...webhook, ...more })
  const found = await handle()
  // Our sessions and intents are created with our ids in them, so one without our ids is not ours.
  if (found !== null || isSessionType(first.type) || first.type.startsWith('payment_intent.')) {
    return found
  }
  const paymentIntent = first.paymentIntentId ?? (await fetchIntentOfCharge(deps, first))
  if (paymentIntent === null) return null
  const paymentIntents = [paymentIntent]
  const byPayment = first.paymentIntentId === null ? await handle({ paymentIntents }) : null
  if (byPayment !== null) return byPayment
  const purchaseId = await fetchPurchaseId(deps, first, paymentIntent)
  return purchaseId === null ? null : handle({ purchaseId, paymentIntents })
}

/** Applies the snapshot and closes the events in one transaction. Returns the number of closed events. */
async function applyAndClose(
  deps: ProcessDeps,
  snapshot: FetchedSnapshot,
  first: ClaimedEvent,
  events: ClaimedEvent[],
): Promise<number> {
  const { purchaseId } = snapshot.ref
  concerns({ purchase: purchaseId })
  // Outside the transaction: an error of the mirror would abort it.
  const isMirrored = await checkMirror(deps, snapshot.ref, events)
  return withTenant(deps.db, snapshot.ref, async (trx) => {
    const waiting = events.filter((event) => !isMirrored(event))
    // All in one order, so that two workers cannot deadlock. Each of the updates below locks only a part of them.
    if (waiting.length > 0) await lockClaimed(trx, events)
    const mirrored = events.filter(isMirrored)
    const closed = await closeClaimed(trx, mirrored, { status: 'done', purchaseId })
    const moved = await moveToMirror(trx, waiting, purchaseId)
    // Another worker claimed the events in the meantime and fetches its own snapshot.
    if (closed + moved === 0) return 0
    const cause = { actor: { kind: 'stripe', id: first.id }, cause: first.type } as const
    await deps.purchases.applySnapshot(trx, snapshot, cause)
    return closed
  })
}

/** Returns a test: did the mirror fetch the event's object after the event arrived? */
async function checkMirror(
  { mirrorFeed }: ProcessDeps,
  { conferenceId }: PurchaseRef,
  events: readonly ClaimedEvent[],
): Promise<(event: ClaimedEvent) => boolean> {
  const objects = events.flatMap(({ mirrored }) => mirrored ?? [])
  const fetchedAt = await mirrorFeed.fetchTimes(conferenceId, objects)
  return ({ mirrored }) =>
    mirrored === null || (fetchedAt.get(referenceKey(mirrored)) ?? 0) >= mirrored.after
}

/** The payment intent of the charge that an event names, such as a refund's or a dispute's, or null. */
async function fetchIntentOfCharge(
  { db, clients }: ProcessDeps,
  event: ClaimedEvent,
): Promise<string | null> {
  const charge = (await loadEventHints(db, event))?.charge ?? null
  if (charge === null) return null
  const stripe = await clients.forConference(event.conferenceId)
  const response = await fetchOrNull(() => stripe.charges.retrieve(charge))
  return response === null
    ? null
    : parseStripeObject(chargeObject, response, 'charge').payment_intent
}

/** The purchase of this conference that the payment's metadata at Stripe names, or null. */
async function fetchPurchaseId(
  { clients }: ProcessDeps,
  { conferenceId }: ClaimedEvent,
  paymentIntent: string,
): Promise<string | null> {
  const stripe = await clients.forConference(conferenceId)
  const response = await fetchOrNull(() => stripe.paymentIntents.retrieve(paymentIntent))
  if (response === null) return null
  const { metadata } = parseStripeObject(paymentIntentObject, response, 'payment intent')
  return metadata['conference_id'] === conferenceId ? (metadata['purchase_id'] ?? null) : null
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
    await lockClaimed(trx, events)
    await moveToMirror(trx, events.filter(isMirrored))
    const rest = events.filter((event) => !isMirrored(event))
    return closeClaimed(trx, rest, { status: 'ignored' })
  })
  logger.info({ conference: conferenceId, event: id, type }, 'the event belongs to no purchase')
  return count
}
