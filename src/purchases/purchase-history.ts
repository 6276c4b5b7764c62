import type { z } from 'zod'
import { type NamedActor, namedActorOf, nameInHistory } from '../access/actor-names.ts'
import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import type { SavePart } from '../payments/save-records.ts'
import type { Actor } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import { toTimestamp } from '../shared/time.ts'
import type { Transition } from './plan-purchase.ts'
import type { PurchaseRef } from './purchase-aggregate.ts'
import type { transitionSchema } from './purchase-history-schemas.ts'
import { FLAG_OF_EVENT, type PurchaseEvent, type PurchaseStatus } from './purchase-machine.ts'

/** Why something happened: the event, request or timer that caused it, and who is responsible. */
export type Cause = {
  actor: Actor
  cause: string
  /** What staff wrote about their decision. Sponsors do not see it. */
  note?: string | null
}

/** The reason of a transition and its amount. */
type Details = { code: string | null; amount: number | null }

/**
 * The reason of an event: the code of the failure, that of the flag that it raises or that staff resolved by it,
 * or the reason that Stripe has for a refund or a dispute. The amount is in minor units of the purchase's currency;
 * null for money in another currency.
 */
function detailsOf({ event, purchase }: Transition): Details {
  const isOwn = 'currency' in event && event.currency === purchase.currency
  return { code: codeOf(event), amount: isOwn ? (event.amount ?? null) : null }
}

function codeOf(event: PurchaseEvent): string | null {
  if ('failure' in event) return event.failure.code
  switch (event.type) {
    case 'CHECKOUT_EXPIRED':
      return 'checkout_expired'
    case 'CANCELLED':
      return 'cancelled'
    case 'PAYMENT_SUCCEEDED':
      return event.accepted ? FLAG_OF_EVENT.PAYMENT_MISMATCHED : null
    case 'REINSTATED':
      return FLAG_OF_EVENT.REFUND_FAILED
    default:
      if ('flag' in event) return FLAG_OF_EVENT[event.type]
      return 'reason' in event ? (event.reason ?? null) : null
  }
}

/** The history is append-only: the table's privileges allow only inserts. */
export function transitionsPart(
  transitions: readonly Transition[],
  { actor, cause, note = null }: Cause,
): SavePart {
  const rows = transitions.map((transition) => ({
    from_status: transition.from,
    to_status: transition.to,
    event: transition.event.type,
    ...detailsOf(transition),
    note,
    cause,
    actor_kind: actor.kind,
    actor_id: actor.id,
  }))
  const columns = 'from_status, to_status, event, code, amount, note, cause, actor_kind, actor_id'
  return {
    name: 'saved_transitions',
    rows: null,
    sql: `saved_transitions as (
      insert into purchase_transitions (conference_id, purchase_id, ${columns})
      select cast(:conference as text), cast(:owner as text), ${columns}
      from json_to_recordset(:saved_transitions) as t (from_status text, to_status text, event text,
        code text, amount bigint, note text, cause text, actor_kind text, actor_id text))`,
    bindings: { saved_transitions: JSON.stringify(rows) },
  }
}

const COLUMNS = [
  'id',
  'from_status',
  'to_status',
  'event',
  'code',
  'amount',
  'note',
  'cause',
  'actor_kind',
  'actor_id',
  'created_at',
] as const

type TransitionRow = Details & {
  id: number
  from_status: PurchaseStatus
  to_status: PurchaseStatus
  event: string
  note: string | null
  cause: string
  actor_kind: Actor['kind']
  actor_id: string
  actor: NamedActor | null
  created_at: Date
}

/** A note of staff is no event of the machine, but it is part of the history. */
const NOTE_ADDED = 'NOTE_ADDED'

const transitionsOf = (trx: Tx, { conferenceId, purchaseId }: PurchaseRef) =>
  trx('purchase_transitions')
    .where({ conference_id: conferenceId, purchase_id: purchaseId })
    .select(...COLUMNS, trx.raw(`${namedActorOf('purchase_transitions.actor_id')} as actor`))

/** The transitions of a purchase, newest first. A sponsor does not see the notes of staff. */
export function listTransitions(
  trx: Tx,
  ref: PurchaseRef,
  page: PageQuery,
  isSponsor: boolean,
): Promise<Page<TransitionRow>> {
  const query = transitionsOf(trx, ref)
  if (isSponsor) void query.whereNot({ event: NOTE_ADDED })
  return fetchPage(query, page)
}

/** Adds a note of staff to the history. @throws AppError `not_found`. */
export async function insertNote(
  trx: Tx,
  ref: PurchaseRef,
  actor: Actor,
  note: string,
): Promise<TransitionRow> {
  const { rows } = await trx.raw<{ rows: { id: number }[] }>(
    `insert into purchase_transitions (conference_id, purchase_id, from_status, to_status, event, note,
       cause, actor_kind, actor_id)
     select p.conference_id, p.id, p.status, p.status, :event, :note, 'note', :kind, :actor
     from bulk_purchases p where p.conference_id = :conference and p.id = :purchase
     returning id`,
    {
      conference: ref.conferenceId,
      purchase: ref.purchaseId,
      event: NOTE_ADDED,
      note,
      kind: actor.kind,
      actor: actor.id,
    },
  )
  const [inserted] = rows
  if (inserted === undefined) throw notFound('purchase')
  return (await transitionsOf(trx, ref).where({ id: inserted.id }).first()) as TransitionRow
}

export type TransitionBody = z.infer<typeof transitionSchema>

/** A transition as the API and the CLI show it. */
export function toTransitionBody(row: TransitionRow, isSponsor: boolean): TransitionBody {
  return {
    id: String(row.id),
    object: 'purchase_transition',
    from: row.from_status,
    to: row.to_status,
    event: row.event,
    code: row.code,
    amount: row.amount,
    note: isSponsor ? null : row.note,
    cause: row.cause,
    actor: {
      kind: row.actor_kind,
      id: row.actor_id,
      name: nameInHistory(row.actor_kind, row.actor, isSponsor),
    },
    created_at: toTimestamp(row.created_at),
  }
}
