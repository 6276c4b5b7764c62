import type { AttemptState } from './attempt-machine.ts'
import type {
  PaymentAttempt,
  PaymentOwner,
  RecordChanges,
  StoredPayment,
} from './payment-records.ts'
import type { DisputeSnapshot, RefundSnapshot } from './payment-snapshot.ts'

const attemptColumns = (from: AttemptState, to: PaymentAttempt) => ({
  attempt: to.attempt,
  from_state: from,
  state: to.state,
  session_id: to.sessionId,
  url: to.url,
  expires_at: to.expiresAt,
  payment_intent_id: to.paymentIntentId,
  decline: to.decline,
  failure_code: to.failure?.code ?? null,
  failure_message: to.failure?.message ?? null,
})

const paymentColumns = (payment: StoredPayment) => ({
  payment_intent_id: payment.paymentIntent,
  attempt: payment.attempt,
  status: payment.status,
  amount: payment.amount,
  amount_received: payment.received,
  currency: payment.currency,
  charged_at: payment.chargedAt,
})

const refundColumns = (refund: RefundSnapshot) => ({
  id: refund.id,
  payment_intent_id: refund.paymentIntent,
  status: refund.status,
  amount: refund.amount,
  currency: refund.currency,
  reason: refund.reason,
  failure_reason: refund.failureReason,
  refunded_at: refund.refundedAt,
})

const disputeColumns = (dispute: DisputeSnapshot) => ({
  id: dispute.id,
  payment_intent_id: dispute.paymentIntent,
  status: dispute.status,
  amount: dispute.amount,
  currency: dispute.currency,
  reason: dispute.reason,
})

/**
 * A part of the statement that saves a plan: a common table expression and its bindings. `rows`: how many
 * it must write; null: not counted.
 */
export type SavePart = {
  name: string
  sql: string
  rows: number | null
  bindings: Record<string, string>
}

/** SQL for the number of rows that the counted parts wrote, to compare with `expectedRows`. */
export function writtenRows(parts: readonly SavePart[]): string {
  const counted = parts.filter(({ rows }) => rows !== null)
  return ['0', ...counted.map(({ name }) => `(select count(*) from ${name})`)].join(' + ')
}

/**
 * How many rows the counted parts must write. Fewer means that an attempt is not in the state that the
 * plan was made from, or that an object at Stripe already belongs to another purchase or charge.
 */
export function expectedRows(parts: readonly SavePart[]): number {
  return parts.reduce((sum, { rows }) => sum + (rows ?? 0), 0)
}

/**
 * The parts that write record changes. Each write of an attempt names the state that the plan was made
 * from. All run in one statement, with those of the owner.
 */
export function saveRecordsParts(owner: PaymentOwner, changes: RecordChanges): SavePart[] {
  const parts: SavePart[] = []
  const add = (name: string, rows: object[], sql: string) => {
    if (rows.length === 0) return
    parts.push({
      name,
      sql: `${name} as (${sql} returning 1)`,
      rows: rows.length,
      bindings: { [name]: JSON.stringify(rows) },
    })
  }
  add(
    'saved_attempts',
    changes.attempts.map(({ from, to }) => attemptColumns(from, to)),
    `update payment_attempts a
     set state = c.state, session_id = c.session_id, url = c.url, expires_at = c.expires_at,
       payment_intent_id = c.payment_intent_id, decline = c.decline, failure_code = c.failure_code,
       failure_message = c.failure_message, updated_at = now()
     from json_to_recordset(:saved_attempts) as c (attempt int, from_state text, state text,
       session_id text, url text, expires_at timestamptz, payment_intent_id text, decline text,
       failure_code text, failure_message text)
     where a.conference_id = :conference and a.owner_id = :owner and a.attempt = c.attempt
       and a.state = c.from_state`,
  )
  const column = `${owner.kind}_id`
  const upsert = (table: string, [key, ...others]: [string, ...string[]], types: string) => {
    const columns = [key, ...others]
    const values = columns.map((name) => `c.${name}`).join(', ')
    const updates = columns.map((name) => `${name} = excluded.${name}`).join(', ')
    return `insert into ${table} (conference_id, ${column}, ${columns.join(', ')})
      select cast(:conference as text), cast(:owner as text), ${values}
      from json_to_recordset(:saved_${table}) as c (${types})
      on conflict (conference_id, ${key}) do update set ${updates}, updated_at = now()
      where ${table}.owner_id = :owner`
  }
  const money = 'status text, amount bigint, currency text'
  add(
    'saved_payments',
    changes.payments.map(paymentColumns),
    upsert(
      'payments',
      [
        'payment_intent_id',
        'attempt',
        'status',
        'amount',
        'amount_received',
        'currency',
        'charged_at',
      ],
      `payment_intent_id text, attempt int, amount_received bigint, charged_at timestamptz, ${money}`,
    ),
  )
  add(
    'saved_payment_refunds',
    changes.refunds.map(refundColumns),
    upsert(
      'payment_refunds',
      [
        'id',
        'payment_intent_id',
        'status',
        'amount',
        'currency',
        'reason',
        'failure_reason',
        'refunded_at',
      ],
      `id text, payment_intent_id text, reason text, failure_reason text, refunded_at timestamptz, ${money}`,
    ),
  )
  add(
    'saved_payment_disputes',
    changes.disputes.map(disputeColumns),
    upsert(
      'payment_disputes',
      ['id', 'payment_intent_id', 'status', 'amount', 'currency', 'reason'],
      `id text, payment_intent_id text, reason text, ${money}`,
    ),
  )
  return parts
}
