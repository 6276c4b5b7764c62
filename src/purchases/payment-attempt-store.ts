import type { Tx } from '../db/connect.ts'
import type { CardParams, CheckoutParams, PurchaseRef } from '../payments/payment-gateway.ts'

/**
 * `creating`: Stripe may or may not have created it. `open`: it can be paid. `complete`: the payer has
 * finished. `expired`: it can no longer be paid. `refused`: Stripe refused to create it.
 */
export type AttemptState = 'creating' | 'open' | 'complete' | 'expired' | 'refused'

/** The attempt's payment. `failed`: it was declined, or an asynchronous payment did not arrive. */
export type AttemptPayment = 'none' | 'pending' | 'paid' | 'failed'

/** `checkout`: Stripe's payment page. `payment_intent`: a saved card. */
type AttemptKind =
  | { kind: 'checkout'; params: CheckoutParams }
  | { kind: 'payment_intent'; params: CardParams }

export type PaymentAttempt = AttemptKind & {
  attempt: number
  state: AttemptState
  sessionId: string | null
  url: string | null
  expiresAt: Date | null
  paymentIntentId: string | null
  payment: AttemptPayment
  /** The last recorded decline, so that each is recorded once. */
  decline: string | null
  /** The saved card, once it was chosen. */
  paymentMethod: string | null
  /** How many confirm requests were sent to Stripe; part of their idempotency keys. */
  confirms: number
}

/** An attempt by Stripe's payment page. */
export type CheckoutSessionAttempt = Extract<PaymentAttempt, { kind: 'checkout' }>

type AttemptRow = AttemptKind & {
  attempt: number
  state: AttemptState
  session_id: string | null
  url: string | null
  expires_at: Date | null
  payment_intent_id: string | null
  payment: AttemptPayment
  decline: string | null
  payment_method: string | null
  confirms: number
}

const ATTEMPT_COLUMNS = [
  'attempt',
  'kind',
  'state',
  'params',
  'session_id',
  'url',
  'expires_at',
  'payment_intent_id',
  'payment',
  'decline',
  'payment_method',
  'confirms',
] as const

function toAttempt(row: AttemptRow): PaymentAttempt {
  const kind: AttemptKind =
    row.kind === 'checkout'
      ? { kind: row.kind, params: row.params }
      : { kind: row.kind, params: row.params }
  return {
    ...kind,
    attempt: row.attempt,
    state: row.state,
    sessionId: row.session_id,
    url: row.url,
    expiresAt: row.expires_at,
    paymentIntentId: row.payment_intent_id,
    payment: row.payment,
    decline: row.decline,
    paymentMethod: row.payment_method,
    confirms: row.confirms,
  }
}

const ofPurchase = (ref: PurchaseRef) => ({
  conference_id: ref.conferenceId,
  purchase_id: ref.purchaseId,
})

/** Every attempt of the purchase, oldest first. */
export async function listAttempts(trx: Tx, ref: PurchaseRef): Promise<PaymentAttempt[]> {
  const attempts = await attemptsOf(trx, ref.conferenceId, [ref.purchaseId])
  return attempts.get(ref.purchaseId) ?? []
}

/** The attempts of each purchase, oldest first. */
export async function attemptsOf(
  trx: Tx,
  conferenceId: string,
  purchaseIds: string[],
): Promise<Map<string, PaymentAttempt[]>> {
  const rows = await trx('checkout_attempts')
    .where({ conference_id: conferenceId })
    .whereIn('purchase_id', purchaseIds)
    .orderBy(['purchase_id', 'attempt'])
    .select<(AttemptRow & { purchase_id: string })[]>('purchase_id', ...ATTEMPT_COLUMNS)
  const byPurchase = new Map<string, PaymentAttempt[]>()
  for (const row of rows) {
    const list = byPurchase.get(row.purchase_id) ?? []
    list.push(toAttempt(row))
    byPurchase.set(row.purchase_id, list)
  }
  return byPurchase
}

export async function findAttempt(
  trx: Tx,
  ref: PurchaseRef,
  attempt: number,
): Promise<PaymentAttempt | null> {
  const row = await trx<AttemptRow>('checkout_attempts')
    .where({ ...ofPurchase(ref), attempt })
    .first([...ATTEMPT_COLUMNS])
  return row === undefined ? null : toAttempt(row)
}

/** Inserts the next attempt. A unique index allows one payable attempt at a time. */
export async function insertAttempt(
  trx: Tx,
  ref: PurchaseRef,
  attempt: number,
  params: CheckoutParams,
): Promise<void> {
  await trx('checkout_attempts').insert({
    ...ofPurchase(ref),
    attempt,
    params: JSON.stringify(params),
  })
}

/** The same for an attempt by a saved card. */
export async function insertCardAttempt(
  trx: Tx,
  ref: PurchaseRef,
  attempt: number,
  params: CardParams,
): Promise<void> {
  await trx('checkout_attempts').insert({
    ...ofPurchase(ref),
    attempt,
    kind: 'payment_intent',
    params: JSON.stringify(params),
  })
}

type AttemptUpdate = Partial<Omit<AttemptRow, 'attempt' | 'kind' | 'params'>> & {
  refusal?: string
}

export async function updateAttempt(
  trx: Tx,
  ref: PurchaseRef,
  attempt: number,
  changes: AttemptUpdate,
): Promise<void> {
  await trx('checkout_attempts')
    .where({ ...ofPurchase(ref), attempt })
    .update({ ...changes, updated_at: trx.fn.now() })
}

/** Marks an attempt as no longer payable; a complete or refused one stays so. */
export async function expireAttempt(trx: Tx, ref: PurchaseRef, attempt: number): Promise<void> {
  await trx('checkout_attempts')
    .where({ ...ofPurchase(ref), attempt })
    .whereIn('state', ['creating', 'open'])
    .update({ state: 'expired', updated_at: trx.fn.now() })
}

/** The attempt that can be paid, or null. A unique index allows only one. */
export async function findPayableAttempt(
  trx: Tx,
  ref: PurchaseRef,
): Promise<PaymentAttempt | null> {
  const row = await trx<AttemptRow>('checkout_attempts')
    .where(ofPurchase(ref))
    .whereIn('state', ['creating', 'open'])
    .first([...ATTEMPT_COLUMNS])
  return row === undefined ? null : toAttempt(row)
}

/** The purchase that a Checkout Session belongs to, or null. */
export async function findPurchaseIdBySession(
  trx: Tx,
  conferenceId: string,
  sessionId: string,
): Promise<string | null> {
  const row = await trx('checkout_attempts')
    .where({ conference_id: conferenceId, session_id: sessionId })
    .first<{ purchase_id: string } | undefined>('purchase_id')
  return row?.purchase_id ?? null
}
