import type { Db, Tx } from '../db/connect.ts'
import { addJob } from '../jobs/job-queue.ts'
import { fetchOwnedSnapshot, type SnapshotHints } from '../payments/fetch-owned-snapshot.ts'
import type { PaymentGateway } from '../payments/payment-gateway.ts'
import type { PaymentSnapshot } from '../payments/payment-snapshot.ts'
import { additionsOfStale } from '../payments/plan-records.ts'
import { notFound } from '../shared/errors.ts'
import { ownerOf, savePlan } from './change-purchase.ts'
import { planPurchase } from './plan-purchase.ts'
import type { PurchaseAggregate, PurchaseRef } from './purchase-aggregate.ts'
import type { Cause } from './purchase-history.ts'
import {
  isUnreconciledFor,
  lockAggregate,
  takeReconcileTicket,
  withPurchase,
} from './purchase-store.ts'

type Deps = { db: Db; gateway: PaymentGateway }

/** A snapshot with the ticket that was taken before it was fetched. */
export type FetchedSnapshot = { ref: PurchaseRef; ticket: number; snapshot: PaymentSnapshot }

/** `superseded`: a snapshot with a higher ticket was applied before, and this one added nothing. */
export type Applied = 'applied' | 'superseded'

/**
 * Fetches a snapshot from Stripe and applies it. Webhooks, timers, staff and the CLI all use this
 * path; an event only says that it is time to fetch. What the snapshot means: plan-purchase.ts; what is written:
 * `savePlan` in change-purchase.ts.
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
 * Fetches what Stripe has of a purchase now; see `fetchOwnedSnapshot`.
 *
 * @returns null if there is no such purchase.
 * @throws AppError `stripe_unavailable` and the others of PaymentGateway.
 */
export async function fetchSnapshot(
  deps: Deps,
  ref: PurchaseRef,
  hints: SnapshotHints,
): Promise<FetchedSnapshot | null> {
  const source = {
    owner: ownerOf(ref),
    takeTicket: () => takeReconcileTicket(deps.db, ref),
    lock: async (trx: Tx) => (await lockAggregate(trx, ref)).records,
  }
  const fetched = await fetchOwnedSnapshot(deps, source, hints)
  return fetched === null ? null : { ref, ...fetched }
}

/**
 * Applies a snapshot in the caller's transaction. Each snapshot has a ticket, a number that was taken before it was
 * fetched. If a snapshot with a higher ticket was applied already, this one is stale: it may only add payments that no
 * newer snapshot contained.
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
  const isStale = before.purchase.appliedTicket > ticket
  const applied = isStale ? additionsOfStale(before.records, snapshot) : snapshot
  if (applied === null) return 'superseded'
  const plan = planPurchase(before, { type: 'snapshot', snapshot: applied })
  await savePlan(trx, plan, cause, isStale ? null : ticket)
  return 'applied'
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
