import type { FastifyBaseLogger } from 'fastify'
import type { ApiFaults } from './api/api-faults.ts'
import type { IdempotencyStore } from './api/idempotency-store.ts'
import type { RequestLog } from './api/request-log.ts'
import type { Delays } from './core/clock.ts'
import type { World } from './core/scope.ts'
import type { WebhookDispatcher } from './webhooks/webhook-dispatcher.ts'

/** Everything that one running fake consists of: its objects, and how it serves them. */
export type FakeState = World & {
  webhooks: WebhookDispatcher
  idempotency: IdempotencyStore
  delays: Delays
  faults: ApiFaults
  requests: RequestLog
  logger: FastifyBaseLogger
}
