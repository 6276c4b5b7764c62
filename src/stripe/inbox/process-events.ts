import type { Db } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import type { PurchaseRef } from '../../purchases/bulk-purchase.ts'
import type { PaymentGateway } from '../../purchases/payment-gateway.ts'
import type { Cause } from '../../purchases/purchase-history.ts'
import { reconcilePurchase } from '../../purchases/reconcile.ts'
import { AppError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/logger.ts'
import type { ServiceMetrics } from '../../shared/service-metrics.ts'
import type { StripeClients } from '../client.ts'
import { bindSession } from './bind-session.ts'
import { type ClaimedEvent, MAX_ATTEMPTS } from './claim-events.ts'
import { closeClaimed, failClaimed, lockClaimed } from './claimed-rows.ts'
import { errorText } from './error-text.ts'
import { findEventPurchase } from './find-event-purchase.ts'
import { isSessionType, isWarningType } from './handled-types.ts'

export type ProcessDeps = {
  db: Db
  clients: StripeClients
  gateway: PaymentGateway
  logger: Logger
  metrics: ServiceMetrics
}

const LONGEST_WAIT = 900 // seconds

/**
 * Works on claimed events of one conference that belong together (see groupByPurchase): finds their
 * purchase, reads it from Stripe once and closes the events in the commit that applied the reading.
 * A failure is written on the events. Throws only when even that was impossible; their lease ends
 * then by itself.
 */
export async function processEvents(deps: ProcessDeps, events: ClaimedEvent[]): Promise<void> {
  const begun = performance.now()
  const report = (outcome: 'done' | 'retried' | 'failed', count: number) => {
    for (let i = 0; i < count; i += 1)
      deps.metrics.eventHandled(outcome, (performance.now() - begun) / 1000)
  }
  try {
    report('done', await settle(deps, events))
  } catch (error) {
    const { failed, retried } = await recordFailure(deps, events, error)
    report('failed', failed)
    report('retried', retried)
  }
}

/** Returns how many events were closed. */
async function settle(deps: ProcessDeps, events: ClaimedEvent[]): Promise<number> {
  const [first] = events
  if (first === undefined) return 0
  if (events.some(({ attempts }) => attempts > MAX_ATTEMPTS)) {
    throw new Error('No try of this event came to an end: its workers died or lost their lease.')
  }
  const { conferenceId } = first
  const purchaseId = first.purchaseId ?? (await findEventPurchase(deps, first))
  if (purchaseId === null) {
    const count = await withTenant(deps.db, first, (trx) =>
      closeClaimed(trx, events, { status: 'ignored' }),
    )
    deps.logger.info({ conference: conferenceId, event: first.id, type: first.type }, 'not ours')
    return count
  }
  return reconcile(deps, { conferenceId, purchaseId }, events, {
    actor: { kind: 'stripe', id: first.id },
    cause: first.type,
  })
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
  await reconcilePurchase(deps, ref, {
    cause,
    warnings: events.some(({ type }) => isWarningType(type)),
    hintedPaymentIntents: hintedPayments(events),
    within: async (trx, apply) => {
      const left = await lockClaimed(trx, events)
      // Taken over by another worker, which reads for itself.
      if (left.length === 0) return
      await apply()
      closed = await closeClaimed(trx, left, { status: 'done', purchaseId: ref.purchaseId })
    },
  })
  return closed
}

function hintedPayments(events: ClaimedEvent[]): string[] {
  const hinted = events.flatMap(({ paymentIntentId }) => paymentIntentId ?? [])
  return [...new Set(hinted)]
}

/** 1, 2, 4 … seconds, at most a quarter of an hour; longer when Stripe itself asked for it. */
function waitSeconds(attempts: number, error: unknown): number {
  const asked = error instanceof AppError ? (error.retryAfterSeconds ?? 0) : 0
  return Math.max(Math.min(2 ** (attempts - 1), LONGEST_WAIT), asked)
}

async function recordFailure(
  deps: ProcessDeps,
  events: ClaimedEvent[],
  error: unknown,
): Promise<{ failed: number; retried: number }> {
  const text = errorText(error)
  const counts = { failed: 0, retried: 0 }
  for (const event of events) {
    const isLast = event.attempts >= MAX_ATTEMPTS
    const written = await withTenant(deps.db, event, (trx) =>
      failClaimed(trx, [event], {
        error: text,
        waitSeconds: isLast ? null : waitSeconds(event.attempts, error),
      }),
    )
    if (written === 0) continue
    const line = { conference: event.conferenceId, event: event.id, type: event.type, error: text }
    if (isLast) deps.logger.error(line, 'an event failed for good and waits for a replay')
    else
      deps.logger.warn({ ...line, attempt: event.attempts }, 'an event failed, to be tried again')
    counts[isLast ? 'failed' : 'retried'] += 1
  }
  return counts
}
