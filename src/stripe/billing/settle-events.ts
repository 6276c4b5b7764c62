import { withTenant } from '../../db/tenant-scope.ts'
import type { ClaimedEvent } from '../inbox/claim-events.ts'
import { type EventHints, parseEvent } from '../inbox/parse-event.ts'
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
  deps: BillingDeps,
  events: readonly ClaimedEvent[],
): Promise<void> {
  for (const event of events) {
    const hints = await readHints(deps, event)
    if (hints !== null) await settleEvent(deps, event, hints)
  }
}

async function settleEvent(
  deps: BillingDeps,
  { conferenceId, type }: ClaimedEvent,
  hints: EventHints,
): Promise<void> {
  if (type === 'payment_method.attached') await settleCard(deps, conferenceId, hints)
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
