import type { Db } from '../../../db/connect.ts'
import type { Logger } from '../../../shared/logger.ts'
import type { StripeClients } from '../../client.ts'
import type { SyncContext } from '../../sync/sync-context.ts'

/** What billing works with. Its requests are ones that somebody waits for, so they go out at once. */
export type BillingDeps = { db: Db; clients: StripeClients; logger: Logger }

/** For storing in the mirror what billing has read from Stripe anyway. */
export function mirrorContext(
  { db, clients, logger }: BillingDeps,
  conferenceId: string,
): SyncContext {
  return { db, conferenceId, logger, connect: () => clients.connect(conferenceId) }
}
