import type { Tx } from '../db/connect.ts'
import type { PurchaseRef } from '../purchases/bulk-purchase.ts'
import { listTransitions, type TransitionRow } from '../purchases/purchase-history.ts'
import { type TransitionBody, toTransitionBody } from '../purchases/transition-view.ts'

/** All that happened to a purchase, in the order in which it happened. */
export async function purchaseTimeline(trx: Tx, ref: PurchaseRef): Promise<TransitionBody[]> {
  const rows: TransitionRow[] = []
  let cursor: string | undefined
  do {
    const page = await listTransitions(trx, ref, { limit: 100, cursor })
    rows.push(...page.data)
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined)
  return rows.reverse().map(toTransitionBody)
}
