import { getConference } from '../conferences/conference-store.ts'
import type { Tx } from '../db/connect.ts'
import type { Caller } from '../http/caller.ts'
import type { Clock } from '../shared/clock.ts'
import { invalidField } from '../shared/errors.ts'
import { mergeTerms, type VoucherTermsInput } from '../vouchers/voucher-terms.ts'
import { allowedActions } from './allowed-actions.ts'
import { assertSellable } from './create-purchase.ts'
import { loadCase } from './purchase-context.ts'
import { wrongState } from './purchase-error.ts'
import { lockPurchase, termsColumns, updatePurchase } from './purchase-store.ts'

export type PurchaseChanges = {
  quantity?: number | undefined
  reference?: string | null | undefined
  unit_amount?: number | undefined
  description?: string | undefined
  voucher_config?: VoucherTermsInput | undefined
}

const STAFF_FIELDS = ['unit_amount', 'description', 'voucher_config'] as const

/**
 * Changes a purchase that nobody can pay yet.
 *
 * @throws AppError `wrong_state` once a checkout was opened, `validation_failed`, `not_found`.
 */
export async function changePurchase(
  trx: Tx,
  deps: { clock: Clock },
  caller: Caller,
  purchaseId: string,
  changes: PurchaseChanges,
): Promise<void> {
  const ref = { conferenceId: caller.conferenceId, purchaseId }
  const isSponsor = caller.sponsorId !== null
  const purchase = await lockPurchase(trx, ref, caller.sponsorId)
  const foreign = STAFF_FIELDS.find((field) => isSponsor && changes[field] !== undefined)
  if (foreign !== undefined) throw invalidField(`/${foreign}`, 'A sponsor may not set this.')
  const allowed = allowedActions(await loadCase(trx, purchase), false, isSponsor)
  if (!allowed.includes('update')) throw wrongState('update', purchase.status, allowed)

  const conference = await getConference(trx, caller.conferenceId)
  const quantity = changes.quantity ?? purchase.quantity
  const unitAmount = changes.unit_amount ?? purchase.unitAmount
  const terms = mergeTerms(purchase.terms, changes.voucher_config ?? {})
  assertSellable(conference, { quantity, unitAmount, terms }, deps.clock.now())
  await updatePurchase(trx, ref, {
    quantity,
    unit_amount: unitAmount,
    total_amount: quantity * unitAmount,
    reference: changes.reference === undefined ? purchase.reference : changes.reference,
    description: changes.description ?? renamed(purchase.description, purchase.quantity, quantity),
    ...termsColumns(terms),
  })
}

/** Our own description counts the codes; one that staff wrote is left alone. */
function renamed(description: string, before: number, now: number): string {
  const own = `${before} × `
  return description.startsWith(own) ? `${now} × ${description.slice(own.length)}` : description
}
