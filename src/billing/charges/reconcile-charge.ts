import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { isRefundPending, type RefundSnapshot } from '../../payments/payment-snapshot.ts'
import { notFound } from '../../shared/errors.ts'
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
import { type AttemptSnapshot, fetchAttempts } from './fetch-charge-snapshot.ts'

/** The failure code when the bank requires the payer to authenticate, which needs a Checkout page. */
export const AUTHENTICATION_REQUIRED = 'authentication_required'

/**
 * Fetches a charge's payments from Stripe and updates the charge; never charges anything. As with
 * purchases, a ticket is taken first, so that a stale snapshot cannot overwrite a newer one.
 *
 * @param hintedSession - a Checkout session that an event named.
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 */
export async function reconcileCharge(
  deps: ChargeDeps,
  ref: ChargeRef,
  hintedSession: string | null = null,
): Promise<void> {
  const { ticket, attempts } = await withTenant(deps.db, ref, async (trx) => ({
    ticket: await takeTicket(trx, ref),
    attempts: await listAttempts(trx, ref),
  }))
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  const snapshots = await fetchAttempts(stripe, ref, attempts, hintedSession)
  await withTenant(deps.db, ref, async (trx) => {
    const charge = await lockCharge(trx, ref)
    if (charge.appliedTicket > ticket) return
    const hooks = [...CHARGE_HOOKS, ...(deps.chargeHooks ?? [])]
    await applyChargeSnapshot(trx, charge, snapshots, hooks)
    await trx('charges')
      .where({ conference_id: ref.conferenceId, id: ref.chargeId })
      .update({ applied_ticket: ticket, reconciled_at: trx.fn.now() })
  })
}

async function takeTicket(trx: Tx, ref: ChargeRef): Promise<number> {
  const [row] = await trx('charges')
    .where({ conference_id: ref.conferenceId, id: ref.chargeId })
    .increment('reconcile_ticket', 1)
    .returning<{ reconcile_ticket: number }[]>('reconcile_ticket')
  if (row === undefined) throw notFound('charge')
  return row.reconcile_ticket
}

/**
 * Applies a snapshot to the locked charge and its attempts, and runs the hooks for what changed. The
 * same snapshot again is a no-op.
 */
export async function applyChargeSnapshot(
  trx: Tx,
  charge: Charge,
  snapshots: readonly AttemptSnapshot[],
  hooks: readonly ChargeHooks[],
): Promise<void> {
  const ref = { conferenceId: charge.conferenceId, chargeId: charge.id }
  const before = await listAttempts(trx, ref)
  for (const snapshot of snapshots) await saveAttempt(trx, ref, before, snapshot)
  await saveRefunds(trx, ref, snapshots)
  const attempts = await listAttempts(trx, ref)
  await saveAmounts(trx, ref, charge, attempts, snapshots)
  await runHooks(trx, charge, before, attempts, hooks)
}

async function saveAttempt(
  trx: Tx,
  ref: ChargeRef,
  before: readonly ChargeAttempt[],
  snapshot: AttemptSnapshot,
): Promise<void> {
  const saved = before.find(({ attempt }) => attempt === snapshot.attempt)
  if (saved === undefined) return
  const { session, intent } = snapshot
  const state = stateOf(saved, snapshot)
  // We closed it after this fetch began. Only a succeeded or processing payment may reopen it.
  if (isOver(saved) && state !== 'succeeded' && state !== 'processing') return
  const failure = failureOf(saved, state, intent)
  await updateAttempt(trx, ref, snapshot.attempt, {
    state,
    ...(session === null
      ? {}
      : { session_id: session.id, url: session.url ?? saved.url, expires_at: session.expiresAt }),
    ...(intent === null ? {} : { payment_intent_id: intent.id }),
    ...(failure === null ? {} : { failure_code: failure.code, failure_message: failure.message }),
  })
}

function stateOf(saved: ChargeAttempt, { session, intent }: AttemptSnapshot): AttemptState {
  if (intent?.status === 'succeeded') return 'succeeded'
  if (saved.params.kind === 'checkout') {
    if (session === null) return saved.state
    if (session.status !== 'complete') return session.status
    if (session.paid) return 'succeeded'
    // A bank debit that failed: the session is complete, so it cannot be paid again.
    const hasFailed = intent?.status === 'requires_payment_method' || intent?.status === 'canceled'
    return hasFailed ? 'canceled' : 'processing'
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
      return saved.state
  }
}

/** The failure to save with the attempt; null for none, or when one is saved already. */
function failureOf(
  { params, failure: saved }: ChargeAttempt,
  state: AttemptState,
  intent: AttemptSnapshot['intent'],
) {
  // A card attempt that staff canceled is no decline.
  const isDecline = state === 'declined' || (state === 'canceled' && params.kind === 'checkout')
  if (!isDecline || saved !== null) return null
  if (intent?.status === 'requires_action') {
    return {
      code: AUTHENTICATION_REQUIRED,
      message: 'The bank requires the cardholder to authenticate.',
    }
  }
  return intent?.decline ?? { code: 'payment_failed', message: 'The payment failed.' }
}

/** Saves the refunds that Stripe listed. */
async function saveRefunds(
  trx: Tx,
  ref: ChargeRef,
  snapshots: readonly AttemptSnapshot[],
): Promise<void> {
  const rows = snapshots.flatMap(({ intent, refunds }) =>
    intent === null
      ? []
      : refunds.map(({ id, status, amount }) => ({
          conference_id: ref.conferenceId,
          charge_id: ref.chargeId,
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

async function saveAmounts(
  trx: Tx,
  ref: ChargeRef,
  charge: Charge,
  attempts: readonly ChargeAttempt[],
  snapshots: readonly AttemptSnapshot[],
): Promise<void> {
  const paid = attempts.find(({ state }) => state === 'succeeded')
  const received = snapshots.reduce((sum, { intent }) => sum + (intent?.received ?? 0), 0)
  const { succeeded, pending } = await sumRefunds(trx, ref)
  const requested = await sumUnlistedRequests(trx, ref)
  await updateCharge(trx, ref, {
    ...statusColumns(charge, attempts, received > 0 && succeeded >= received),
    amount_received: received,
    amount_refunded: Math.min(succeeded, received),
    // A refund from Stripe's dashboard may have used up an amount requested here: Stripe refuses that.
    amount_refunding: Math.max(0, Math.min(pending + requested, received - succeeded)),
    payment_intent_id: paid?.paymentIntentId ?? null,
    ...(paid !== undefined && charge.succeededAt === null ? { succeeded_at: new Date() } : {}),
  })
}

/** Refunds that Stripe listed. Minor units. */
async function sumRefunds(
  trx: Tx,
  ref: ChargeRef,
): Promise<{ succeeded: number; pending: number }> {
  const rows = await trx('charge_refunds')
    .where({ conference_id: ref.conferenceId, charge_id: ref.chargeId })
    .select<{ status: RefundSnapshot['status']; amount: number }[]>('status', 'amount')
  const sum = (matches: (status: RefundSnapshot['status']) => boolean) =>
    rows.filter(({ status }) => matches(status)).reduce((total, { amount }) => total + amount, 0)
  return { succeeded: sum((status) => status === 'succeeded'), pending: sum(isRefundPending) }
}

/** Requested refunds that Stripe has not listed yet. They count as refunding. Minor units. */
async function sumUnlistedRequests(trx: Tx, ref: ChargeRef): Promise<number> {
  const { rows } = await trx.raw<{ rows: { sum: number | null }[] }>(
    `select sum(r.amount) as sum from charge_refund_requests r
      where r.conference_id = ? and r.charge_id = ? and r.state <> 'refused' and not exists (
        select from charge_refunds p
         where p.conference_id = r.conference_id and p.id = r.refund_id)`,
    [ref.conferenceId, ref.chargeId],
  )
  return rows[0]?.sum ?? 0
}

/** Recomputes the status of a locked charge after its attempts were changed without a snapshot. */
export async function updateChargeStatus(trx: Tx, charge: Charge): Promise<void> {
  const ref = { conferenceId: charge.conferenceId, chargeId: charge.id }
  const isRefunded = charge.amountReceived > 0 && charge.amountRefunded >= charge.amountReceived
  await updateCharge(trx, ref, statusColumns(charge, await listAttempts(trx, ref), isRefunded))
}

function statusColumns(charge: Charge, attempts: readonly ChargeAttempt[], isRefunded: boolean) {
  const status = statusOf(charge, attempts, isRefunded)
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
  isRefunded: boolean,
): ChargeStatus {
  const has = (...states: AttemptState[]) => attempts.some(({ state }) => states.includes(state))
  if (has('succeeded')) return isRefunded ? 'refunded' : 'succeeded'
  if (has('processing')) return 'processing'
  if (charge.status === 'canceled') return 'canceled'
  return statusAfterAttempts(attempts)
}

/** The status by the newest attempt that Stripe did not refuse. */
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
      const saved = attemptsBefore.find((one) => one.attempt === attempt)
      const isNew = failure !== null && (saved?.failure ?? null) === null && state !== 'refused'
      if (isNew) await hook.chargeDeclined?.(trx, { charge, attempt, failure })
    }
    if (!wasPaid && charge.succeededAt !== null) await hook.chargeSucceeded?.(trx, { charge })
    if (refunded > 0) await hook.chargeRefunded?.(trx, { charge, amount: refunded })
  }
}
