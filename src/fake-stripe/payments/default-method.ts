import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import type { Scope } from '../core/scope.ts'
import { cards } from '../objects/card.ts'
import { customers } from '../objects/customer.ts'

/** Makes a saved card the one that is charged unless another is named. */
export function setDefaultSource(scope: Scope, customerId: string, cardId: string | null): void {
  const before = scope.account.rows(customers).get(customerId)
  if (before === undefined || idOf(before.default_source) === cardId) return
  const after = changeRow(scope, customers, customerId, { default_source: cardId })
  emitEvent(scope, 'customer.updated', after, before)
}

/** A customer's defaults must not name what the customer no longer has. */
export function forgetDefaults(scope: Scope, customerId: string, methodId: string): void {
  const before = scope.account.rows(customers).get(customerId)
  if (before === undefined) return
  if (idOf(before.default_source) === methodId) {
    // The newest of the others takes its place.
    const [next] = scope.account.rows(cards).all((card) => idOf(card.customer) === customerId)
    setDefaultSource(scope, customerId, next?.id ?? null)
  }
  const settings = before.invoice_settings
  if (idOf(settings.default_payment_method) !== methodId) return
  const current = scope.account.rows(customers).get(customerId)
  const after = changeRow(scope, customers, customerId, {
    invoice_settings: { ...settings, default_payment_method: null },
  })
  emitEvent(scope, 'customer.updated', after, current)
}
