import type Stripe from 'stripe'
import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { isRefundPending, type RefundSnapshot } from '../../payments/payment-snapshot.ts'
import { notFound } from '../../shared/errors.ts'
import { fromStripeAmount } from '../../shared/money.ts'
import { callStripe } from '../../stripe/stripe-errors.ts'
import {
  parseStripeObject,
  paymentIntentObject,
  refundObject,
  sessionObject,
} from '../../stripe/stripe-objects.ts'
import type { ChargeDeps } from '../billing-deps.ts'
import {
  type AttemptState,
  type ChargeAttempt,
  isOver,
  listAttempts,
  updateAttempt,
} from './charge-attempt-store.ts'
import { CHARGE_HOOKS, type ChargeHooks } from './charge-hooks.ts'
import {
  type Charge,
  type ChargeRef,
  type ChargeStatus,
  getCharge,
  lockCharge,
  updateCharge,
} from './charge-store.ts'

/**
 * Reads what Stripe says now of a charge and moves the charge there; never charges anything. As with
 * purchases a ticket is drawn first, so a slow reading cannot undo a newer one.
 *
 * @param hintedSession a Checkout Session that an event spoke of.
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 */
export async function reconcileCharge(
  deps: ChargeDeps,
  ref: ChargeRef,
  hintedSession: string | null = null,
): Promise<void> {
  const { ticket, attempts } = await withTenant(deps.db, ref, async (trx) => ({
    ticket: await drawTicket(trx, ref),
    attempts: await listAttempts(trx, ref),
  }))
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  const facts = await fetchAttempts(stripe, ref, attempts, hintedSession)
  await withTenant(deps.db, ref, async (trx) => {
    const charge = await lockCharge(trx, ref)
    if (charge.appliedTicket > ticket) return
    await applyChargeSnapshot(trx, charge, facts, [...CHARGE_HOOKS, ...(deps.chargeHooks ?? [])])
    await trx('charges')
      .where({ conference_id: ref.conferenceId, id: ref.chargeId })
      .update({ applied_ticket: ticket, reconciled_at: trx.fn.now() })
  })
}

async function drawTicket(trx: Tx, ref: ChargeRef): Promise<number> {
  const [row] = await trx('charges')
    .where({ conference_id: ref.conferenceId, id: ref.chargeId })
    .increment('reconcile_ticket', 1)
    .returning<{ reconcile_ticket: number }[]>('reconcile_ticket')
  if (row === undefined) throw notFound('charge')
  return row.reconcile_ticket
}

/** What Stripe says now of one try. Amounts in our minor units. */
type AttemptSnapshot = {
  attempt: number
  /** Of a Checkout link. */
  session: {
    id: string
    status: 'open' | 'complete' | 'expired'
    paid: boolean
    url: string | null
    expiresAt: Date
  } | null
  intent: {
    id: string
    status: string
    received: number
    decline: { code: string; message: string } | null
  } | null
  refunds: { id: string; status: RefundSnapshot['status']; amount: number }[]
}

/**
 * Reads what Stripe says of a charge's tries: sessions, intents and the listed refunds themselves.
 *
 * @param hintedSession a session that an event spoke of, for a try whose answer we never got.
 * @throws AppError `stripe_…`
 */
async function fetchAttempts(
  stripe: Stripe,
  ref: ChargeRef,
  attempts: readonly ChargeAttempt[],
  hintedSession: string | null,
): Promise<AttemptSnapshot[]> {
  const facts: AttemptSnapshot[] = []
  for (const attempt of attempts.filter((one) => !isOver(one))) {
    const wanted = attempt.params.kind === 'checkout' ? (attempt.sessionId ?? hintedSession) : null
    const found = wanted === null ? null : await fetchSession(stripe, ref, attempt.attempt, wanted)
    const intent = found?.intent ?? attempt.paymentIntentId
    facts.push({
      attempt: attempt.attempt,
      session: found?.session ?? null,
      ...(intent === null ? { intent: null, refunds: [] } : await fetchPayment(stripe, intent)),
    })
  }
  return facts
}

async function fetchSession(stripe: Stripe, ref: ChargeRef, attempt: number, id: string) {
  const answer = await callStripe(() => stripe.checkout.sessions.retrieve(id))
  const session = parseStripeObject(sessionObject, answer, 'checkout session')
  const { metadata } = session
  const isOurs =
    metadata['charge_id'] === ref.chargeId &&
    metadata['conference_id'] === ref.conferenceId &&
    metadata['attempt'] === String(attempt)
  if (!isOurs) return null
  return {
    intent: session.payment_intent,
    session: {
      id,
      status: session.status,
      paid: session.payment_status !== 'unpaid',
      url: session.url,
      expiresAt: new Date(session.expires_at * 1000),
    },
  }
}

async function fetchPayment(stripe: Stripe, id: string) {
  const answer = await callStripe(() => stripe.paymentIntents.retrieve(id))
  const intent = parseStripeObject(paymentIntentObject, answer, 'payment intent')
  return {
    intent: {
      id,
      status: intent.status,
      received: fromStripeAmount(intent.amount_received, intent.currency),
      decline: declineOf(intent.last_payment_error),
    },
    refunds: intent.amount_received === 0 ? [] : await fetchRefunds(stripe, id),
  }
}

function declineOf(
  error: { code: string | null; decline_code: string | null; message: string | null } | null,
) {
  if (error === null) return null
  // Banks word the decline differently; what it asks for is the payer.
  const isForPayer = error.code === 'authentication_required'
  const code = (isForPayer ? error.code : error.decline_code) ?? error.code ?? 'payment_failed'
  return { code, message: error.message ?? 'The payment failed.' }
}

async function fetchRefunds(stripe: Stripe, paymentIntent: string) {
  const refunds = await callStripe(() =>
    stripe.refunds
      .list({ payment_intent: paymentIntent, limit: 100 })
      .autoPagingToArray({ limit: 10_000 }),
  )
  return refunds.map((answer) => {
    const { id, status, amount, currency } = parseStripeObject(refundObject, answer, 'refund')
    return { id, status, amount: fromStripeAmount(amount, currency) }
  })
}

/** The bank wants the payer there: no card that is charged without one can be more than declined. */
export const AUTHENTICATION_REQUIRED = 'authentication_required'

const DECLINED_WITHOUT_REASON = { code: 'payment_failed', message: 'The payment failed.' }

/**
 * Moves a charge and its tries to what a reading found, and calls the hooks for what became true.
 * Runs under the charge's lock; the same reading again changes nothing.
 *
 * @param charge the locked charge, as it was.
 */
export async function applyChargeSnapshot(
  trx: Tx,
  charge: Charge,
  facts: readonly AttemptSnapshot[],
  hooks: readonly ChargeHooks[],
): Promise<void> {
  const ref = { conferenceId: charge.conferenceId, chargeId: charge.id }
  const before = await listAttempts(trx, ref)
  for (const fact of facts) await saveAttempt(trx, ref, before, fact)
  await saveRefunds(trx, ref, facts)
  const attempts = await listAttempts(trx, ref)
  await saveAmounts(trx, ref, charge, attempts, facts)
  await runHooks(trx, charge, before, attempts, hooks)
}

async function saveAttempt(
  trx: Tx,
  ref: ChargeRef,
  before: readonly ChargeAttempt[],
  fact: AttemptSnapshot,
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
  intent: AttemptSnapshot['intent'],
) {
  // One that was closed because somebody changed his mind is no decline.
  const isDecline = state === 'declined' || (state === 'canceled' && params.kind === 'checkout')
  if (!isDecline || told !== null) return null
  if (intent?.status === 'requires_action') {
    return { code: AUTHENTICATION_REQUIRED, message: 'The bank asks for the payer.' }
  }
  return intent?.decline ?? DECLINED_WITHOUT_REASON
}

function stateOf(known: ChargeAttempt, { session, intent }: AttemptSnapshot): AttemptState {
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

async function saveAmounts(
  trx: Tx,
  ref: ChargeRef,
  charge: Charge,
  attempts: readonly ChargeAttempt[],
  facts: readonly AttemptSnapshot[],
): Promise<void> {
  const paid = attempts.find(({ state }) => state === 'succeeded')
  const received = facts.reduce((sum, { intent }) => sum + (intent?.received ?? 0), 0)
  const { succeeded, underWay } = await refundSums(trx, ref, isRefundPending)
  const asked = await sumOfUnlistedRequests(trx, ref)
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
export async function updateChargeStatus(trx: Tx, charge: Charge): Promise<void> {
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
  return statusAfterAttempts(attempts)
}

/** By the newest try that came to an end, or to a link. */
function statusAfterAttempts(attempts: readonly ChargeAttempt[]): ChargeStatus {
  const last = attempts.findLast(({ state }) => state !== 'refused')
  if (last === undefined) return 'open'
  if (last.state === 'open' || last.state === 'expired') return 'requires_action'
  const { failure } = last
  if (failure === null) return 'open'
  return failure.code === AUTHENTICATION_REQUIRED ? 'requires_action' : 'declined'
}

async function runHooks(
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

const refundsOf = ({ conferenceId, chargeId }: ChargeRef) => ({
  conference_id: conferenceId,
  charge_id: chargeId,
})

/** Writes down which refunds Stripe listed, over what it listed before. */
async function saveRefunds(
  trx: Tx,
  ref: ChargeRef,
  facts: readonly AttemptSnapshot[],
): Promise<void> {
  const rows = facts.flatMap(({ intent, refunds }) =>
    intent === null
      ? []
      : refunds.map(({ id, status, amount }) => ({
          ...refundsOf(ref),
          id,
          payment_intent_id: intent.id,
          status,
          amount,
          updated_at: trx.fn.now(),
        })),
  )
  if (rows.length === 0) return
  await trx('charge_refunds')
    .insert(rows)
    .onConflict(['conference_id', 'id'])
    .merge(['status', 'amount', 'updated_at'])
}

/** What went back, and what is on its way. Minor units. */
async function refundSums(
  trx: Tx,
  ref: ChargeRef,
  isUnderWay: (status: RefundSnapshot['status']) => boolean,
): Promise<{ succeeded: number; underWay: number }> {
  const rows = await trx('charge_refunds')
    .where(refundsOf(ref))
    .select<{ status: RefundSnapshot['status']; amount: number }[]>('status', 'amount')
  const sum = (matches: (status: RefundSnapshot['status']) => boolean) =>
    rows.filter(({ status }) => matches(status)).reduce((total, { amount }) => total + amount, 0)
  return { succeeded: sum((status) => status === 'succeeded'), underWay: sum(isUnderWay) }
}

/** What was asked for and that Stripe has not listed yet: it counts as gone. Minor units. */
async function sumOfUnlistedRequests(trx: Tx, ref: ChargeRef): Promise<number> {
  const { rows } = await trx.raw<{ rows: { sum: number | null }[] }>(
    `select sum(r.amount) as sum from charge_refund_requests r
      where r.conference_id = ? and r.charge_id = ? and r.state <> 'refused' and not exists (
        select from charge_refunds p
         where p.conference_id = r.conference_id and p.id = r.refund_id)`,
    [ref.conferenceId, ref.chargeId],
  )
  return rows[0]?.sum ?? 0
}
