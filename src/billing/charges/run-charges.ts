import { withTenant } from '../../db/tenant-scope.ts'
import { AppError } from '../../shared/errors.ts'
import type { ChargeDeps } from '../billing-deps.ts'
import { type ChargeBody, viewCharge } from './charge-schemas.ts'
import { type ChargeRef, countFailedCharges, openChargeIds } from './charge-store.ts'
import { assertCardAfterRefusal, beginChargePayment, finishChargeCard } from './pay-charge.ts'

export type RunResult = { charge: ChargeBody; error: unknown }

/** `actorId`: recorded with the attempts. */
type RunOptions = { actorId: string; signal?: AbortSignal; onDone?: (result: RunResult) => void }

/**
 * The open charges of a conference that are not manual, oldest first. `skipped`: how many others failed in
 * an earlier attempt; staff decide about them.
 */
export function listOpenCharges(
  { db }: Pick<ChargeDeps, 'db'>,
  conferenceId: string,
): Promise<{ refs: ChargeRef[]; skipped: number }> {
  return withTenant(db, { conferenceId }, async (trx) => {
    const ids = await openChargeIds(trx, conferenceId)
    const skipped = await countFailedCharges(trx, conferenceId)
    return { refs: ids.map((chargeId) => ({ conferenceId, chargeId })), skipped }
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
    await assertCardAfterRefusal(deps, ref)
    const request = { kind: 'saved_card', named: null } as const
    const chosen = await withTenant(deps.db, ref, (trx) =>
      beginChargePayment(trx, deps, ref, request, actorId),
    )
    await finishChargeCard(deps, ref, chosen, null, actorId)
    return null
  } catch (error) {
    // An unexpected error would occur for every charge, so it ends the run.
    if (!(error instanceof AppError)) throw error
    return error
  }
}
