import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { addJob } from '../jobs/job-queue.ts'
import { isOver } from '../payments/attempt-machine.ts'
import type { PaymentGateway, PurchaseRef, SnapshotQuery } from '../payments/payment-gateway.ts'
import type { PaymentAttempt, PaymentRecords } from '../payments/payment-records.ts'
import type { PaymentSnapshot } from '../payments/payment-snapshot.ts'
import { storeSession } from '../payments/payment-store.ts'
import { notFound } from '../shared/errors.ts'
import { ownerOf, savePlan } from './change-purchase.ts'
import { planPurchase } from './plan-purchase.ts'
import type { PurchaseAggregate } from './purchase-aggregate.ts'
import {
  type Cause,
  getAggregate,
  isUnreconciledFor,
  lockAggregate,
  takeReconcileTicket,
  withPurchase,
} from './purchase-store.ts'

type Deps = { db: Db; gateway: PaymentGateway }

/** What to fetch besides the objects that the purchase has rows of. Stripe events give such hints. */
export type SnapshotHints = {
  /** Sessions that may belong to an attempt that has ended, or whose session we do not know. */
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
  return withPurchase(deps.db, ref, (trx, before) => applyTo(trx, before, fetched, cause))
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
  const taken = await takeReconcileTicket(deps.db, ref)
  if (taken === null) return null
  const { ticket } = taken
  let { records } = taken
  for (const sessionId of hints.sessionIds ?? []) {
    if (await adoptSession(deps, ref, records, sessionId)) {
      records = (await withTenant(deps.db, ref, (trx) => getAggregate(trx, ref))).records
    }
  }
  const query = { owner: ownerOf(ref), ...objectsToFetch(records, hints) }
  return { ref, ticket, snapshot: await deps.gateway.fetchSnapshot(query) }
}

/**
 * Applies a snapshot in the caller's transaction. Snapshots may arrive in any order: one whose ticket
 * is lower than the last applied one is stale and changes nothing.
 */
export async function applyFetched(
  trx: Tx,
  fetched: FetchedSnapshot,
  cause: Cause,
): Promise<Applied> {
  return applyTo(trx, await lockAggregate(trx, fetched.ref), fetched, cause)
}

async function applyTo(
  trx: Tx,
  before: PurchaseAggregate,
  { ticket, snapshot }: FetchedSnapshot,
  cause: Cause,
): Promise<Applied> {
  if (before.purchase.appliedTicket > ticket) return 'superseded'
  await savePlan(trx, planPurchase(before, { type: 'snapshot', snapshot }), cause, ticket)
  return 'applied'
}

/** What to fetch about an owner's payments. */
function objectsToFetch(
  { attempts, payments }: PaymentRecords,
  hints: SnapshotHints,
): Omit<SnapshotQuery, 'owner'> {
  const intents = new Map(
    payments.map(({ paymentIntent, attempt }) => [paymentIntent, { paymentIntent, attempt }]),
  )
  for (const { paymentIntentId: paymentIntent, attempt } of attempts) {
    if (paymentIntent !== null) intents.set(paymentIntent, { paymentIntent, attempt })
  }
  return {
    sessions: attempts.flatMap((attempt) => {
      const { sessionId } = attempt
      // A session that ended without a payment cannot be paid any more. An event about it is a hint
      // that this is not so.
      const isNeeded = sessionId !== null && (!isOver(attempt) || isHinted(hints, sessionId))
      return isNeeded ? [{ attempt: attempt.attempt, sessionId }] : []
    }),
    paymentIntents: [...intents.values()],
    hintedPaymentIntents: (hints.paymentIntents ?? []).filter((id) => !intents.has(id)),
    warnings: hints.fraudWarnings ?? false,
  }
}

const isHinted = ({ sessionIds = [] }: SnapshotHints, id: string) => sessionIds.includes(id)

/**
 * Stores a session on the attempt that requested it, if the process died between Stripe's response
 * and our commit: without that, the snapshot would not contain the session. The session must name
 * this purchase, conference and attempt.
 *
 * @returns whether the stored records changed since they were read.
 */
async function adoptSession(
  deps: Deps,
  ref: PurchaseRef,
  records: PaymentRecords,
  sessionId: string,
): Promise<boolean> {
  const attempt = attemptAwaitingSession(records.attempts, sessionId)
  if (attempt === null) return false
  const session = await deps.gateway.findSession(ref.conferenceId, sessionId)
  const isOurs =
    session?.metadata['purchase_id'] === ref.purchaseId &&
    session.metadata['conference_id'] === ref.conferenceId &&
    session.metadata['attempt'] === String(attempt.attempt)
  if (!isOurs) return false
  await withTenant(deps.db, ref, async (trx) => {
    const before = await lockAggregate(trx, ref)
    // A repeat of the request that died may have stored the session meanwhile.
    const now = attemptAwaitingSession(before.records.attempts, sessionId)
    if (now?.attempt !== attempt.attempt) return
    const { url, expiresAt } = session
    await storeSession(trx, ownerOf(ref), attempt.attempt, { sessionId, url, expiresAt })
  })
  return true
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
  if (!(await isUnreconciledFor(trx, ref, MIN_AGE_SECONDS))) return
  await addJob(trx, 'reconcile_purchase', {
    conference_id: ref.conferenceId,
    purchase_id: ref.purchaseId,
    reason: 'view',
  })
}
