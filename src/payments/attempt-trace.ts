import type { Db } from '../db/connect.ts'
import { tenantStatement } from '../db/tenant-scope.ts'
import type { AttemptState } from './attempt-machine.ts'

/** The trace in which an attempt was opened. */
export type AttemptTrace = {
  traceparent: string
  /** Whether the payment is still awaited: its event belongs to the same trace. */
  isAwaited: boolean
}

type Row = { traceparent: string; state: AttemptState }

const AWAITED: readonly AttemptState[] = ['creating', 'open', 'processing']

/**
 * The trace of the attempt that a Stripe event is about: the one with its session or payment, else the last one of
 * the purchase. Null if no attempt was traced.
 */
export async function findAttemptTrace(
  db: Db,
  about: {
    conferenceId: string
    purchaseId: string | null
    objectId: string | null
    paymentIntentId: string | null
  },
): Promise<AttemptTrace | null> {
  const [row] = await tenantStatement<Row>(
    db,
    about,
    (bind) => `
    select traceparent, state from payment_attempts
    where conference_id = ${bind(about.conferenceId)} and traceparent is not null
      and (session_id = ${bind(about.objectId)} or payment_intent_id = ${bind(about.paymentIntentId)}
        or owner_id = ${bind(about.purchaseId)})
    order by coalesce(session_id = ${bind(about.objectId)}
      or payment_intent_id = ${bind(about.paymentIntentId)}, false) desc, attempt desc
    limit 1`,
  )
  if (row === undefined) return null
  return { traceparent: row.traceparent, isAwaited: AWAITED.includes(row.state) }
}
