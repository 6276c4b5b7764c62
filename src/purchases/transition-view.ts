import type { z } from 'zod'
import { toTimestamp } from '../http/common-schemas.ts'
import type { TransitionRow } from './purchase-history.ts'
import type { transitionSchema } from './purchase-schemas.ts'

export type TransitionBody = z.infer<typeof transitionSchema>

/** One step of a purchase's history as the API and the CLI show it. */
export function toTransitionBody(row: TransitionRow): TransitionBody {
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
