import type { Tx } from '../db/connect.ts'
import type { Caller } from '../http/caller.ts'
import { advance } from './advance-purchase.ts'
import { allowedActions } from './allowed-actions.ts'
import { loadCase } from './purchase-context.ts'
import { wrongState } from './purchase-error.ts'
import { lockPurchase, updatePurchase } from './purchase-store.ts'

/** Staff give a free purchase its codes. @throws AppError `wrong_state` when it is not free and PENDING. */
export async function approveComp(trx: Tx, caller: Caller, purchaseId: string): Promise<void> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const known = await loadCase(trx, await lockPurchase(trx, ref))
  const allowed = allowedActions(known, false, false)
  const cause = { actor: caller.actor, cause: 'approve' }
  const step = await advance(trx, ref, { type: 'COMP_APPROVED' }, cause)
  if (step.kind === 'refused') throw wrongState('approve', step.status, allowed)
  await updatePurchase(trx, ref, { approved_by: caller.actor.id })
}
