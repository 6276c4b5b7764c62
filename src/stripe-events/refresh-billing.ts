import type { BillingDeps, ReconcileChargeDeps } from '../billing/billing-deps.ts'
import { findCharge } from '../billing/charges/charge-store.ts'
import { reconcileCharge } from '../billing/charges/reconcile-charge.ts'
import { findByStripeIds } from '../billing/customers/customer-store.ts'
import { refreshCustomer } from '../billing/customers/saved-cards.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { findPaymentOwner } from '../payments/payment-store.ts'
import type { ClaimedEvent } from './claim-events.ts'
import { type EventHints, isSessionType } from './classify-event.ts'
import { loadEventHints } from './event-inbox.ts'

/**
 * Refreshes the charges and customers that events are about, when the events belong to no purchase.
 * Their objects are fetched from Stripe; the events' own data is never applied.
 *
 * @throws AppError `stripe_…`; then the events are retried.
 */
export async function refreshBilling(
  deps: BillingDeps & ReconcileChargeDeps,
  events: readonly ClaimedEvent[],
): Promise<void> {
  for (const event of events) {
    const hints = await loadEventHints(deps.db, event)
    if (hints !== null) await refreshForEvent(deps, event, hints)
  }
}

async function refreshForEvent(
  deps: BillingDeps & ReconcileChargeDeps,
  { conferenceId, type }: ClaimedEvent,
  hints: EventHints,
): Promise<void> {
  if (type === 'payment_method.attached') await refreshCustomerOfCard(deps, conferenceId, hints)
  else await refreshCharge(deps, { conferenceId, type }, hints)
}

/** Finds the charge by the charge id in the object's metadata, else by the payment intent or session. */
async function refreshCharge(
  deps: ReconcileChargeDeps,
  { conferenceId, type }: Pick<ClaimedEvent, 'conferenceId' | 'type'>,
  { ownCharge, objectId, paymentIntent }: EventHints,
): Promise<void> {
  const chargeId = await withTenant(deps.db, { conferenceId }, async (trx) => {
    const named =
      ownCharge === null ? null : await findCharge(trx, { conferenceId, chargeId: ownCharge })
    if (named !== null) return named.charge.id
    const about = [objectId, paymentIntent].filter((id) => id !== null)
    const ids = { sessions: about, paymentIntents: about }
    const owner = await findPaymentOwner(trx, conferenceId, ids)
    return owner?.kind === 'charge' ? owner.id : null
  })
  if (chargeId === null) return
  const sessionIds = isSessionType(type) && objectId !== null ? [objectId] : []
  await reconcileCharge(deps, { conferenceId, chargeId }, { sessionIds })
}

/** A customer's first card becomes the default when its event arrives. */
async function refreshCustomerOfCard(
  deps: BillingDeps,
  conferenceId: string,
  { customer }: EventHints,
): Promise<void> {
  if (customer === null) return
  const found = await withTenant(deps.db, { conferenceId }, (trx) =>
    findByStripeIds(trx, conferenceId, [customer]),
  )
  for (const { id } of found) await refreshCustomer(deps, { conferenceId, customerId: id })
}
