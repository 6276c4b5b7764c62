import type { FastifyBaseLogger } from 'fastify'
import type { ApiFaults } from '../api/api-faults.ts'
import type { IdempotencyStore } from '../api/idempotency-store.ts'
import type { RequestLog } from '../api/request-log.ts'
import type { WebhookDispatcher } from '../webhooks/webhook-dispatcher.ts'
import type { Account, AccountRegistry } from './accounts.ts'
import type { Delays, FakeClock } from './clock.ts'

/** Where a change came from; an event's `request` shows it. */
export type Cause = {
  /** `req_…`, or null for what Stripe, the payer or a test did. */
  requestId: string | null
  idempotencyKey: string | null
}

/** Not asked for by an API request. */
export const NO_REQUEST: Cause = { requestId: null, idempotencyKey: null }

/** What every change works on: one account of one fake, for one reason. */
export type Scope = { world: World; account: Account; cause: Cause }

/** How the next refunds come out: at once, or later by `settleRefund`, `failRefund`, `cancel`. */
export type RefundMode = 'succeeded' | 'pending' | 'requires_action'

/** What one running fake consists of. Two fakes share nothing. */
export type World = {
  clock: FakeClock
  accounts: AccountRegistry
  webhooks: WebhookDispatcher
  idempotency: IdempotencyStore
  delays: Delays
  troubles: ApiFaults
  requests: RequestLog
  logger: FastifyBaseLogger
  /** `http://127.0.0.1:12111`, known once the server listens. */
  url(): string
  /** The mode of the next `times` refunds; afterwards they succeed at once again. */
  refundMode: { mode: RefundMode; times: number }
}
