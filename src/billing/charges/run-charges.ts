import { withTenant } from '../../db/tenant-scope.ts'
import { AppError } from '../../shared/errors.ts'
import type { ChargeDeps } from '../billing-deps.ts'
import { startChargeAttempt } from './charge-attempts.ts'
import { type ChargeBody, viewCharge } from './charge-schemas.ts'
import { type ChargeRef, openCharges } from './charge-store.ts'
import { chargeSavedCard } from './pay-charge.ts'

export type RunResult = { charge: ChargeBody; error: unknown }

/** `actorId`: recorded with the attempts. */
type RunOptions = { actorId: string; signal?: AbortSignal; onDone?: (result: RunResult) => void }

/** The open charges of a conference that are not manual, oldest first. */
export function listOpenCharges({ db }: ChargeDeps, conferenceId: string): Promise<ChargeRef[]> {
  return withTenant(db, { conferenceId }, async (trx) => {
    const charges = await openCharges(trx, conferenceId)
    return charges.map(({ id }) => ({ conferenceId, chargeId: id }))
  })
}

/**
 * Charges the saved cards of charges one after the other. A failure does not stop the run. Concurrent
 * runs share in-flight attempts, so nothing is charged twice.
 */
export async function runCharges(
  deps: ChargeDeps,
  refs: readonly ChargeRef[],
  { actorId, signal, onDone }: RunOptions,
): Promise<RunResult[]> {
  const results: RunResult[] = []
  for (const ref of refs) {
    if (signal?.aborted === true) break
    const error = await chargeOne(deps, ref, actorId)
    const charge = await withTenant(deps.db, ref, (trx) => viewCharge(trx, ref))
    const result = { charge, error: isPaid(charge) ? null : error }
    results.push(result)
    onDone?.(result)
  }
  return results
}

/** True also when a concurrent run charged it. */
function isPaid({ status }: ChargeBody): boolean {
  return status === 'succeeded' || status === 'refunded' || status === 'processing'
}

async function chargeOne(deps: ChargeDeps, ref: ChargeRef, actorId: string): Promise<unknown> {
  try {
    const params = { kind: 'payment_intent', paymentMethod: null } as const
    const number = await withTenant(deps.db, ref, (trx) =>
      startChargeAttempt(trx, ref, params, actorId),
    )
    await chargeSavedCard(deps, ref, number, null, actorId)
    return null
  } catch (error) {
    // An unexpected error would occur for every charge, so it ends the run.
    if (!(error instanceof AppError)) throw error
    return error
  }
}
