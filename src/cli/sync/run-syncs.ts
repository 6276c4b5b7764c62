import { countLiving } from '../../stripe/sync/runs/confirm-missing.ts'
import { runHere } from '../../stripe/sync/runs/run-here.ts'
import type { SyncRun } from '../../stripe/sync/runs/sync-run.ts'
import { contextOf } from '../../stripe/sync/runs/work-on-run.ts'
import type { StripeResource } from '../../stripe/sync/stripe-resource.ts'
import type { SyncContext } from '../../stripe/sync/sync-context.ts'
import { type Problem, toFailure, toProblem } from '../failure.ts'
import type { Session } from '../with-session.ts'
import type { SyncReporter } from './sync-reporter.ts'
import type { SyncRequest } from './sync-request.ts'

/** What became of one resource: its run, or why there was none. */
export type SyncResult =
  | { resource: string; run: SyncRun; problem: null }
  | { resource: string; run: null; problem: Problem }

/**
 * Runs one resource after the other in this process. One that fails does not stop the others; the
 * signal does, after the page that is being stored.
 *
 * @throws AppError `stripe_key_missing`, before anything is begun.
 */
export async function runSyncs(
  session: Session,
  conferenceId: string,
  { resources, options }: SyncRequest,
  { reporter, signal }: { reporter: SyncReporter; signal: AbortSignal },
): Promise<SyncResult[]> {
  const context = contextOf(session, conferenceId, signal)
  await context.connect()
  const results: SyncResult[] = []
  for (const resource of resources) {
    if (signal.aborted) break
    const result = await tryOne(context, resource, {
      startedBy: 'cli',
      options,
      leaseSeconds: session.config.leaseSeconds,
      signal,
      ...reporter.begin(resource.name, await expected(context, resource, options)),
    })
    reporter.end(result)
    results.push(result)
  }
  return results
}

async function tryOne(
  context: SyncContext,
  resource: StripeResource,
  work: Parameters<typeof runHere>[1],
): Promise<SyncResult> {
  const { name } = resource
  try {
    const run = await runHere(resource.createAction(context), work)
    return { resource: name, run, problem: null }
  } catch (error) {
    return { resource: name, run: null, problem: toProblem(toFailure(error)) }
  }
}

/** How many objects it will be, as far as that can be known: Stripe does not count its lists. */
async function expected(
  { db, conferenceId }: SyncContext,
  resource: StripeResource,
  { ids, since }: SyncRequest['options'],
): Promise<number | null> {
  if (ids !== null) return ids.length
  if (since !== null) return null
  return (await countLiving(db, resource, conferenceId)) || null
}
