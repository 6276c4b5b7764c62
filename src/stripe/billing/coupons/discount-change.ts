import type { Db, Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import type { Actor } from '../../../shared/actor.ts'
import { AppError } from '../../../shared/errors.ts'
import { newId } from '../../../shared/ids.ts'

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
export type Asker = { conferenceId: string; actor: Actor }

/**
 * Writes down what Stripe is about to be asked.
 *
 * @param change.id of `newChangeId`, where the request itself names it.
 * @returns the change's id.
 */
export async function beginChange(
  trx: Tx,
  { conferenceId, actor }: Asker,
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
export async function finishChange(
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
