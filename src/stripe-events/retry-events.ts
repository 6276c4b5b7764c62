import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { AppError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { errorText } from '../stripe/error-text.ts'
import { type ClaimedEvent, failClaimed, MAX_ATTEMPTS } from './claim-events.ts'

type RetryDeps = { db: Db; logger: Logger; metrics: ServiceMetrics }

const MAX_BACKOFF_SECONDS = 900 // seconds

/**
 * One try of claimed events that belong together. A failure is written on the events. Throws only
 * when even that was impossible; their lease ends then by itself.
 *
 * @param work - returns how many events it closed.
 * @param isFinal - true for an error that another try would meet again; the others are tried again.
 */
export async function runWithRetry(
  deps: RetryDeps,
  events: readonly ClaimedEvent[],
  work: () => Promise<number>,
  isFinal: (error: unknown) => boolean = () => false,
): Promise<void> {
  const begun = performance.now()
  const report = (outcome: 'done' | 'retried' | 'failed', count: number) => {
    for (let i = 0; i < count; i += 1)
      deps.metrics.eventHandled(outcome, (performance.now() - begun) / 1000)
  }
  try {
    if (events.some(({ attempts }) => attempts > MAX_ATTEMPTS)) {
      throw new Error('No try of this event came to an end: its workers died or lost their lease.')
    }
    report('done', await work())
  } catch (error) {
    const { failed, retried } = await recordFailure(deps, events, error, isFinal(error))
    report('failed', failed)
    report('retried', retried)
  }
}

/** 1, 2, 4 … seconds, at most a quarter of an hour; longer when Stripe itself asked for it. */
function backoffSeconds(attempts: number, error: unknown): number {
  const asked = error instanceof AppError ? (error.retryAfterSeconds ?? 0) : 0
  return Math.max(Math.min(2 ** (attempts - 1), MAX_BACKOFF_SECONDS), asked)
}

/** Whoever reads it must see that no purchase waits for this event. */
function reasonOf({ lane }: ClaimedEvent, error: unknown): string {
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
    const text = reasonOf(event, error)
    const isLast = isFinal || event.attempts >= MAX_ATTEMPTS
    const written = await withTenant(deps.db, event, (trx) =>
      failClaimed(trx, [event], {
        error: text,
        waitSeconds: isLast ? null : backoffSeconds(event.attempts, error),
      }),
    )
    if (written === 0) continue
    const line = { conference: event.conferenceId, event: event.id, type: event.type, error: text }
    if (isLast) deps.logger.error(line, 'an event failed for good and waits for a replay')
    else
      deps.logger.warn({ ...line, attempt: event.attempts }, 'an event failed, to be tried again')
    counts[isLast ? 'failed' : 'retried'] += 1
  }
  return counts
}
