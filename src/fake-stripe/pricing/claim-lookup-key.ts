import type { Scope } from '../core/scope.ts'
import { invalidParameter } from '../core/stripe-error.ts'
import { prices } from '../objects/price.ts'
import { emitPriceEvent } from './price-event.ts'

/**
 * Makes a lookup key free for a price. At most one price has it, be it active or not.
 *
 * @param owner the id of the price that wants it; undefined for one that does not exist yet.
 * @param transfer takes the key from the price that has it, which gets a `price.updated`.
 * @throws StripeError when another price has it and `transfer` is not set.
 */
export function claimLookupKey(
  scope: Scope,
  key: string,
  owner: string | undefined,
  transfer: boolean,
): void {
  const rows = scope.account.rows(prices)
  const [holder] = rows.page({ limit: 1, where: (price) => price.lookup_key === key })?.data ?? []
  if (holder === undefined || holder.id === owner) return
  if (!transfer)
    throw invalidParameter('lookup_key', `A price (\`${holder.id}\`) already uses that lookup key.`)
  emitPriceEvent(scope, 'updated', rows.replace({ ...holder, lookup_key: null }), holder)
}
