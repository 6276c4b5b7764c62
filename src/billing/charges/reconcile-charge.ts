import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { fetchOwnedSnapshot, type SnapshotHints } from '../../payments/fetch-owned-snapshot.ts'
import { additionsOfStale } from '../../payments/plan-records.ts'
import { notFound } from '../../shared/errors.ts'
import type { ReconcileChargeDeps } from '../billing-deps.ts'
import { saveChargePlan } from './change-charge.ts'
import { type ChargeRef, lockCharge, ownerOf, takeChargeTicket } from './charge-store.ts'
import { planCharge } from './plan-charge.ts'

/**
 * Fetches a charge's payments from Stripe and updates the charge; never charges anything. As with
 * purchases, a stale snapshot only adds payments without a record.
 *
 * @throws AppError `not_found`, `stripe_key_missing`, `stripe_…`
 */
export async function reconcileCharge(
  deps: ReconcileChargeDeps,
  ref: ChargeRef,
  hints: SnapshotHints = {},
): Promise<void> {
  const source = {
    owner: ownerOf(ref),
    takeTicket: () => withTenant(deps.db, ref, (trx) => takeChargeTicket(trx, ref)),
    lock: async (trx: Tx) => (await lockCharge(trx, ref)).records,
  }
  const fetched = await fetchOwnedSnapshot(deps, source, hints)
  if (fetched === null) throw notFound('charge')
  const { ticket, snapshot } = fetched
  await withTenant(deps.db, ref, async (trx) => {
    const before = await lockCharge(trx, ref)
    const isStale = before.charge.appliedTicket > ticket
    const applied = isStale ? additionsOfStale(before.records, snapshot) : snapshot
    if (applied === null) return
    const plan = planCharge(before, { type: 'snapshot', snapshot: applied })
    await saveChargePlan(trx, plan, deps.chargeHooks, isStale ? null : ticket)
  })
}
