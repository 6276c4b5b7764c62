import { withTenant } from '../../db/tenant-scope.ts'
import type { ClaimedEvent } from '../inbox/claim-events.ts'
import { isSessionType } from '../inbox/handled-types.ts'
import { type EventHints, parseEvent } from '../inbox/parse-event.ts'
import { findChargeIdByStripeId } from './charges/charge-attempt.ts'
import type { ChargeDeps } from './charges/charge-deps.ts'
import { findCharge } from './charges/charge-store.ts'
import { reconcileCharge } from './charges/reconcile-charge.ts'
import type { BillingDeps } from './customers/billing-deps.ts'
import { findByStripeIds } from './customers/customer-store.ts'
import { refreshCustomer } from './customers/refresh-customer.ts'

/**
 * What billing does about events of no purchase, before they are closed or handed to the mirror: the
 * objects that they speak of are read from Stripe, never taken from them.
 *
 * @throws AppError `stripe_…`; the events are tried again then.
 */
export async function settleBillingEvents(
  deps: ChargeDeps,
  events: readonly ClaimedEvent[],
): Promise<void> {
  for (const event of events) {
    const hints = await readHints(deps, event)
    if (hints !== null) await settleEvent(deps, event, hints)
  }
}

async function settleEvent(
  deps: ChargeDeps,
  { conferenceId, type }: ClaimedEvent,
  hints: EventHints,
): Promise<void> {
  if (type === 'payment_method.attached') await settleCard(deps, conferenceId, hints)
  else await settleOwnCharge(deps, { conferenceId, type }, hints)
}

/** By what the object says of itself, else by the payment that it is about. */
async function settleOwnCharge(
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
async function settleCard(
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

async function readHints({ db }: BillingDeps, event: ClaimedEvent): Promise<EventHints | null> {
  const row = await withTenant(db, event, (trx) =>
    trx('stripe_events')
      .where({ conference_id: event.conferenceId, id: event.id })
      .first<{ body: Buffer } | undefined>('body'),
  )
  return row === undefined ? null : parseEvent(row.body)
}
