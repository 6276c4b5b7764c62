import type Stripe from 'stripe'
import type { Account, AccountRegistry } from './accounts.ts'
import type { FakeClock } from './clock.ts'

/** The API request that caused a change; an event's `request` shows it. */
export type Cause = {
  /** `req_…`, or null for a change by Stripe itself, the payer or a test. */
  requestId: string | null
  idempotencyKey: string | null
}

/** The cause of a change that no API request asked for. */
export const NO_REQUEST: Cause = { requestId: null, idempotencyKey: null }

/** What every change works on: one account of one fake, and the cause of the change. */
export type Scope = { world: World; account: Account; cause: Cause }

/** How new refunds end: immediately, or later by `settleRefund`, `failRefund` or `cancel`. */
export type RefundMode = 'succeeded' | 'pending' | 'requires_action'

/** The part of a running fake that the kinds of objects need. Two fakes share nothing. */
export type World = {
  clock: FakeClock
  accounts: AccountRegistry
  /** Sends an event to the webhook endpoints of its account. */
  publish(account: Account, event: Stripe.EventBase): void
  /** `http://127.0.0.1:12111`, known once the server listens. */
  url(): string
  /** The mode of the next `times` refunds; later ones succeed immediately again. */
  refundMode: { mode: RefundMode; times: number }
}
