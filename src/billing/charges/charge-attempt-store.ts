import type { Tx } from '../../db/connect.ts'
import type { ReturnUrls } from '../../payments/payable.ts'
import type { ChargeRef } from './charge-store.ts'

/**
 * - `creating`: the payment intent or Checkout session may or may not exist at Stripe.
 * - `unconfirmed`: the intent's id is saved; nothing was charged.
 * - `confirming`: a request to charge the intent was sent; its outcome may be unknown.
 * - `processing`: a bank debit is in progress.
 * - `open`: the Checkout page can be paid.
 * - `declined`: the payment failed; becomes `canceled` when its intent is canceled at Stripe.
 * - `succeeded`, `canceled`, `expired`, `refused`: the attempt has ended.
 */
export type AttemptState =
  | 'creating'
  | 'unconfirmed'
  | 'confirming'
  | 'processing'
  | 'open'
  | 'declined'
  | 'succeeded'
  | 'canceled'
  | 'expired'
  | 'refused'

/** The states in the unique index `charge_attempts_one_payable`. */
const PAYABLE_STATES: readonly AttemptState[] = [
  'creating',
  'unconfirmed',
  'confirming',
  'processing',
  'open',
  'declined',
]

/** The caller's request. It never changes, so that a retry sends Stripe the same request. */
export type AttemptParams =
  | { kind: 'payment_intent'; paymentMethod: string | null }
  | { kind: 'checkout'; urls: ReturnUrls }

export type ChargeAttempt = {
  attempt: number
  state: AttemptState
  params: AttemptParams
  idempotencyKey: string
  confirms: number
  /** The card that is charged, from when it was chosen. */
  paymentMethod: string | null
  paymentIntentId: string | null
  sessionId: string | null
  url: string | null
  expiresAt: Date | null
  failure: { code: string; message: string } | null
}

type AttemptRow = {
  attempt: number
  state: AttemptState
  params: AttemptParams
  idempotency_key: string
  confirms: number
  payment_method: string | null
  payment_intent_id: string | null
  session_id: string | null
  url: string | null
  expires_at: Date | null
  failure_code: string | null
  failure_message: string | null
}

function toAttempt(row: AttemptRow): ChargeAttempt {
  return {
    attempt: row.attempt,
    state: row.state,
    params: row.params,
    idempotencyKey: row.idempotency_key,
    confirms: row.confirms,
    paymentMethod: row.payment_method,
    paymentIntentId: row.payment_intent_id,
    sessionId: row.session_id,
    url: row.url,
    expiresAt: row.expires_at,
    failure:
      row.failure_code === null
        ? null
        : { code: row.failure_code, message: row.failure_message ?? row.failure_code },
  }
}

const attemptsOf = ({ conferenceId, chargeId }: ChargeRef) => ({
  conference_id: conferenceId,
  charge_id: chargeId,
})

export function isPayable({ state }: ChargeAttempt): boolean {
  return PAYABLE_STATES.includes(state)
}

/** True when the attempt ended without a payment. */
export function isOver({ state }: ChargeAttempt): boolean {
  return state === 'canceled' || state === 'expired' || state === 'refused'
}

/** All attempts of the charge, oldest first. */
export async function listAttempts(trx: Tx, ref: ChargeRef): Promise<ChargeAttempt[]> {
  const rows = await trx('charge_attempts')
    .where(attemptsOf(ref))
    .orderBy('attempt')
    .select<AttemptRow[]>('*')
  return rows.map(toAttempt)
}

/** The newest attempt of each charge, by the charge's id. */
export async function latestAttempts(
  trx: Tx,
  conferenceId: string,
  chargeIds: readonly string[],
): Promise<Map<string, ChargeAttempt>> {
  const rows = await trx('charge_attempts')
    .where({ conference_id: conferenceId })
    .whereIn('charge_id', [...chargeIds])
    .distinctOn('charge_id')
    .orderBy([{ column: 'charge_id' }, { column: 'attempt', order: 'desc' }])
    .select<(AttemptRow & { charge_id: string })[]>('*')
  return new Map(rows.map((row) => [row.charge_id, toAttempt(row)]))
}

export async function findAttempt(
  trx: Tx,
  ref: ChargeRef,
  attempt: number,
): Promise<ChargeAttempt | null> {
  const row = await trx('charge_attempts')
    .where({ ...attemptsOf(ref), attempt })
    .first<AttemptRow | undefined>()
  return row === undefined ? null : toAttempt(row)
}

/** Inserts an attempt. The unique index allows one payable attempt per charge. */
export async function insertAttempt(
  trx: Tx,
  ref: ChargeRef,
  attempt: number,
  params: AttemptParams,
  requestedBy: string,
): Promise<void> {
  await trx('charge_attempts').insert({
    ...attemptsOf(ref),
    attempt,
    kind: params.kind,
    params: JSON.stringify(params),
    idempotency_key: `charge:${ref.chargeId}:${attempt}`,
    requested_by: requestedBy,
  })
}

type Changes = Partial<Omit<AttemptRow, 'attempt' | 'params' | 'idempotency_key'>>

/**
 * Updates an attempt if it is in one of the states `from`.
 *
 * @returns whether it was updated.
 */
export async function updateAttempt(
  trx: Tx,
  ref: ChargeRef,
  attempt: number,
  changes: Changes,
  from?: readonly AttemptState[],
): Promise<boolean> {
  const query = trx('charge_attempts').where({ ...attemptsOf(ref), attempt })
  if (from !== undefined) void query.whereIn('state', [...from])
  const written = await query.update({ ...changes, updated_at: trx.fn.now() })
  return written === 1
}

/** The charge that a payment intent or Checkout session of Stripe's belongs to, or null. */
export async function findChargeIdByStripeId(
  trx: Tx,
  conferenceId: string,
  id: string,
): Promise<string | null> {
  const row = await trx('charge_attempts')
    .where({ conference_id: conferenceId })
    .where((either) => void either.where({ payment_intent_id: id }).orWhere({ session_id: id }))
    .first<{ charge_id: string } | undefined>('charge_id')
  return row?.charge_id ?? null
}
