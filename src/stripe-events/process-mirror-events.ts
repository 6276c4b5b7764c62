import { withTenant } from '../db/tenant-scope.ts'
import { mirrorObject } from '../mirror/mirror-object.ts'
import { findResource } from '../mirror/resource-registry.ts'
import type { SyncContext } from '../mirror/stripe-resource.ts'
import { AppError } from '../shared/errors.ts'
import type { StripeConnection } from '../stripe/stripe-client.ts'
import { type ClaimedEvent, closeClaimed, lockClaimed, releaseClaimed } from './claim-events.ts'
import { runEventHooks } from './event-hook.ts'
import type { ProcessDeps } from './process-events.ts'
import { runWithRetry } from './retry-events.ts'

export type MirrorDeps = Pick<ProcessDeps, 'db' | 'clients' | 'logger' | 'metrics' | 'eventHooks'>

/**
 * How long a reading may wait for its turn in the account's request budget. An account that Stripe
 * has told to wait must not hold the mirror of the others for longer. Milliseconds.
 */
const BUDGET_TIMEOUT_MS = 60_000

/**
 * Works on claimed events of one object of the mirror (see groupByObject): reads it, unless somebody
 * has read it since they came, and closes them. Stripe's refusal is final: it would be repeated.
 *
 * @param signal - ends the waiting for a turn; the events are given back then.
 */
export async function processMirrorEvents(
  deps: MirrorDeps,
  events: ClaimedEvent[],
  signal: AbortSignal = new AbortController().signal,
): Promise<void> {
  const ready = await runEventHooks(deps, events)
  if (ready.length === 0) return
  const work = () =>
    mirrorAndClose(deps, ready, signal).catch(async (error: unknown) => {
      if (!signal.aborted) throw error
      await releaseClaimed(deps.db, ready)
      return 0
    })
  await runWithRetry(deps, ready, work, isRefusal)
}

function isRefusal(error: unknown): boolean {
  return error instanceof AppError && error.code === 'stripe_refused'
}

/** Returns how many events were closed. */
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

/** Returns false when the mirror has no place for the object: it is another conference's. */
async function updateMirror(
  deps: MirrorDeps,
  { conferenceId, mirrored }: ClaimedEvent,
  events: readonly ClaimedEvent[],
  signal: AbortSignal,
): Promise<boolean> {
  // Stored by a release that knew of more kinds.
  const resource = mirrored === null ? undefined : findResource(mirrored.resource)
  if (mirrored === null || resource === undefined) return false
  const after = Math.max(...events.map((event) => event.mirrored?.after ?? 0))
  const context = createContext(deps, conferenceId, signal)
  const outcome = await mirrorObject(context, resource, mirrored.id, after)
  // What it hangs on may have been left out, and nobody would come back to it.
  signal.throwIfAborted()
  return outcome !== 'foreign'
}

function createContext(
  { db, clients, logger }: MirrorDeps,
  conferenceId: string,
  stopping: AbortSignal,
): SyncContext {
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(BUDGET_TIMEOUT_MS)])
  let connection: Promise<StripeConnection> | undefined
  return {
    db,
    conferenceId,
    connect: () => (connection ??= clients.background(conferenceId, signal)),
    logger,
  }
}
