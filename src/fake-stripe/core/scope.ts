import type { Account } from './account.ts'
import type { World } from './world.ts'

/** Where a change came from; an event's `request` shows it. */
export type Cause = {
  /** `req_…`, or null for what Stripe, the payer or a test did. */
  requestId: string | null
  idempotencyKey: string | null
}

/** Not asked for by an API request. */
export const OWN_MOTION: Cause = { requestId: null, idempotencyKey: null }

/** What every change works on: one account of one fake, for one reason. */
export type Scope = { world: World; account: Account; cause: Cause }
