import type { FastifyInstance } from 'fastify'
import { AppError } from '../shared/errors.ts'
import type { Lifecycle } from './lifecycle.ts'

const REASONS = {
  starting: 'The service is starting.',
  stopping: 'The service is stopping. Another process answers in a moment.',
} as const

// Seconds. Another process takes over at once; a start waits for migrations.
const RETRY_AFTER = 2

/** The 503 of a process that does not serve, or null. */
export function notServing({ phase }: Lifecycle): AppError | null {
  if (phase === 'serving') return null
  return new AppError('not_ready', REASONS[phase], { retryAfterSeconds: RETRY_AFTER })
}

/**
 * Refuses every request but the public ones while the process does not serve: nobody is answered
 * before the checks of the start passed, and a client that keeps its connection open is sent to
 * another process.
 */
export function addDoor(app: FastifyInstance, lifecycle: Lifecycle): void {
  app.addHook('onRequest', async (request) => {
    const refusal = notServing(lifecycle)
    if (refusal !== null && request.routeOptions.config.access !== 'public') throw refusal
  })
  // A connection that stays open after its answer would keep the process for over a minute.
  app.addHook('onSend', async (_request, reply) => {
    if (lifecycle.phase === 'stopping') void reply.header('connection', 'close')
  })
}
