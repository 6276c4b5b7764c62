import { withTenant } from '../../../db/tenant-scope.ts'
import { replaceAttempt } from './begin-attempt.ts'
import type { ChargeRef } from './charge.ts'
import { type AttemptParams, type ChargeAttempt, findAttempt } from './charge-attempt.ts'
import type { ChargeDeps } from './charge-deps.ts'
import { closeAttempt } from './close-attempt.ts'

/**
 * Try `number`, made in the place of the one before when there is none yet. One that Stripe refused
 * before anything could be paid is followed by the next.
 *
 * @throws AppError `payment_in_progress`, `wrong_state`, `stripe_…`
 */
export async function takeAttempt(
  deps: ChargeDeps,
  ref: ChargeRef,
  number: number,
  params: AttemptParams,
  actorId: string,
): Promise<ChargeAttempt> {
  const found = await withTenant(deps.db, ref, (trx) => findAttempt(trx, ref, number))
  if (found?.state === 'refused') return takeAttempt(deps, ref, number + 1, params, actorId)
  if (found !== null) return found
  await closeAttempt(deps, ref, number - 1)
  return withTenant(deps.db, ref, (trx) => replaceAttempt(trx, ref, number, params, actorId))
}
