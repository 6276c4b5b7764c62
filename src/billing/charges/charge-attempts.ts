import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { AppError } from '../../shared/errors.ts'
import { closeIntent } from '../../stripe/off-session-intent.ts'
import { closeCheckout } from '../../stripe/stripe-checkout.ts'
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

/** A 409 that names the charge's state. */
export function wrongChargeState(action: string, { status }: Charge): AppError {
  return new AppError('wrong_state', `The charge is ${status}, which does not allow ${action}.`, {
    extra: { state: status },
  })
}

/** @throws AppError `wrong_state`, `payment_in_progress` */
function assertUnpaid(action: string, charge: Charge): void {
  if (charge.status === 'processing') {
    throw new AppError('payment_in_progress', 'A bank payment is under way; wait for its end.')
  }
  if (['succeeded', 'refunded', 'canceled'].includes(charge.status)) {
    throw wrongChargeState(action, charge)
  }
}

/**
 * First step of a try, in the request's transaction: decides which try this request is about. One
 * that is under way for the same is gone on with, so that a repeat never makes a second.
 *
 * @returns its number. It may be one that does not exist yet: then the one before it has to be
 *   closed at Stripe first.
 * @throws AppError `not_found`, `wrong_state`, `payment_in_progress`
 */
export async function startChargeAttempt(
  trx: Tx,
  ref: ChargeRef,
  params: AttemptParams,
  actorId: string,
): Promise<number> {
  const charge = await lockCharge(trx, ref)
  assertUnpaid(params.kind === 'checkout' ? 'checkout' : 'charge', charge)
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
    const isAlive = last.expiresAt === null || last.expiresAt > new Date()
    return (
      isAlive &&
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
 * Puts try `number` in the place of the one before, which is closed at Stripe. A parallel call may
 * have done so.
 *
 * @throws AppError `wrong_state` when the charge was paid meanwhile.
 */
async function replaceChargeAttempt(
  trx: Tx,
  ref: ChargeRef,
  number: number,
  params: AttemptParams,
  actorId: string,
): Promise<ChargeAttempt> {
  const charge = await lockCharge(trx, ref)
  const made = await findAttempt(trx, ref, number)
  if (made !== null) return made
  assertUnpaid('charge', charge)
  const previous = await findAttempt(trx, ref, number - 1)
  if (previous !== null && isPayable(previous)) {
    const state = previous.params.kind === 'checkout' ? 'expired' : 'canceled'
    await updateAttempt(trx, ref, previous.attempt, { state })
  }
  await insertNextAttempt(trx, ref, number, params, actorId)
  const next = await findAttempt(trx, ref, number)
  if (next === null) throw new Error(`Try ${number} of ${ref.chargeId} was not made`)
  return next
}

/**
 * Try `number`, made in the place of the one before when there is none yet. One that Stripe refused
 * before anything could be paid is followed by the next.
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
  const found = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  if (found?.state === 'refused') return obtainChargeAttempt(deps, ref, number + 1, params, actorId)
  if (found !== null) return found
  await closeChargeAttempt(deps, ref, number - 1)
  return withTenant(deps.db, ref, (trx) => replaceChargeAttempt(trx, ref, number, params, actorId))
}

/**
 * Makes sure at Stripe that a try can no longer be paid. An intent whose id was never noted can not:
 * only what is noted is ever confirmed. A link whose session is not known is opened under its own
 * key first, since only so do we learn what to close.
 *
 * @throws AppError `payment_in_progress` when it was paid meanwhile; the charge knows it then.
 */
export async function closeChargeAttempt(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
): Promise<void> {
  const attempt = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  if (attempt === null || !isPayable(attempt)) return
  if (attempt.params.kind === 'payment_intent' && attempt.paymentIntentId === null) {
    // Its id may be noted at this very moment; then there is an intent to close.
    if (await cancelWithoutIntent(deps, ref, number)) return
    return closeChargeAttempt(deps, ref, number)
  }
  if (await closeAtStripe(deps, ref, attempt)) return
  await reconcileCharge(deps, ref)
  throw new AppError('payment_in_progress', 'It was paid meanwhile; look at the charge again.')
}

function cancelWithoutIntent(deps: ChargeDeps, ref: ChargeRef, number: number): Promise<boolean> {
  return withTenant(deps.db, ref, async (trx) => {
    await lockCharge(trx, ref)
    return updateAttempt(trx, ref, number, { state: 'canceled' }, ['creating'])
  })
}

async function closeAtStripe(deps: ChargeDeps, ref: ChargeRef, attempt: ChargeAttempt) {
  const { stripe } = await deps.clients.connect(ref.conferenceId)
  if (attempt.params.kind === 'payment_intent') {
    const { paymentIntentId } = attempt
    return paymentIntentId === null || (await closeIntent(stripe, paymentIntentId)) === 'canceled'
  }
  const opened = await openChargeCheckout(deps, ref, attempt)
  return opened.kind === 'refused' || (await closeCheckout(stripe, opened.sessionId)) === 'expired'
}

/** Refuses early what cannot be given up any more. @throws AppError `wrong_state`, `not_found` */
export async function beginChargeCancel(trx: Tx, ref: ChargeRef): Promise<void> {
  const charge = await lockCharge(trx, ref)
  if (charge.status !== 'canceled') assertUnpaid('cancel', charge)
}

/**
 * Gives an unpaid charge up: whatever could still be paid is closed at Stripe first.
 *
 * @throws AppError `payment_in_progress` when it was paid meanwhile, `stripe_…`
 */
export async function finishChargeCancel(deps: ChargeDeps, ref: ChargeRef): Promise<void> {
  const payable = await withTenant(deps.db, ref, async (trx) =>
    (await listAttempts(trx, ref)).find(isPayable),
  )
  if (payable !== undefined) await closeChargeAttempt(deps, ref, payable.attempt)
  await withTenant(deps.db, ref, async (trx) => {
    const charge = await lockCharge(trx, ref)
    if (charge.status === 'canceled') return
    assertUnpaid('cancel', charge)
    if (payable !== undefined) {
      const state = payable.params.kind === 'checkout' ? 'expired' : 'canceled'
      await updateAttempt(trx, ref, payable.attempt, { state })
    }
    if ((await listAttempts(trx, ref)).some(isPayable)) {
      throw new AppError('payment_in_progress', 'Somebody began to charge it meanwhile.')
    }
    await updateCharge(trx, ref, { status: 'canceled' })
  })
}
