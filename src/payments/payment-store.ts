import type { Tx } from '../db/connect.ts'
import { PREPARED } from '../db/pipeline.ts'
import { currentTraceparent } from '../shared/work-context.ts'
import type { AttemptState } from './attempt-machine.ts'
import type {
  PaymentAttempt,
  PaymentOwner,
  PaymentRecords,
  RefundRequest,
} from './payment-records.ts'
import type { DisputeSnapshot, RefundSnapshot } from './payment-snapshot.ts'
import { type RecordedRow, recordedPaymentOf, toRecordedPayment } from './recorded-payments.ts'

/**
 * SQL for all payment records of one owner as one JSON value, so that a purchase or a charge is loaded in
 * one statement.
 *
 * @param owner - alias of a row with conference_id and id.
 */
export const paymentRecordsOf = (owner: string) => {
  const list = (table: string, order: string) =>
    `(select coalesce(json_agg(r order by ${order}), '[]') from ${table} r
      where r.conference_id = ${owner}.conference_id and r.owner_id = ${owner}.id)`
  return `json_build_object(
    'attempts', ${list('payment_attempts', 'r.attempt')},
    'payments', ${list('payments', 'r.attempt nulls last, r.seen_at, r.payment_intent_id')},
    'refunds', ${list('payment_refunds', 'r.seen_at, r.id')},
    'disputes', ${list('payment_disputes', 'r.seen_at, r.id')},
    'requests', ${list('refund_requests', 'r.created_at, r.id')},
    'recorded', ${recordedPaymentOf(owner)})`
}

type AttemptRow = Pick<
  PaymentAttempt,
  'kind' | 'params' | 'attempt' | 'state' | 'url' | 'confirms'
> & {
  session_id: string | null
  /** A text in the JSON of `paymentRecordsOf`. */
  expires_at: string | Date | null
  payment_intent_id: string | null
  payment_method: string | null
  decline: string | null
  failure_code: string | null
  failure_message: string | null
  created_at: string | Date
}

const ATTEMPT_COLUMNS = `kind params attempt state url confirms session_id expires_at
  payment_intent_id payment_method decline failure_code failure_message created_at`.split(/\s+/)

type PaymentRow = {
  payment_intent_id: string
  attempt: number | null
  status: string
  amount: number
  amount_received: number
  currency: string
  charged_at: string | null
}

type RefundRow = Pick<RefundSnapshot, 'id' | 'status' | 'amount' | 'currency' | 'reason'> & {
  payment_intent_id: string
  failure_reason: string | null
  refunded_at: string | null
}

type DisputeRow = Omit<DisputeSnapshot, 'paymentIntent'> & { payment_intent_id: string }

type RequestRow = Pick<RefundRequest, 'id' | 'amount' | 'reason' | 'state' | 'refusal'> & {
  payment_intent_id: string
  refund_id: string | null
  voucher_ids: number[]
}

/** The value of `paymentRecordsOf`. */
export type PaymentRecordsRow = {
  attempts: AttemptRow[]
  payments: PaymentRow[]
  refunds: RefundRow[]
  disputes: DisputeRow[]
  requests: RequestRow[]
  recorded: RecordedRow | null
}

export function toPaymentRecords(row: PaymentRecordsRow): PaymentRecords {
  return {
    attempts: row.attempts.map(toAttempt),
    payments: row.payments.map((payment) => ({
      paymentIntent: payment.payment_intent_id,
      attempt: payment.attempt,
      status: payment.status,
      amount: payment.amount,
      received: payment.amount_received,
      currency: payment.currency,
      chargedAt: dateOf(payment.charged_at),
    })),
    refunds: row.refunds.map((refund) => ({
      id: refund.id,
      paymentIntent: refund.payment_intent_id,
      status: refund.status,
      amount: refund.amount,
      currency: refund.currency,
      reason: refund.reason,
      failureReason: refund.failure_reason,
      refundedAt: dateOf(refund.refunded_at),
    })),
    disputes: row.disputes.map((dispute) => ({
      id: dispute.id,
      paymentIntent: dispute.payment_intent_id,
      status: dispute.status,
      amount: dispute.amount,
      currency: dispute.currency,
      reason: dispute.reason,
    })),
    requests: row.requests.map((request) => ({
      id: request.id,
      paymentIntent: request.payment_intent_id,
      amount: request.amount,
      reason: request.reason,
      state: request.state,
      refundId: request.refund_id,
      refusal: request.refusal,
      voucherIds: request.voucher_ids,
    })),
    recorded: row.recorded === null ? null : toRecordedPayment(row.recorded),
  }
}

const dateOf = (time: string | null) => (time === null ? null : new Date(time))

function toAttempt(row: AttemptRow): PaymentAttempt {
  const common = {
    attempt: row.attempt,
    state: row.state,
    sessionId: row.session_id,
    url: row.url,
    expiresAt: row.expires_at === null ? null : new Date(row.expires_at),
    paymentIntentId: row.payment_intent_id,
    paymentMethod: row.payment_method,
    confirms: row.confirms,
    decline: row.decline,
    failure:
      row.failure_code === null
        ? null
        : { code: row.failure_code, message: row.failure_message ?? '' },
    createdAt: new Date(row.created_at),
  }
  // The two kinds have different parameters, which only a discriminated object expresses.
  const attempt = { kind: row.kind, params: row.params, ...common }
  return attempt as PaymentAttempt
}

/** Inserts the next attempt, in state `creating`. A unique index allows one payable attempt at a time. */
export async function insertAttempt(
  trx: Tx,
  owner: PaymentOwner,
  attempt: Pick<PaymentAttempt, 'attempt' | 'kind' | 'params'> & { requestedBy: string },
): Promise<PaymentAttempt> {
  const [row] = await trx('payment_attempts')
    .options(PREPARED)
    .insert({
      conference_id: owner.conferenceId,
      [`${owner.kind}_id`]: owner.id,
      attempt: attempt.attempt,
      kind: attempt.kind,
      params: JSON.stringify(attempt.params),
      requested_by: attempt.requestedBy,
      traceparent: currentTraceparent(),
    })
    .returning<AttemptRow[]>(ATTEMPT_COLUMNS)
  if (row === undefined) throw new Error('The insert returned no row')
  return toAttempt(row)
}

/**
 * Notes something about an attempt that is no change of its state: the saved card that was chosen, a
 * confirm request that is about to be sent.
 *
 * @returns false if the attempt is in none of the states `from`: nothing was written.
 */
export async function noteOnAttempt(
  trx: Tx,
  owner: PaymentOwner,
  attempt: number,
  from: readonly AttemptState[],
  notes: { payment_method?: string; confirms?: number },
): Promise<boolean> {
  const written = await trx('payment_attempts')
    .where({ conference_id: owner.conferenceId, owner_id: owner.id, attempt })
    .whereIn('state', [...from])
    .update({ ...notes, updated_at: trx.fn.now() })
  return written === 1
}

/**
 * Stores the session of an attempt that is `creating`. Its state stays: only a snapshot says what state
 * the session is in.
 */
export async function storeSession(
  trx: Tx,
  owner: PaymentOwner,
  attempt: number,
  session: { sessionId: string; url: string | null; expiresAt: Date },
): Promise<void> {
  await trx('payment_attempts')
    .where({ conference_id: owner.conferenceId, owner_id: owner.id, attempt, state: 'creating' })
    .update({
      session_id: session.sessionId,
      url: session.url,
      expires_at: session.expiresAt,
      updated_at: trx.fn.now(),
    })
}

/** The owner of a Checkout session or a payment intent, by the attempts and payments, or null. */
export async function findPaymentOwner(
  trx: Tx,
  conferenceId: string,
  stripeIds: { sessions?: readonly string[]; paymentIntents?: readonly string[] },
): Promise<PaymentOwner | null> {
  const { rows } = await trx.raw<{
    rows: { purchase_id: string | null; charge_id: string | null }[]
  }>(
    `select purchase_id, charge_id from payment_attempts
     where conference_id = :conference
       and (session_id = any(:sessions) or payment_intent_id = any(:intents))
     union all
     select purchase_id, charge_id from payments
     where conference_id = :conference and payment_intent_id = any(:intents)
     limit 1`,
    {
      conference: conferenceId,
      sessions: [...(stripeIds.sessions ?? [])],
      intents: [...(stripeIds.paymentIntents ?? [])],
    },
  )
  const [row] = rows
  if (row === undefined) return null
  return row.purchase_id === null
    ? { conferenceId, kind: 'charge', id: row.charge_id ?? '' }
    : { conferenceId, kind: 'purchase', id: row.purchase_id }
}

/**
 * SQL for the purchase that owns the session or the payment of a Stripe event, or null. Each lookup
 * compares the conference, because the caller's statement may span all tenants.
 *
 * @param event - alias of a row with conference_id, object_id and payment_intent_id.
 */
export const purchaseIdOfPayment = (event: string) => `coalesce(
  (select a.purchase_id from payment_attempts a
    where a.conference_id = ${event}.conference_id and a.session_id = ${event}.object_id),
  (select p.purchase_id from payments p
    where p.conference_id = ${event}.conference_id
      and p.payment_intent_id = ${event}.payment_intent_id))`

/** The newest Checkout session or payment intent of the conference's purchases, or null. */
export async function findPaymentObject(trx: Tx, conferenceId: string): Promise<string | null> {
  const row = await trx('payment_attempts')
    .where({ conference_id: conferenceId })
    .whereNotNull('purchase_id')
    .whereRaw('coalesce(session_id, payment_intent_id) is not null')
    .orderBy('created_at', 'desc')
    .first<{ id: string } | undefined>(trx.raw('coalesce(session_id, payment_intent_id) as id'))
  return row?.id ?? null
}
