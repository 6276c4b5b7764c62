import type { FastifyBaseLogger } from 'fastify'
import type { ApiTroubles } from '../api/api-troubles.ts'
import type { IdempotencyStore } from '../api/idempotency-store.ts'
import type { RequestLog } from '../api/request-log.ts'
import type { WebhookDispatcher } from '../webhooks/webhook-dispatcher.ts'
import type { AccountRegistry } from './account-registry.ts'
import type { Delays } from './delays.ts'
import type { FakeClock } from './fake-clock.ts'

/** How the next refunds come out: at once, or later by `settleRefund`, `failRefund`, `cancel`. */
export type RefundMode = 'succeeded' | 'pending' | 'requires_action'

/** What one running fake consists of. Two fakes share nothing. */
export type World = {
  clock: FakeClock
  accounts: AccountRegistry
  webhooks: WebhookDispatcher
  idempotency: IdempotencyStore
  delays: Delays
  troubles: ApiTroubles
  requests: RequestLog
  logger: FastifyBaseLogger
  /** `http://127.0.0.1:12111`, known once the server listens. */
  url(): string
  /** The mode of the next `times` refunds; afterwards they succeed at once again. */
  refundMode: { mode: RefundMode; times: number }
}
