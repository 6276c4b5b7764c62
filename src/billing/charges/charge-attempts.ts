import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { AppError } from '../../shared/errors.ts'
import { closeCheckout, closeIntent } from '../../stripe/payment-requests.ts'
import type { ChargeDeps } from '../billing-deps.ts'
import {
  type AttemptParams,
  type ChargeAttempt,
  findAttempt,
  insertAttempt,
  isPayable,
  listAttempts,
  updateAttempt,
} from './charge-attempt-store.ts'
import { openChargeCheckout } from './charge-checkout-session.ts'
import { type Charge, type ChargeRef, lockCharge, updateCharge } from './charge-store.ts'
import { reconcileCharge } from './reconcile-charge.ts'

/** A 409 with the charge's status. */
export function wrongChargeState(detail: string, { status }: Charge): AppError {
  return new AppError('wrong_state', detail, { extra: { state: status } })
}

/** @throws AppError `wrong_state`, `payment_in_progress` */
function assertUnpaid(charge: Charge, action: 'paid' | 'canceled'): void {
  if (charge.status === 'processing') {
    const detail = 'A bank payment is pending. Wait until it succeeds or fails.'
    throw new AppError('payment_in_progress', detail)
  }
  if (['succeeded', 'refunded', 'canceled'].includes(charge.status)) {
    const detail = `The charge cannot be ${action}: its status is ${charge.status}.`
    throw wrongChargeState(detail, charge)
  }
}

/**
 * First step of an attempt, in the request's transaction: decides which attempt the request belongs
 * to. Resumes an in-flight attempt for the same card or URLs, so that a retry never makes a second.
 *
 * @returns its number. The attempt may not exist yet: then the previous one must be closed at Stripe
 *   first.
 * @throws AppError `not_found`, `wrong_state`, `payment_in_progress`
 */
export async function startChargeAttempt(
  trx: Tx,
  ref: ChargeRef,
  params: AttemptParams,
  actorId: string,
): Promise<number> {
  const charge = await lockCharge(trx, ref)
  assertUnpaid(charge, 'paid')
  const last = (await listAttempts(trx, ref)).at(-1)
  if (last !== undefined && isPayable(last)) {
    return isSameRequest(last, params) ? last.attempt : last.attempt + 1
  }
  const next = (last?.attempt ?? 0) + 1
  await insertNextAttempt(trx, ref, next, params, actorId)
  return next
}

function isSameRequest(last: ChargeAttempt, params: AttemptParams): boolean {
  if (last.params.kind === 'checkout') {
    const isOpen = last.expiresAt === null || last.expiresAt > new Date()
    return (
      isOpen &&
      params.kind === 'checkout' &&
      last.params.urls.successUrl === params.urls.successUrl &&
      last.params.urls.cancelUrl === params.urls.cancelUrl
    )
  }
  return (
    params.kind === 'payment_intent' &&
    last.state !== 'declined' &&
    (params.paymentMethod === null || last.params.paymentMethod === params.paymentMethod)
  )
}

async function insertNextAttempt(
  trx: Tx,
  ref: ChargeRef,
  number: number,
  params: AttemptParams,
  actorId: string,
): Promise<void> {
  await insertAttempt(trx, ref, number, params, actorId)
  if (params.kind === 'payment_intent') {
    await updateCharge(trx, ref, { status: 'open', failure_code: null, failure_message: null })
  }
}

/**
 * Attempt `number`. Creates it when it does not exist, after closing the previous one at Stripe. An
 * attempt that Stripe refused is followed by the next one.
 *
 * @throws AppError `payment_in_progress`, `wrong_state`, `stripe_…`
 */
export async function obtainChargeAttempt(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
  params: AttemptParams,
  actorId: string,
): Promise<ChargeAttempt> {
  const existing = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  if (existing?.state === 'refused') {
    return obtainChargeAttempt(deps, ref, number + 1, params, actorId)
  }
  if (existing !== null) return existing
  await closeChargeAttempt(deps, ref, number - 1)
  return withTenant(deps.db, ref, (trx) => replaceChargeAttempt(trx, ref, number, params, actorId))
}

/**
 * Creates attempt `number` in place of the previous one, which is closed at Stripe. Returns the
 * attempt if a concurrent call has created it.
 *
 * @throws AppError `wrong_state` when the charge was paid in the meantime.
 */
async function replaceChargeAttempt(
  trx: Tx,
  ref: ChargeRef,
  number: number,
  params: AttemptParams,
  actorId: string,
): Promise<ChargeAttempt> {
  const charge = await lockCharge(trx, ref)
  const existing = await findAttempt(trx, ref, number)
  if (existing !== null) return existing
  assertUnpaid(charge, 'paid')
  const previous = await findAttempt(trx, ref, number - 1)
  if (previous !== null && isPayable(previous)) await saveClosed(trx, ref, previous)
  await insertNextAttempt(trx, ref, number, params, actorId)
  const created = await findAttempt(trx, ref, number)
  if (created === null) throw new Error(`Attempt ${number} of ${ref.chargeId} was not created`)
  return created
}

async function saveClosed(trx: Tx, ref: ChargeRef, { attempt, params }: ChargeAttempt) {
  const state = params.kind === 'checkout' ? 'expired' : 'canceled'
  await updateAttempt(trx, ref, attempt, { state })
}

/**
 * Makes sure that an attempt can no longer be paid at Stripe. Without a saved intent id it cannot be:
 * only an intent whose id is saved is ever confirmed. A Checkout attempt without a saved session is
 * opened with its own idempotency key first, to learn which session to expire.
 *
 * @throws AppError `payment_in_progress` when it was paid in the meantime; the charge is updated then.
 */
export async function closeChargeAttempt(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
): Promise<void> {
  const attempt = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  if (attempt === null || !isPayable(attempt)) return
  if (attempt.params.kind === 'payment_intent' && attempt.paymentIntentId === null) {
    // A concurrent request may save the intent's id right now; then there is an intent to cancel.
    if (await cancelWithoutIntent(deps, ref, number)) return
    return closeChargeAttempt(deps, ref, number)
  }
  if (await closeAtStripe(deps, ref, attempt)) return
  await reconcileCharge(deps, ref)
  const detail = 'A payment arrived in the meantime. Get the charge again to see its status.'
  throw new AppError('payment_in_progress', detail)
}

function cancelWithoutIntent(deps: ChargeDeps, ref: ChargeRef, number: number): Promise<boolean> {
  return withTenant(deps.db, ref, async (trx) => {
    await lockCharge(trx, ref)
    return updateAttempt(trx, ref, number, { state: 'canceled' }, ['creating'])
  })
}

/** @returns whether the attempt is closed; false when it is paid or processing. */
async function closeAtStripe(
  deps: ChargeDeps,
  ref: ChargeRef,
  attempt: ChargeAttempt,
): Promise<boolean> {
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  if (attempt.params.kind === 'payment_intent') {
    const { paymentIntentId } = attempt
    return paymentIntentId === null || (await closeIntent(stripe, paymentIntentId)) === 'canceled'
  }
  const opened = await openChargeCheckout(deps, ref, attempt)
  return (
    opened.kind === 'refused' ||
    (await closeCheckout(stripe, opened.session.sessionId)) === 'expired'
  )
}

/** First step of a cancellation. @throws AppError `wrong_state`, `payment_in_progress`, `not_found` */
export async function beginChargeCancel(trx: Tx, ref: ChargeRef): Promise<void> {
  const charge = await lockCharge(trx, ref)
  if (charge.status !== 'canceled') assertUnpaid(charge, 'canceled')
}

/**
 * Cancels an unpaid charge, after closing at Stripe what could still be paid.
 *
 * @throws AppError `payment_in_progress` when it was paid in the meantime, `stripe_…`
 */
export async function finishChargeCancel(deps: ChargeDeps, ref: ChargeRef): Promise<void> {
  const payable = await withTenant(deps.db, ref, async (trx) =>
    (await listAttempts(trx, ref)).find(isPayable),
  )
  if (payable !== undefined) await closeChargeAttempt(deps, ref, payable.attempt)
  await withTenant(deps.db, ref, async (trx) => {
    const charge = await lockCharge(trx, ref)
    if (charge.status === 'canceled') return
    assertUnpaid(charge, 'canceled')
    if (payable !== undefined) await saveClosed(trx, ref, payable)
    if ((await listAttempts(trx, ref)).some(isPayable)) {
      const detail =
        'Another request opened a payment attempt in the meantime. Get the charge again to see its status.'
      throw new AppError('payment_in_progress', detail)
    }
    await updateCharge(trx, ref, { status: 'canceled' })
  })
}
