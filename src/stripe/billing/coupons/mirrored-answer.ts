import type Stripe from 'stripe'
import type { Db, Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import { notFound } from '../../../shared/errors.ts'
import type { Logger } from '../../../shared/logger.ts'
import type { StripeClients } from '../../client.ts'
import { askStripe, orNull } from '../../stripe-errors.ts'
import { type MirrorBody, toMirrorBody } from '../../sync/mirror-body.ts'
import { mirrorNames } from '../../sync/mirror-names.ts'
import { findMirrored, type StoredMirrorRow } from '../../sync/mirror-store.ts'
import { type ReadingTime, readingTime } from '../../sync/reading-time.ts'
import type { StripeObject } from '../../sync/stripe-object.ts'
import type { StripeResource } from '../../sync/stripe-resource.ts'
import type { StripeSyncAction } from '../../sync/stripe-sync-action.ts'
import type { SyncContext } from '../../sync/sync-context.ts'

export type DiscountDeps = { db: Db; clients: StripeClients; logger: Logger }

/** What the mirror's actions work with, when a person waits: their requests go out at once. */
export function promptContext(deps: DiscountDeps, conferenceId: string): SyncContext {
  const { db, logger } = deps
  return { db, conferenceId, logger, connect: () => deps.clients.connect(conferenceId) }
}

/**
 * Stores what Stripe answered to a change. Where the mirror has read the object meanwhile, or Stripe
 * repeated an answer of before, the object is read anew: what was answered may be old by now.
 *
 * @param readAt when the change was requested.
 */
export async function storeAnswer<T extends StripeObject>(
  action: StripeSyncAction<T>,
  answer: Stripe.Response<T>,
  readAt: ReadingTime,
): Promise<void> {
  const isRepeated = answer.lastResponse.headers['idempotent-replayed'] === 'true'
  if (!isRepeated) {
    const { outcome } = await action.sync(answer, readAt)
    if (outcome !== 'stale') return
  }
  await askStripe(() => action.refresh(answer.id))
}

/** Marks an object as gone that Stripe has just deleted. */
export async function storeDeletion<T extends StripeObject>(
  action: StripeSyncAction<T>,
  id: string,
  readAt: ReadingTime,
): Promise<void> {
  await action.softDelete(id, readAt)
  const row = await storedRow(action, id)
  if (row?.deleted_at === null) await askStripe(() => action.refresh(id))
}

/**
 * Reads an object that is to be changed: null when Stripe has none of this id, or it is another
 * conference's on the same Stripe account. What is read goes into the mirror.
 */
export async function readForChange<T extends StripeObject>(
  action: StripeSyncAction<T>,
  id: string,
): Promise<T | null> {
  const { stripe } = await action.context.connect()
  const readAt = await readingTime(action.context.db)
  const object = await orNull(async () => action.resource.retrieve(stripe, id))
  if (object === null || object.deleted === true) {
    // One that the mirror never had gets no tombstone: the id may be nothing but a typing error.
    if ((await storedRow(action, id)) !== null) await action.softDelete(id, readAt)
    return null
  }
  const { outcome } = await action.sync(object, readAt)
  return outcome === 'foreign' ? null : object
}

/**
 * What the mirror does not show cannot be changed either: it may be another conference's, or not have
 * arrived, and then a refresh brings it.
 *
 * @throws AppError `not_found`
 */
export async function assertMirrored(
  trx: Tx,
  conferenceId: string,
  resource: Pick<StripeResource, 'name' | 'objects' | 'columns'>,
  id: string,
): Promise<void> {
  const row = await findMirrored(trx, resource, conferenceId, id)
  if (row === null) throw notFound(mirrorNames(resource).one)
}

/** The mirror's row of an object, deleted or not, or null. */
export function storedRow<T extends StripeObject>(
  { context, resource }: StripeSyncAction<T>,
  id: string,
): Promise<StoredMirrorRow | null> {
  const { db, conferenceId } = context
  return withTenant(db, { conferenceId }, (trx) => findMirrored(trx, resource, conferenceId, id))
}

/** An object as the API shows the mirror's row of it. @throws Error when there is none. */
export async function viewStored<T extends StripeObject>(
  action: StripeSyncAction<T>,
  id: string,
): Promise<MirrorBody> {
  const row = await storedRow(action, id)
  if (row === null) throw new Error(`The mirror has no row of ${id}`)
  return toMirrorBody(action.resource, row)
}
