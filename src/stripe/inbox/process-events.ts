import type { Db } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import type { PurchaseRef } from '../../purchases/bulk-purchase.ts'
import type { PaymentGateway } from '../../purchases/payment-gateway.ts'
import type { Cause } from '../../purchases/purchase-history.ts'
import { reconcilePurchase } from '../../purchases/reconcile.ts'
import type { Logger } from '../../shared/logger.ts'
import type { ServiceMetrics } from '../../shared/service-metrics.ts'
import { settleBillingEvents } from '../billing/settle-events.ts'
import type { StripeClients } from '../client.ts'
import type { MirrorFeed } from '../sync/feed/mirror-feed.ts'
import { referenceKey } from '../sync/feed/stored-objects.ts'
import { bindSession } from './bind-session.ts'
import type { ClaimedEvent } from './claim-events.ts'
import { closeClaimed, lockClaimed, moveToMirror } from './claimed-rows.ts'
import { type EventHook, hooksFor } from './event-hook.ts'
import { findEventPurchase } from './find-event-purchase.ts'
import { isHandledType, isSessionType, isWarningType } from './handled-types.ts'
import { runEventHooks } from './run-event-hooks.ts'
import { tryEvents } from './try-events.ts'

export type ProcessDeps = {
  db: Db
  clients: StripeClients
  gateway: PaymentGateway
  mirrorFeed: MirrorFeed
  logger: Logger
  metrics: ServiceMetrics
  /** Absent: none. */
  eventHooks?: readonly EventHook[]
}

/**
 * Works on claimed events of one conference that belong together (see groupByPurchase): finds their
 * purchase, reads it from Stripe once and, in the commit that applied the reading, closes the events
 * or hands them on to the mirror, when their object was not among what was read. Hooks are called
 * before all of that.
 * A failure is written on the events. Throws only when even that was impossible; their lease ends
 * then by itself.
 */
export async function processEvents(deps: ProcessDeps, events: ClaimedEvent[]): Promise<void> {
  const ready = await runEventHooks(deps, events)
  if (ready.length > 0) await tryEvents(deps, ready, () => settle(deps, ready))
}

/** Returns how many events were closed. */
async function settle(deps: ProcessDeps, events: ClaimedEvent[]): Promise<number> {
  const [first] = events
  if (first === undefined) return 0
  if (events.every(isForHooks)) return closeUnhandled(deps, first, events)
  const { conferenceId } = first
  const purchaseId = first.purchaseId ?? (await findEventPurchase(deps, first))
  if (purchaseId === null) return leave(deps, first, events)
  return reconcile(deps, { conferenceId, purchaseId }, events, {
    actor: { kind: 'stripe', id: first.id },
    cause: first.type,
  })
}

const isForHooks = ({ type, mirrored }: ClaimedEvent) => mirrored === null && !isHandledType(type)

/** Events that only hooks had a use for, or nobody: they came here by a replay. */
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

/** No purchase of ours: billing, and then the mirror, may have a use for the events. */
async function leave(
  deps: ProcessDeps,
  first: ClaimedEvent,
  events: ClaimedEvent[],
): Promise<number> {
  const { db, logger } = deps
  await settleBillingEvents(deps, events)
  const { conferenceId, id, type } = first
  const isMirrored = ({ mirrored }: ClaimedEvent) => mirrored !== null
  const count = await withTenant(db, first, async (trx) => {
    await moveToMirror(trx, events.filter(isMirrored))
    const rest = events.filter((event) => !isMirrored(event))
    return closeClaimed(trx, rest, { status: 'ignored' })
  })
  logger.info({ conference: conferenceId, event: id, type }, 'not ours')
  return count
}

async function reconcile(
  deps: ProcessDeps,
  ref: PurchaseRef,
  events: ClaimedEvent[],
  cause: Cause,
): Promise<number> {
  for (const { type, objectId } of events) {
    if (isSessionType(type) && objectId !== null) await bindSession(deps, ref, objectId)
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
    warnings: events.some(({ type }) => isWarningType(type)),
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
