import type { Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import { notFound } from '../../../shared/errors.ts'
import type { ChargeRef } from './charge.ts'
import { listAttempts } from './charge-attempt.ts'
import type { ChargeDeps } from './charge-deps.ts'
import { readAttempts } from './charge-facts.ts'
import { lockCharge } from './charge-store.ts'
import { OWN_HOOKS } from './own-hooks.ts'
import { settleCharge } from './settle-charge.ts'

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
  const facts = await readAttempts(stripe, ref, attempts, hintedSession)
  await withTenant(deps.db, ref, async (trx) => {
    const charge = await lockCharge(trx, ref)
    if (charge.appliedTicket > ticket) return
    await settleCharge(trx, charge, facts, [...OWN_HOOKS, ...(deps.chargeHooks ?? [])])
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
