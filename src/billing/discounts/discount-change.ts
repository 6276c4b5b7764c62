import type { Db, Tx } from '../../db/connect.ts'
import { deleteInBatches } from '../../db/delete-in-batches.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { databaseNow, type FetchTime } from '../../mirror/fetch-time.ts'
import { type MirrorBody, toMirrorBody } from '../../mirror/mirror-schemas.ts'
import { findMirroredObject, type StoredMirrorRow } from '../../mirror/mirror-store.ts'
import { mirrorNames } from '../../mirror/resource-registry.ts'
import type { StripeResource } from '../../mirror/stripe-resource.ts'
import type { StripeSyncAction } from '../../mirror/stripe-sync-action.ts'
import type { Actor } from '../../shared/caller.ts'
import { AppError, afterWrite, notFound } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import { callStripe, fetchOrNull } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'

export const DISCOUNT_KINDS = ['coupon', 'promotion_code'] as const
export const CHANGE_ACTIONS = ['create', 'update', 'delete'] as const
export const CHANGE_STATES = ['requested', 'accepted', 'refused'] as const

type Kind = (typeof DISCOUNT_KINDS)[number]
type Action = (typeof CHANGE_ACTIONS)[number]

/** Deletes changes whose outcome is known for more than so many days. @returns their number. */
export function deleteOldDiscountChanges(db: Db, days: number): Promise<number> {
  const condition = `state <> 'requested' and updated_at < now() - interval '${days} days'`
  return deleteInBatches(db, 'discount_changes', condition)
}

/** A row of `discount_changes`: one request to create, change or delete a coupon or promotion code. */
export type DiscountChange = {
  id: string
  kind: Kind
  action: Action
  /** Stripe's id of the object; null until Stripe has assigned one. */
  object_id: string | null
  /** The request's parameters. A repeat sends exactly the same. */
  params: { [param: string]: unknown }
  /** `requested`: Stripe's response is not known (yet). */
  state: (typeof CHANGE_STATES)[number]
  refusal: string | null
  actor_kind: Actor['kind']
  actor_id: string
  created_at: Date
  updated_at: Date
}

export const CHANGE_COLUMNS = [
  'id',
  'kind',
  'action',
  'object_id',
  'params',
  'state',
  'refusal',
  'actor_kind',
  'actor_id',
  'created_at',
  'updated_at',
] as const satisfies readonly (keyof DiscountChange)[]

/** Who requests a change, and in which conference. */
export type Requester = { conferenceId: string; actor: Actor }

/**
 * Records a change before the request is sent to Stripe.
 *
 * @param change.id - from `newChangeId`, when the request's parameters contain it.
 * @returns the change's id.
 */
export async function recordChange(
  trx: Tx,
  { conferenceId, actor }: Requester,
  change: Pick<DiscountChange, 'kind' | 'action' | 'object_id'> & { id?: string; params: object },
): Promise<string> {
  const id = change.id ?? newChangeId()
  await trx('discount_changes').insert({
    conference_id: conferenceId,
    id,
    kind: change.kind,
    action: change.action,
    object_id: change.object_id,
    params: JSON.stringify(change.params),
    actor_kind: actor.kind,
    actor_id: actor.id,
  })
  return id
}

export const newChangeId = () => newId('discountChange')

/**
 * Runs a recorded change unless it already succeeded. It may be repeated after a crash or an unknown
 * outcome. A refusal is final.
 *
 * @param send - sends the request, stores the response in the mirror and returns the object's id.
 * @returns the object's id.
 * @throws the error of `send`; AppError `stripe_refused` for a change that was refused before.
 */
export async function runChange(
  db: Db,
  conferenceId: string,
  changeId: string,
  send: (change: DiscountChange) => Promise<string>,
): Promise<string> {
  const close = (values: { state: 'accepted' | 'refused'; [column: string]: unknown }) =>
    withTenant(db, { conferenceId }, (trx) =>
      trx('discount_changes')
        .where({ conference_id: conferenceId, id: changeId, state: 'requested' })
        .update({ ...values, updated_at: trx.fn.now() }),
    )
  const change = await loadChange(db, conferenceId, changeId)
  if (change.state === 'refused') {
    throw new AppError('stripe_refused', change.refusal ?? 'Stripe refused the change.')
  }
  if (change.state === 'accepted' && change.object_id !== null) return change.object_id
  try {
    const objectId = await send(change)
    await close({ state: 'accepted', object_id: objectId })
    return objectId
  } catch (error) {
    const isFinal = error instanceof AppError && error.status < 500
    if (isFinal) await close({ state: 'refused', refusal: error.message })
    throw error
  }
}

async function loadChange(db: Db, conferenceId: string, id: string): Promise<DiscountChange> {
  const row = await withTenant(db, { conferenceId }, (trx) =>
    trx('discount_changes')
      .where({ conference_id: conferenceId, id })
      .first<DiscountChange | undefined>([...CHANGE_COLUMNS]),
  )
  if (row === undefined) throw new Error(`Discount change ${id} does not exist`)
  return row
}

/** Marks an object as deleted in the mirror after Stripe deleted it. */
export async function mirrorDeletion<T extends StripeObject>(
  action: StripeSyncAction<T>,
  id: string,
  requestedAt: FetchTime,
): Promise<void> {
  await action.softDelete(id, requestedAt)
  const row = await findMirrorRow(action, id)
  if (row?.deleted_at === null) {
    await afterWrite(() => callStripe(() => action.refresh(id)))
  }
}

/**
 * Fetches an object before it is changed and stores it in the mirror. Null when it does not exist at
 * Stripe, or belongs to another conference on the same Stripe account.
 */
export async function fetchForChange<T extends StripeObject>(
  action: StripeSyncAction<T>,
  id: string,
): Promise<T | null> {
  const { stripe } = await action.context.connect()
  const requestedAt = await databaseNow(action.context.db)
  const object = await fetchOrNull(async () => action.resource.retrieve(stripe, id))
  if (object === null || object.deleted === true) {
    // An id that the mirror never had gets no tombstone: it may be a typing error.
    if ((await findMirrorRow(action, id)) !== null) await action.softDelete(id, requestedAt)
    return null
  }
  const { outcome } = await action.sync(object, requestedAt)
  return outcome === 'foreign' ? null : object
}

/**
 * Refuses to change an object that the mirror does not have: it may belong to another conference. A
 * refresh adds an object that was created a moment ago.
 *
 * @throws AppError `not_found`
 */
export async function assertMirrored(
  trx: Tx,
  conferenceId: string,
  resource: Pick<StripeResource, 'name' | 'objects' | 'columns'>,
  id: string,
): Promise<void> {
  const row = await findMirroredObject(trx, resource, conferenceId, id)
  if (row === null) throw notFound(mirrorNames(resource).one)
}

/** The mirror's row of an object, also of a deleted one, or null. */
export function findMirrorRow<T extends StripeObject>(
  { context, resource }: StripeSyncAction<T>,
  id: string,
): Promise<StoredMirrorRow | null> {
  const { db, conferenceId } = context
  return withTenant(db, { conferenceId }, (trx) =>
    findMirroredObject(trx, resource, conferenceId, id),
  )
}

/** The API's body of an object's mirror row. @throws Error when there is no row. */
export async function viewMirrorRow<T extends StripeObject>(
  action: StripeSyncAction<T>,
  id: string,
): Promise<MirrorBody> {
  const row = await findMirrorRow(action, id)
  if (row === null) throw new Error(`The mirror has no row for ${id}`)
  return toMirrorBody(action.resource, row)
}
