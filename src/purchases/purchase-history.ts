import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../http/pages.ts'
import type { Actor } from '../shared/actor.ts'
import type { PurchaseRef } from './bulk-purchase.ts'
import type { PurchaseStatus } from './purchase-machine.ts'

/** Why something happened: the event id, request or timer behind it, and who is responsible. */
export type Cause = { actor: Actor; cause: string }

export type TransitionRow = {
  id: number
  from_status: PurchaseStatus
  to_status: PurchaseStatus
  event: string
  cause: string
  actor_kind: Actor['kind']
  actor_id: string
  created_at: Date
}

/** Adds one line to the history. The table's privileges allow nothing else. */
export async function appendTransition(
  trx: Tx,
  ref: PurchaseRef,
  step: { from: PurchaseStatus; to: PurchaseStatus; event: string },
  { actor, cause }: Cause,
): Promise<void> {
  await trx('purchase_transitions').insert({
    conference_id: ref.conferenceId,
    purchase_id: ref.purchaseId,
    from_status: step.from,
    to_status: step.to,
    event: step.event,
    cause,
    actor_kind: actor.kind,
    actor_id: actor.id,
  })
}

/** The history of a purchase, newest first. */
export function listTransitions(
  trx: Tx,
  ref: PurchaseRef,
  page: PageQuery,
): Promise<Page<TransitionRow>> {
  const query = trx('purchase_transitions')
    .where({ conference_id: ref.conferenceId, purchase_id: ref.purchaseId })
    .select(
      'id',
      'from_status',
      'to_status',
      'event',
      'cause',
      'actor_kind',
      'actor_id',
      'created_at',
    )
  return fetchPage(query, page)
}
