import type { Db } from '../../db/connect.ts'
import type { Logger } from '../../shared/logger.ts'
import type { StripeConnection } from '../client.ts'

/** What every sync action works with: one conference's part of the mirror, and its Stripe account. */
export type SyncContext = {
  db: Db
  conferenceId: string
  /** The client that stays inside the account's request budget. Asked for only to read. */
  connect(): Promise<StripeConnection>
  logger: Logger
}
