import type { Db } from '../db/connect.ts'
import type { SyncContext } from '../mirror/stripe-resource.ts'
import type { Logger } from '../shared/logger.ts'
import type { StripeClients } from '../stripe/stripe-client.ts'
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

export type ChargeDeps = BillingDeps & { chargeHooks?: readonly ChargeHooks[] | undefined }
