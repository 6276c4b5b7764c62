import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { AppError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { errorText } from '../stripe/stripe-errors.ts'
import { type ClaimedEvent, failClaimed, MAX_ATTEMPTS } from './claim-events.ts'

type RetryDeps = { db: Db; logger: Logger; metrics: ServiceMetrics }

const MAX_BACKOFF_SECONDS = 900

/**
 * Runs one attempt of claimed events that belong together. When `work` fails, the error is recorded on
 * the events, and they are retried later with back-off. Throws only when the failure cannot be
 * recorded; then the events are due again when their lease ends.
 *
 * @param work - returns the number of events that it closed.
 * @param isFinal - true for an error that every retry would meet again: the events fail immediately.
 */
export async function runWithRetry(
  deps: RetryDeps,
  events: readonly ClaimedEvent[],
  work: () => Promise<number>,
  isFinal: (error: unknown) => boolean = () => false,
): Promise<void> {
  const startedAt = performance.now()
  const report = (outcome: 'done' | 'retried' | 'failed', count: number) => {
    for (let i = 0; i < count; i += 1)
      deps.metrics.eventHandled(outcome, (performance.now() - startedAt) / 1000)
  }
  try {
    if (events.some(({ attempts }) => attempts > MAX_ATTEMPTS)) {
      throw new Error('No attempt at this event finished: its workers died or lost their lease.')
    }
    report('done', await work())
  } catch (error) {
    const { failed, retried } = await recordFailure(deps, events, error, isFinal(error))
    report('failed', failed)
    report('retried', retried)
  }
}

/** 1, 2, 4 … seconds, at most 15 minutes, or longer when Stripe sent a longer `Retry-After`. */
function backoffSeconds(attempts: number, error: unknown): number {
  const requested = error instanceof AppError ? (error.retryAfterSeconds ?? 0) : 0
  return Math.max(Math.min(2 ** (attempts - 1), MAX_BACKOFF_SECONDS), requested)
}

/** The prefix `mirror: ` shows staff that no purchase depends on this event. */
function lastErrorOf({ lane }: ClaimedEvent, error: unknown): string {
  return lane === 'mirror' ? `mirror: ${errorText(error)}` : errorText(error)
}

async function recordFailure(
  deps: RetryDeps,
  events: readonly ClaimedEvent[],
  error: unknown,
  isFinal: boolean,
): Promise<{ failed: number; retried: number }> {
  const counts = { failed: 0, retried: 0 }
  for (const event of events) {
    const text = lastErrorOf(event, error)
    const isLast = isFinal || event.attempts >= MAX_ATTEMPTS
    const written = await withTenant(deps.db, event, (trx) =>
      failClaimed(trx, [event], {
        error: text,
        waitSeconds: isLast ? null : backoffSeconds(event.attempts, error),
      }),
    )
    if (written === 0) continue
    const line = { conference: event.conferenceId, event: event.id, type: event.type, error: text }
    if (isLast) deps.logger.error(line, 'event failed; it will not be retried without a replay')
    else deps.logger.warn({ ...line, attempt: event.attempts }, 'event failed; it will be retried')
    counts[isLast ? 'failed' : 'retried'] += 1
  }
  return counts
}
