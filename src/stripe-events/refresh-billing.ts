import type { BillingDeps, ChargeDeps } from '../billing/billing-deps.ts'
import { findChargeIdByStripeId } from '../billing/charges/charge-attempt-store.ts'
import { findCharge } from '../billing/charges/charge-store.ts'
import { reconcileCharge } from '../billing/charges/reconcile-charge.ts'
import { findByStripeIds } from '../billing/customers/customer-store.ts'
import { refreshCustomer } from '../billing/customers/saved-cards.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { ClaimedEvent } from './claim-events.ts'
import { type EventHints, isSessionType, parseEvent } from './event-hints.ts'

/**
 * What billing does about events of no purchase, before they are closed or handed to the mirror: the
 * objects that they speak of are read from Stripe, never taken from them.
 *
 * @throws AppError `stripe_…`; the events are tried again then.
 */
export async function refreshBilling(
  deps: ChargeDeps,
  events: readonly ClaimedEvent[],
): Promise<void> {
  for (const event of events) {
    const hints = await loadEventHints(deps, event)
    if (hints !== null) await refreshForEvent(deps, event, hints)
  }
}

async function refreshForEvent(
  deps: ChargeDeps,
  { conferenceId, type }: ClaimedEvent,
  hints: EventHints,
): Promise<void> {
  if (type === 'payment_method.attached') await refreshCustomerOfCard(deps, conferenceId, hints)
  else await refreshCharge(deps, { conferenceId, type }, hints)
}

/** By what the object says of itself, else by the payment that it is about. */
async function refreshCharge(
  deps: ChargeDeps,
  { conferenceId, type }: Pick<ClaimedEvent, 'conferenceId' | 'type'>,
  { ownCharge, objectId, paymentIntent }: EventHints,
): Promise<void> {
  const chargeId = await withTenant(deps.db, { conferenceId }, async (trx) => {
    const named =
      ownCharge === null ? null : await findCharge(trx, { conferenceId, chargeId: ownCharge })
    if (named !== null) return named.id
    const about = paymentIntent ?? objectId
    return about === null ? null : findChargeIdByStripeId(trx, conferenceId, about)
  })
  if (chargeId === null) return
  await reconcileCharge(deps, { conferenceId, chargeId }, isSessionType(type) ? objectId : null)
}

/** A first card becomes the default as soon as we hear of it. */
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

async function loadEventHints(
  { db }: BillingDeps,
  event: ClaimedEvent,
): Promise<EventHints | null> {
  const row = await withTenant(db, event, (trx) =>
    trx('stripe_events')
      .where({ conference_id: event.conferenceId, id: event.id })
      .first<{ body: Buffer } | undefined>('body'),
  )
  return row === undefined ? null : parseEvent(row.body)
}
