import type { Db } from '../db/connect.ts'
import type { FetchTime } from '../mirror/fetch-time.ts'
import type { SyncContext } from '../mirror/stripe-resource.ts'
import type { StripeSyncAction } from '../mirror/stripe-sync-action.ts'
import type { PaymentGateway } from '../payments/payment-gateway.ts'
import type { Logger } from '../shared/logger.ts'
import type { Clock } from '../shared/time.ts'
import { isReplayed } from '../stripe/remote-operation.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import { callStripe } from '../stripe/stripe-errors.ts'
import type { StripeObject } from '../stripe/stripe-objects.ts'
import type { ChargeHooks } from './charges/charge-hooks.ts'

/** Dependencies of billing. A caller waits for each of its requests to Stripe, so none is throttled. */
export type BillingDeps = { db: Db; clients: StripeClients; logger: Logger }

/** For saving objects that billing has fetched from Stripe in the mirror as well. */
export function mirrorContext(
  { db, clients, logger }: BillingDeps,
  conferenceId: string,
): SyncContext {
  return { db, conferenceId, logger, connect: () => clients.connect(conferenceId) }
}

/**
 * Stores Stripe's response to a write in the mirror. The response may be stale, when the mirror fetched
 * the object in the meantime or when Stripe replayed an earlier response. Then the object is fetched
 * again. To be called within `afterWrite`.
 *
 * @param requestedAt - before the request was sent.
 */
export async function mirrorAnswer<T extends StripeObject>(
  action: StripeSyncAction<T>,
  response: T,
  requestedAt: FetchTime,
): Promise<void> {
  if (!isReplayed(response)) {
    const { outcome } = await action.sync(response, requestedAt)
    if (outcome !== 'stale') return
  }
  await callStripe(() => action.refresh(response.id))
}

/** For updating charges from Stripe. */
export type ReconcileChargeDeps = {
  db: Db
  gateway: PaymentGateway
  /** Besides those of the service. */
  chargeHooks?: readonly ChargeHooks[]
}

export type ChargeDeps = BillingDeps & ReconcileChargeDeps & { clock: Clock }
