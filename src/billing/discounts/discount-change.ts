import type { Db, Tx } from '../../db/connect.ts'
import { deleteInBatches } from '../../db/delete-in-batches.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { addJob } from '../../jobs/job-queue.ts'
import { databaseNow, type FetchTime } from '../../mirror/fetch-time.ts'
import { type MirrorBody, toMirrorBody } from '../../mirror/mirror-schemas.ts'
import { findMirroredObject, type StoredMirrorRow } from '../../mirror/mirror-store.ts'
import { mirrorNames } from '../../mirror/resource-registry.ts'
import type { StripeResource } from '../../mirror/stripe-resource.ts'
import type { StripeSyncAction } from '../../mirror/stripe-sync-action.ts'
import type { Actor } from '../../shared/caller.ts'
import { AppError, afterWrite, notFound } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import { callStripe, fetchOrNull, type Refusal } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import type { BillingDeps } from '../billing-deps.ts'
import { makeRecorded, type RecordedOperation } from '../make-recorded.ts'

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
  /** When a request was sent to Stripe; null before. */
  tried_at: Date | null
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

/** Longer than a request with all its retries, so that the job usually has nothing to do. */
const FINISH_JOB_DELAY_MS = 60_000

/**
 * Records a change before the request is sent to Stripe. It also adds a job that repeats the request if
 * this process dies.
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
  await addJob(
    trx,
    'finish_discount_change',
    { conference_id: conferenceId, id },
    { runAt: new Date(Date.now() + FINISH_JOB_DELAY_MS) },
  )
  return id
}

export const newChangeId = () => newId('discountChange')

/** What a change does at Stripe. */
export type ChangeOperation<T extends { id: string }> = Pick<
  RecordedOperation<T>,
  'check' | 'send' | 'find'
> & {
  /** Stores the changed object in the mirror. */
  mirror: (object: T, requestedAt: FetchTime) => Promise<void>
  /** The error of the caller, in place of `stripe_refused` with Stripe's message. */
  refusal?: (refusal: Refusal) => Promise<AppError | null>
}

/**
 * Runs a recorded change. It may be repeated after a crash or an unknown outcome. A refusal is final.
 *
 * @returns the object's id.
 * @throws AppError of `check` and `refusal`; `stripe_…`
 */
export async function runChange<T extends { id: string }>(
  deps: BillingDeps,
  conferenceId: string,
  change: DiscountChange,
  operation: ChangeOperation<T>,
): Promise<string> {
  const close = (trx: Tx, values: { [column: string]: unknown }) =>
    ownRow(trx, conferenceId, change.id)
      .where({ state: 'requested' })
      .update({ ...values, updated_at: trx.fn.now() })
  let requestedAt: FetchTime = 0
  const now = async () => {
    requestedAt = await databaseNow(deps.db)
  }
  const outcome = await makeRecorded<T>(
    deps.db,
    { conferenceId },
    {
      noteRequest: (trx) => noteChangeRequest(trx, conferenceId, change.id),
      async check() {
        await assertNotReplaced(deps.db, conferenceId, change)
        await operation.check?.()
      },
      send: (options) => now().then(() => operation.send(options)),
      find: () => now().then(() => operation.find()),
      // The change is closed when the mirror has its result, so that a repeat gets it too.
      saveMade: async () => {},
      saveRefusal: (trx, refusal) => close(trx, { state: 'refused', refusal }),
      renewKey: (trx) => close(trx, { attempt: trx.raw('attempt + 1') }),
    },
  )
  if (outcome.kind === 'refused') {
    const error = await operation.refusal?.(outcome)
    throw error ?? new AppError('stripe_refused', outcome.message)
  }
  const { object } = outcome
  await afterWrite(() => operation.mirror(object, requestedAt))
  await withTenant(deps.db, { conferenceId }, (trx) =>
    close(trx, { state: 'accepted', object_id: object.id }),
  )
  return object.id
}

const ownRow = (trx: Tx, conferenceId: string, id: string) =>
  trx('discount_changes').where({ conference_id: conferenceId, id })

async function noteChangeRequest(
  trx: Tx,
  conferenceId: string,
  id: string,
): Promise<{ idempotencyKey: string; askedBefore: boolean }> {
  const row = await ownRow(trx, conferenceId, id)
    .forUpdate()
    .first<{ attempt: number; tried_at: Date | null } | undefined>('attempt', 'tried_at')
  if (row === undefined) throw notFound('discount change')
  await ownRow(trx, conferenceId, id).update({ tried_at: trx.fn.now() })
  return {
    idempotencyKey: row.attempt === 1 ? id : `${id}:${row.attempt}`,
    askedBefore: row.tried_at !== null,
  }
}

/** A late repeat must not undo a later change of the object. */
async function assertNotReplaced(db: Db, conferenceId: string, change: DiscountChange) {
  if (change.tried_at === null || change.object_id === null) return
  const later = await withTenant(db, { conferenceId }, (trx) =>
    trx('discount_changes')
      .where({ conference_id: conferenceId, object_id: change.object_id, state: 'accepted' })
      .where('created_at', '>', change.created_at)
      .first('id'),
  )
  if (later === undefined) return
  throw new AppError('wrong_state', 'A later change of the same object has replaced this one.')
}

export async function loadChange(
  db: Db,
  conferenceId: string,
  id: string,
): Promise<DiscountChange> {
  const row = await withTenant(db, { conferenceId }, (trx) =>
    ownRow(trx, conferenceId, id).first<DiscountChange | undefined>([
      ...CHANGE_COLUMNS,
      'tried_at',
    ]),
  )
  if (row === undefined) throw new Error(`Discount change ${id} does not exist`)
  return row
}

/** True when Stripe's object has the values of an update. Stripe removes what is set to an empty text. */
export function showsChange(wanted: unknown, shown: unknown): boolean {
  if (wanted === '') return shown === undefined || shown === null || shown === ''
  if (typeof wanted !== 'object' || wanted === null) return wanted === shown
  if (typeof shown !== 'object' || shown === null) return false
  const values = new Map<string, unknown>(Object.entries(shown))
  return Object.entries(wanted).every(([name, value]) => showsChange(value, values.get(name)))
}

/** Marks an object as deleted in the mirror after Stripe deleted it. To be called within `afterWrite`. */
export async function mirrorDeletion<T extends StripeObject>(
  action: StripeSyncAction<T>,
  id: string,
  requestedAt: FetchTime,
): Promise<void> {
  await action.softDelete(id, requestedAt)
  const row = await findMirrorRow(action, id)
  if (row?.deleted_at === null) await callStripe(() => action.refresh(id))
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
