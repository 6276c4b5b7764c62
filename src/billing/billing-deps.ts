import type { Db } from '../db/connect.ts'
import type { SyncContext } from '../mirror/stripe-resource.ts'
import type { Logger } from '../shared/logger.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
import type { ChargeHooks } from './charges/charge-hooks.ts'

/** What billing works with. Its requests are ones that somebody waits for, so they go out at once. */
export type BillingDeps = { db: Db; clients: StripeClients; logger: Logger }

/** For storing in the mirror what billing has read from Stripe anyway. */
export function mirrorContext(
  { db, clients, logger }: BillingDeps,
  conferenceId: string,
): SyncContext {
  return { db, conferenceId, logger, connect: () => clients.connect(conferenceId) }
}

/** What charges work with. */
export type ChargeDeps = BillingDeps & { chargeHooks?: readonly ChargeHooks[] | undefined }
