import type Stripe from 'stripe'
import type { Db, Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { databaseNow, type FetchTime } from '../../mirror/fetch-time.ts'
import { type MirrorBody, toMirrorBody } from '../../mirror/mirror-schemas.ts'
import { findMirroredObject, type StoredMirrorRow } from '../../mirror/mirror-store.ts'
import { mirrorNames } from '../../mirror/resource-registry.ts'
import type { StripeResource, SyncContext } from '../../mirror/stripe-resource.ts'
import type { StripeSyncAction } from '../../mirror/stripe-sync-action.ts'
import type { Actor } from '../../shared/caller.ts'
import { AppError, notFound } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import type { Logger } from '../../shared/logger.ts'
import type { StripeClients } from '../../stripe/stripe-client.ts'
import { callStripe, fetchOrNull } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'

export const DISCOUNT_KINDS = ['coupon', 'promotion_code'] as const
export const CHANGE_ACTIONS = ['create', 'update', 'delete'] as const
export const CHANGE_STATES = ['requested', 'accepted', 'refused'] as const

type Kind = (typeof DISCOUNT_KINDS)[number]
type Action = (typeof CHANGE_ACTIONS)[number]

/** One request to change a coupon or a promotion code, as its row has it. */
export type DiscountChange = {
  id: string
  kind: Kind
  action: Action
  /** Stripe's id of the object; null while Stripe has not chosen it. */
  object_id: string | null
  /** The request, frozen: a repeat sends the same. */
  params: { [param: string]: unknown }
  /** `requested`: Stripe's answer is not known (yet). */
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

/** Who asks, in which conference. */
export type Requester = { conferenceId: string; actor: Actor }

/**
 * Writes down what Stripe is about to be asked.
 *
 * @param change.id of `newChangeId`, where the request itself names it.
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
 * Does what was written down, unless that is done. May be repeated after a crash or an unknown
 * outcome; a refusal is final.
 *
 * @param ask asks Stripe, stores its answer in the mirror and returns the object's id.
 * @returns the object's id.
 * @throws what `ask` throws; AppError `stripe_refused` for a change that was refused before.
 */
export async function runChange(
  db: Db,
  conferenceId: string,
  changeId: string,
  ask: (change: DiscountChange) => Promise<string>,
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
    const objectId = await ask(change)
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
  if (row === undefined) throw new Error(`There is no change ${id}`)
  return row
}

export type DiscountDeps = { db: Db; clients: StripeClients; logger: Logger }

/** What the mirror's actions work with, when a person waits: their requests go out at once. */
export function interactiveSyncContext(deps: DiscountDeps, conferenceId: string): SyncContext {
  const { db, logger } = deps
  return { db, conferenceId, logger, connect: () => deps.clients.connect(conferenceId) }
}

/**
 * Stores what Stripe answered to a change. Where the mirror has read the object meanwhile, or Stripe
 * repeated an answer of before, the object is read anew: what was answered may be old by now.
 *
 * @param readAt when the change was requested.
 */
export async function mirrorAnswer<T extends StripeObject>(
  action: StripeSyncAction<T>,
  answer: Stripe.Response<T>,
  readAt: FetchTime,
): Promise<void> {
  const isRepeated = answer.lastResponse.headers['idempotent-replayed'] === 'true'
  if (!isRepeated) {
    const { outcome } = await action.sync(answer, readAt)
    if (outcome !== 'stale') return
  }
  await callStripe(() => action.refresh(answer.id))
}

/** Marks an object as gone that Stripe has just deleted. */
export async function mirrorDeletion<T extends StripeObject>(
  action: StripeSyncAction<T>,
  id: string,
  readAt: FetchTime,
): Promise<void> {
  await action.softDelete(id, readAt)
  const row = await findMirrorRow(action, id)
  if (row?.deleted_at === null) await callStripe(() => action.refresh(id))
}

/**
 * Reads an object that is to be changed: null when Stripe has none of this id, or it is another
 * conference's on the same Stripe account. What is read goes into the mirror.
 */
export async function fetchForChange<T extends StripeObject>(
  action: StripeSyncAction<T>,
  id: string,
): Promise<T | null> {
  const { stripe } = await action.context.connect()
  const readAt = await databaseNow(action.context.db)
  const object = await fetchOrNull(async () => action.resource.retrieve(stripe, id))
  if (object === null || object.deleted === true) {
    // One that the mirror never had gets no tombstone: the id may be nothing but a typing error.
    if ((await findMirrorRow(action, id)) !== null) await action.softDelete(id, readAt)
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
  const row = await findMirroredObject(trx, resource, conferenceId, id)
  if (row === null) throw notFound(mirrorNames(resource).one)
}

/** The mirror's row of an object, deleted or not, or null. */
export function findMirrorRow<T extends StripeObject>(
  { context, resource }: StripeSyncAction<T>,
  id: string,
): Promise<StoredMirrorRow | null> {
  const { db, conferenceId } = context
  return withTenant(db, { conferenceId }, (trx) =>
    findMirroredObject(trx, resource, conferenceId, id),
  )
}

/** An object as the API shows the mirror's row of it. @throws Error when there is none. */
export async function viewMirrorRow<T extends StripeObject>(
  action: StripeSyncAction<T>,
  id: string,
): Promise<MirrorBody> {
  const row = await findMirrorRow(action, id)
  if (row === null) throw new Error(`The mirror has no row of ${id}`)
  return toMirrorBody(action.resource, row)
}
