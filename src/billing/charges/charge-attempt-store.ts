import type { Tx } from '../../db/connect.ts'
import type { ReturnUrls } from '../../payments/return-urls.ts'
import type { ChargeRef } from './charge-store.ts'

/**
 * `creating`: Stripe may or may not know it yet. `unconfirmed`: the intent's id is noted and nothing
 * was charged. `confirming`: Stripe was asked to charge it and the outcome may not be known. `open`:
 * a Checkout link. The rest is over: `declined` once its intent is closed becomes `canceled`.
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

/** As the unique index `charge_attempts_one_payable` has them. */
const PAYABLE_STATES: readonly AttemptState[] = [
  'creating',
  'unconfirmed',
  'confirming',
  'processing',
  'open',
  'declined',
]

/** What the caller asked for, frozen: a repeat asks Stripe for the same. */
export type AttemptParams =
  | { kind: 'payment_intent'; paymentMethod: string | null }
  | { kind: 'checkout'; urls: ReturnUrls }

export type ChargeAttempt = {
  attempt: number
  state: AttemptState
  params: AttemptParams
  idempotencyKey: string
  confirms: number
  /** The card and its customer at Stripe, once they were looked up. */
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

/** Nothing can be paid by it any more, and nothing was. */
export function isOver({ state }: ChargeAttempt): boolean {
  return state === 'canceled' || state === 'expired' || state === 'refused'
}

/** Every try of the charge, oldest first. */
export async function listAttempts(trx: Tx, ref: ChargeRef): Promise<ChargeAttempt[]> {
  const rows = await trx('charge_attempts')
    .where(attemptsOf(ref))
    .orderBy('attempt')
    .select<AttemptRow[]>('*')
  return rows.map(toAttempt)
}

/** The newest try of each charge, by the charge's id. */
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

/** Inserts a try. The unique index refuses it while another one may still be paid. */
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
 * Changes a try, unless it has left the states that `from` names meanwhile.
 *
 * @returns whether it was changed.
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

/** The charge that a payment intent or a session of Stripe's is a try of, or null. */
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
