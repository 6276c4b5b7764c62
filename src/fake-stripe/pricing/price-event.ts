import { emitEvent } from '../core/emit-event.ts'
import type { Scope } from '../core/scope.ts'
import { planOf } from '../objects/plan.ts'
import type { WirePrice } from '../objects/price.ts'

/** Stripe tells of a recurring price twice: as a price, and as the plan that it is too. */
export function emitPriceEvent(
  scope: Scope,
  what: 'created' | 'updated' | 'deleted',
  price: WirePrice,
  before?: WirePrice,
): void {
  if (price.recurring) emitEvent(scope, `plan.${what}`, planOf(price), before && planOf(before))
  emitEvent(scope, `price.${what}`, price, before)
}
