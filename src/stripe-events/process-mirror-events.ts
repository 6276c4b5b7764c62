import { withTenant } from '../db/tenant-scope.ts'
import { mirrorObject } from '../mirror/mirror-object.ts'
import { findResource } from '../mirror/resource-registry.ts'
import { createSyncContext } from '../mirror/stripe-resource.ts'
import { AppError } from '../shared/errors.ts'
import { showFailure } from '../shared/work-context.ts'
import {
  type ClaimedEvent,
  closeClaimed,
  lockClaimed,
  releaseClaimed,
  runWithRetry,
} from './claim-events.ts'
import { runEventHooks } from './event-hook.ts'
import type { ProcessDeps } from './process-events.ts'

export type MirrorDeps = Pick<ProcessDeps, 'db' | 'clients' | 'logger' | 'metrics' | 'eventHooks'>

/**
 * Processes claimed events of one mirror object (see groupByObject): fetches the object, unless it was
 * fetched after the events arrived, and closes the events. When Stripe refuses the request, the events
 * fail immediately, because Stripe would refuse every retry.
 *
 * @param signal - ends the wait for the rate limit; then the events are released.
 */
export async function processMirrorEvents(
  deps: MirrorDeps,
  events: ClaimedEvent[],
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  const ready = await runEventHooks(deps, events)
  if (ready.length === 0) return
  const work = () =>
    showFailure(() => mirrorAndClose(deps, ready, signal)).catch(async (error: unknown) => {
      if (!signal.aborted) throw error
      await releaseClaimed(deps.db, ready)
      return 0
    })
  await runWithRetry(deps, ready, work, isRefusal)
}

function isRefusal(error: unknown): boolean {
  return error instanceof AppError && error.code === 'stripe_refused'
}

/** Returns the number of closed events. */
async function mirrorAndClose(
  deps: MirrorDeps,
  events: ClaimedEvent[],
  signal: AbortSignal,
): Promise<number> {
  const [first] = events
  if (first === undefined) return 0
  const status = (await updateMirror(deps, first, events, signal)) ? 'done' : 'ignored'
  return withTenant(deps.db, first, async (trx) =>
    closeClaimed(trx, await lockClaimed(trx, events), { status }),
  )
}

/** Returns false when the object does not belong here, as it is another conference's. */
async function updateMirror(
  deps: MirrorDeps,
  { conferenceId, mirrored }: ClaimedEvent,
  events: readonly ClaimedEvent[],
  signal: AbortSignal,
): Promise<boolean> {
  // The resource may be unknown when a newer release stored the event.
  const resource = mirrored === null ? undefined : findResource(mirrored.resource)
  if (mirrored === null || resource === undefined) return false
  const after = Math.max(...events.map((event) => event.mirrored?.after ?? 0))
  const context = createSyncContext(deps, conferenceId, signal)
  const outcome = await mirrorObject(context, resource, mirrored.id, after)
  // After an abort, referenced objects may be missing: retry the event.
  signal.throwIfAborted()
  return outcome !== 'foreign'
}
