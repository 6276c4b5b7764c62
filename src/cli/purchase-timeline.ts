import type { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import { toTimestamp } from '../http/common-schemas.ts'
import type { PurchaseRef } from '../purchases/bulk-purchase.ts'
import { listTransitions, type TransitionRow } from '../purchases/purchase-history.ts'
import type { transitionSchema } from '../purchases/purchase-schemas.ts'

export type Transition = z.infer<typeof transitionSchema>

/** All that happened to a purchase, in the order in which it happened. */
export async function purchaseTimeline(trx: Tx, ref: PurchaseRef): Promise<Transition[]> {
  const rows: TransitionRow[] = []
  let cursor: string | undefined
  do {
    const page = await listTransitions(trx, ref, { limit: 100, cursor })
    rows.push(...page.data)
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined)
  return rows.reverse().map(toTransition)
}

function toTransition(row: TransitionRow): Transition {
  return {
    id: String(row.id),
    object: 'purchase_transition',
    from: row.from_status,
    to: row.to_status,
    event: row.event,
    cause: row.cause,
    actor: { kind: row.actor_kind, id: row.actor_id },
    created_at: toTimestamp(row.created_at),
  }
}
