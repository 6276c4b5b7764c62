import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { addJob } from '../jobs/job-queue.ts'
import type { PaymentGateway, PurchaseRef, SnapshotQuery } from '../payments/payment-gateway.ts'
import type { PaymentSnapshot } from '../payments/payment-snapshot.ts'
import { notFound } from '../shared/errors.ts'
import { applySnapshot } from './apply-snapshot.ts'
import { listAttempts, type PaymentAttempt, updateAttempt } from './payment-attempt-store.ts'
import { listPaymentIntents } from './payment-store.ts'
import { type Cause, lockPurchase } from './purchase-store.ts'

type Deps = { db: Db; gateway: PaymentGateway }

/** What to fetch besides the objects that the purchase has rows of. Stripe events give such hints. */
export type SnapshotHints = {
  /** Sessions that may belong to an attempt whose session we do not know. */
  sessionIds?: readonly string[]
  /** See `hintedPaymentIntents` of SnapshotQuery. */
  paymentIntents?: readonly string[]
  fraudWarnings?: boolean
}

/** A snapshot with the ticket that was taken before it was fetched. */
export type FetchedSnapshot = { ref: PurchaseRef; ticket: number; snapshot: PaymentSnapshot }

/** `superseded`: a snapshot with a higher ticket was applied before, so this one changed nothing. */
export type Applied = 'applied' | 'superseded'

/**
 * Fetches a snapshot from Stripe and applies it. Webhooks, timers, staff and the CLI all use this
 * path; an event only says that it is time to fetch.
 *
 * @throws AppError `not_found`, `stripe_unavailable` and the others of PaymentGateway.
 */
export async function reconcilePurchase(
  deps: Deps,
  ref: PurchaseRef,
  cause: Cause,
  hints: SnapshotHints = {},
): Promise<Applied> {
  const fetched = await fetchSnapshot(deps, ref, hints)
  if (fetched === null) throw notFound('purchase')
  return withTenant(deps.db, ref, (trx) => applyFetched(trx, fetched, cause))
}

/**
 * Fetches what Stripe has of a purchase now. The ticket is taken first, in its own commit: it orders
 * snapshots by the time at which they were requested.
 *
 * @returns null if there is no such purchase.
 * @throws AppError `stripe_unavailable` and the others of PaymentGateway.
 */
export async function fetchSnapshot(
  deps: Deps,
  ref: PurchaseRef,
  hints: SnapshotHints,
): Promise<FetchedSnapshot | null> {
  for (const sessionId of hints.sessionIds ?? []) await adoptSession(deps, ref, sessionId)
  const taken = await withTenant(deps.db, ref, (trx) => takeTicket(trx, ref, hints))
  if (taken === null) return null
  const { ticket, query } = taken
  return { ref, ticket, snapshot: await deps.gateway.fetchSnapshot(query) }
}

/**
 * Applies a snapshot in the caller's transaction. Snapshots may arrive in any order: one whose ticket
 * is lower than the last applied one is stale and changes nothing.
 */
export async function applyFetched(
  trx: Tx,
  { ref, ticket, snapshot }: FetchedSnapshot,
  cause: Cause,
): Promise<Applied> {
  const purchase = await lockPurchase(trx, ref)
  if (purchase.appliedTicket > ticket) return 'superseded'
  await applySnapshot(trx, ref, snapshot, cause)
  await trx('bulk_purchases')
    .where({ conference_id: ref.conferenceId, id: ref.purchaseId })
    .update({ applied_ticket: ticket, reconciled_at: trx.fn.now() })
  return 'applied'
}

async function takeTicket(
  trx: Tx,
  ref: PurchaseRef,
  hints: SnapshotHints,
): Promise<{ ticket: number; query: SnapshotQuery } | null> {
  const [row] = await trx('bulk_purchases')
    .where({ conference_id: ref.conferenceId, id: ref.purchaseId })
    .increment('reconcile_ticket', 1)
    .returning<{ reconcile_ticket: number }[]>('reconcile_ticket')
  if (row === undefined) return null
  const attempts = await listAttempts(trx, ref)
  // An expired session can never be paid, so it is not fetched again.
  const live = attempts.filter(({ state }) => state !== 'expired' && state !== 'refused')
  const known = await listPaymentIntents(trx, ref)
  const attemptOf = (intent: string) =>
    attempts.find(({ paymentIntentId }) => paymentIntentId === intent)?.attempt ?? null
  return {
    ticket: row.reconcile_ticket,
    query: {
      ref,
      sessions: live.flatMap(({ attempt, sessionId }) =>
        sessionId === null ? [] : [{ attempt, sessionId }],
      ),
      paymentIntents: known.map((intent) => ({
        paymentIntent: intent,
        attempt: attemptOf(intent),
      })),
      hintedPaymentIntents: (hints.paymentIntents ?? []).filter((id) => !known.includes(id)),
      warnings: hints.fraudWarnings ?? false,
    },
  }
}

/**
 * Stores a session on the attempt that requested it, if the process died between Stripe's response
 * and our commit: without that, the snapshot would not contain the session. The session must name
 * this purchase, conference and attempt.
 */
async function adoptSession(deps: Deps, ref: PurchaseRef, sessionId: string): Promise<void> {
  const attempts = await withTenant(deps.db, ref, (trx) => listAttempts(trx, ref))
  const attempt = attemptAwaitingSession(attempts, sessionId)
  if (attempt === null) return
  const session = await deps.gateway.findSession(ref.conferenceId, sessionId)
  const isOurs =
    session?.reference === ref.purchaseId &&
    session.metadata['conference_id'] === ref.conferenceId &&
    session.metadata['attempt'] === String(attempt.attempt)
  if (!isOurs) return
  await withTenant(deps.db, ref, async (trx) => {
    await lockPurchase(trx, ref)
    // A repeat of the request that died may have stored the session meanwhile.
    const now = attemptAwaitingSession(await listAttempts(trx, ref), sessionId)
    if (now?.attempt !== attempt.attempt) return
    // The attempt stays `creating`: only the snapshot says what state the session is in.
    await updateAttempt(trx, ref, attempt.attempt, {
      session_id: sessionId,
      url: session.url,
      expires_at: session.expiresAt,
    })
  })
}

/** The attempt that may own a session which no attempt has, or null. */
function attemptAwaitingSession(
  attempts: PaymentAttempt[],
  sessionId: string,
): PaymentAttempt | null {
  if (attempts.some((attempt) => attempt.sessionId === sessionId)) return null
  const open = attempts.find(({ state, sessionId: id }) => state === 'creating' && id === null)
  return open ?? null
}

/** A younger purchase is left to its webhook. Seconds. */
const MIN_AGE_SECONDS = 5

/**
 * Adds a reconcile job for a purchase that is PROCESSING and was not reconciled for some seconds: a
 * person looks at it, perhaps on the page after paying.
 */
export async function requestReconcile(trx: Tx, ref: PurchaseRef): Promise<void> {
  const stale = await trx('bulk_purchases')
    .where({ conference_id: ref.conferenceId, id: ref.purchaseId, status: 'PROCESSING' })
    .whereRaw(`greatest(updated_at, reconciled_at) < now() - make_interval(secs => ?)`, [
      MIN_AGE_SECONDS,
    ])
    .first('id')
  if (stale === undefined) return
  await addJob(trx, 'reconcile_purchase', {
    conference_id: ref.conferenceId,
    purchase_id: ref.purchaseId,
    reason: 'view',
  })
}
