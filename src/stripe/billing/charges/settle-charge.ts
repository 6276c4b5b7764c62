import type { Tx } from '../../../db/connect.ts'
import { isRefundUnderWay } from '../../../purchases/payment-facts.ts'
import type { Charge, ChargeRef, ChargeStatus } from './charge.ts'
import {
  type AttemptState,
  type ChargeAttempt,
  isOver,
  listAttempts,
  updateAttempt,
} from './charge-attempt.ts'
import type { AttemptFact } from './charge-facts.ts'
import type { ChargeHooks } from './charge-hooks.ts'
import { askedFor, refundSums, saveRefunds } from './charge-refunds.ts'
import { getCharge, updateCharge } from './charge-store.ts'

/** The bank wants the payer there: no card that is charged without one can be more than declined. */
export const NEEDS_PAYER = 'authentication_required'

const DECLINED_WITHOUT_WORDS = { code: 'payment_failed', message: 'The payment failed.' }

/**
 * Moves a charge and its tries to what a reading found, and calls the hooks for what became true.
 * Runs under the charge's lock; the same reading again changes nothing.
 *
 * @param charge the locked charge, as it was.
 */
export async function settleCharge(
  trx: Tx,
  charge: Charge,
  facts: readonly AttemptFact[],
  hooks: readonly ChargeHooks[],
): Promise<void> {
  const ref = { conferenceId: charge.conferenceId, chargeId: charge.id }
  const before = await listAttempts(trx, ref)
  for (const fact of facts) await saveAttempt(trx, ref, before, fact)
  await saveRefunds(trx, ref, facts)
  const attempts = await listAttempts(trx, ref)
  await saveSums(trx, ref, charge, attempts, facts)
  await tellHooks(trx, charge, before, attempts, hooks)
}

async function saveAttempt(
  trx: Tx,
  ref: ChargeRef,
  before: readonly ChargeAttempt[],
  fact: AttemptFact,
): Promise<void> {
  const known = before.find(({ attempt }) => attempt === fact.attempt)
  if (known === undefined) return
  const { session, intent } = fact
  const state = stateOf(known, fact)
  // Closed by us after this reading began: only money undoes that.
  if (isOver(known) && state !== 'succeeded' && state !== 'processing') return
  const failure = failureOf(known, state, intent)
  await updateAttempt(trx, ref, fact.attempt, {
    state,
    ...(session === null
      ? {}
      : { session_id: session.id, url: session.url ?? known.url, expires_at: session.expiresAt }),
    ...(intent === null ? {} : { payment_intent_id: intent.id }),
    ...(failure === null ? {} : { failure_code: failure.code, failure_message: failure.message }),
  })
}

function failureOf(
  { params, failure: told }: ChargeAttempt,
  state: AttemptState,
  intent: AttemptFact['intent'],
) {
  // One that was closed because somebody changed his mind is no decline.
  const isDecline = state === 'declined' || (state === 'canceled' && params.kind === 'checkout')
  if (!isDecline || told !== null) return null
  if (intent?.status === 'requires_action') {
    return { code: NEEDS_PAYER, message: 'The bank asks for the payer.' }
  }
  return intent?.decline ?? DECLINED_WITHOUT_WORDS
}

function stateOf(known: ChargeAttempt, { session, intent }: AttemptFact): AttemptState {
  if (intent?.status === 'succeeded') return 'succeeded'
  if (known.params.kind === 'checkout') {
    if (session === null) return known.state
    if (session.status !== 'complete') return session.status
    if (session.paid) return 'succeeded'
    // A bank debit by the link that did not arrive: the session is over, so nobody can pay it.
    const neverCame = intent?.status === 'requires_payment_method' || intent?.status === 'canceled'
    return neverCame ? 'canceled' : 'processing'
  }
  switch (intent?.status) {
    case 'processing':
      return 'processing'
    case 'canceled':
      return 'canceled'
    case 'requires_payment_method':
    case 'requires_action':
      return 'declined'
    default:
      return known.state
  }
}

async function saveSums(
  trx: Tx,
  ref: ChargeRef,
  charge: Charge,
  attempts: readonly ChargeAttempt[],
  facts: readonly AttemptFact[],
): Promise<void> {
  const paid = attempts.find(({ state }) => state === 'succeeded')
  const received = facts.reduce((sum, { intent }) => sum + (intent?.received ?? 0), 0)
  const { succeeded, underWay } = await refundSums(trx, ref, isRefundUnderWay)
  const asked = await askedFor(trx, ref)
  await updateCharge(trx, ref, {
    ...statusColumns(charge, attempts, received > 0 && succeeded >= received),
    amount_received: received,
    amount_refunded: Math.min(succeeded, received),
    // A refund from Stripe's dashboard may have taken what somebody asked for here: Stripe refuses that.
    amount_refunding: Math.max(0, Math.min(underWay + asked, received - succeeded)),
    payment_intent_id: paid?.paymentIntentId ?? null,
    ...(paid !== undefined && charge.succeededAt === null ? { succeeded_at: new Date() } : {}),
  })
}

/** Works a charge's status out anew, after its tries have changed by our own doing. */
export async function restateCharge(trx: Tx, charge: Charge): Promise<void> {
  const ref = { conferenceId: charge.conferenceId, chargeId: charge.id }
  const isPaidBack = charge.amountReceived > 0 && charge.amountRefunded >= charge.amountReceived
  await updateCharge(trx, ref, statusColumns(charge, await listAttempts(trx, ref), isPaidBack))
}

function statusColumns(charge: Charge, attempts: readonly ChargeAttempt[], isPaidBack: boolean) {
  const status = statusOf(charge, attempts, isPaidBack)
  const last = attempts.findLast(({ failure }) => failure !== null)
  const failure = status === 'declined' || status === 'requires_action' ? last?.failure : null
  return {
    status,
    failure_code: failure?.code ?? null,
    failure_message: failure?.message ?? null,
  }
}

function statusOf(
  charge: Charge,
  attempts: readonly ChargeAttempt[],
  isPaidBack: boolean,
): ChargeStatus {
  const has = (...states: AttemptState[]) => attempts.some(({ state }) => states.includes(state))
  if (has('succeeded')) return isPaidBack ? 'refunded' : 'succeeded'
  if (has('processing')) return 'processing'
  if (charge.status === 'canceled') return 'canceled'
  return afterTries(attempts)
}

/** By the newest try that came to an end, or to a link. */
function afterTries(attempts: readonly ChargeAttempt[]): ChargeStatus {
  const last = attempts.findLast(({ state }) => state !== 'refused')
  if (last === undefined) return 'open'
  if (last.state === 'open' || last.state === 'expired') return 'requires_action'
  const { failure } = last
  if (failure === null) return 'open'
  return failure.code === NEEDS_PAYER ? 'requires_action' : 'declined'
}

async function tellHooks(
  trx: Tx,
  before: Charge,
  attemptsBefore: readonly ChargeAttempt[],
  attempts: readonly ChargeAttempt[],
  hooks: readonly ChargeHooks[],
): Promise<void> {
  if (hooks.length === 0) return
  const charge = await getCharge(trx, { conferenceId: before.conferenceId, chargeId: before.id })
  const wasPaid = before.succeededAt !== null
  const refunded = charge.amountRefunded - before.amountRefunded
  for (const hook of hooks) {
    for (const { attempt, state, failure } of attempts) {
      const known = attemptsBefore.find((one) => one.attempt === attempt)
      const isNews = failure !== null && (known?.failure ?? null) === null && state !== 'refused'
      if (isNews) await hook.chargeDeclined?.(trx, { charge, attempt, failure })
    }
    if (!wasPaid && charge.succeededAt !== null) await hook.chargeSucceeded?.(trx, { charge })
    if (refunded > 0) await hook.chargeRefunded?.(trx, { charge, amount: refunded })
  }
}
