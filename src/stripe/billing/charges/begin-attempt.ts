import type { Tx } from '../../../db/connect.ts'
import { AppError } from '../../../shared/errors.ts'
import type { Charge, ChargeRef } from './charge.ts'
import {
  type AttemptParams,
  type ChargeAttempt,
  findAttempt,
  insertAttempt,
  isPayable,
  listAttempts,
  updateAttempt,
} from './charge-attempt.ts'
import { lockCharge, updateCharge } from './charge-store.ts'

/** A 409 that names the charge's state. */
export function wrongChargeState(action: string, { status }: Charge): AppError {
  return new AppError('wrong_state', `The charge is ${status}, which does not allow ${action}.`, {
    extra: { state: status },
  })
}

/** @throws AppError `wrong_state`, `payment_in_progress` */
export function assertUnpaid(action: string, charge: Charge): void {
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
export async function beginAttempt(
  trx: Tx,
  ref: ChargeRef,
  params: AttemptParams,
  actorId: string,
): Promise<number> {
  const charge = await lockCharge(trx, ref)
  assertUnpaid(params.kind === 'checkout' ? 'checkout' : 'charge', charge)
  const last = (await listAttempts(trx, ref)).at(-1)
  if (last !== undefined && isPayable(last)) {
    return isSame(last, params) ? last.attempt : last.attempt + 1
  }
  const next = (last?.attempt ?? 0) + 1
  await openNext(trx, ref, next, params, actorId)
  return next
}

function isSame(last: ChargeAttempt, params: AttemptParams): boolean {
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

async function openNext(
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
export async function replaceAttempt(
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
  await openNext(trx, ref, number, params, actorId)
  const next = await findAttempt(trx, ref, number)
  if (next === null) throw new Error(`Try ${number} of ${ref.chargeId} was not made`)
  return next
}
