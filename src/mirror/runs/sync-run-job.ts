import type { Db, Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import type { Logger } from '../../shared/logger.ts'
import type { StripeClients } from '../../stripe/stripe-client.ts'
import { ALL_RESOURCES, findResource } from '../resource-registry.ts'
import { createSyncContext, type StripeResource } from '../stripe-resource.ts'
import { executeSyncRun } from './execute-sync-run.ts'
import { NO_OPTIONS, runLeaseSeconds, type SyncRun, type SyncRunRef } from './sync-run.ts'
import {
  enqueueSyncRun,
  failSyncRun,
  findActiveSyncRun,
  findLeaseEnd,
  getSyncRun,
  startSyncRun,
} from './sync-run-store.ts'

export type SyncJobDeps = { db: Db; clients: StripeClients; logger: Logger; leaseSeconds: number }

const PARENT_WAIT_MS = 5_000

// The lease has expired when the job runs.
const AFTER_LEASE_MS = 50

/**
 * The job `run_sync`: executes a run. If this process must stop, or another process holds the run, adds a
 * job that resumes it later.
 *
 * @throws any temporary error. A retry resumes the run from its cursor.
 */
export async function workOnSyncRun(
  deps: SyncJobDeps,
  ref: SyncRunRef,
  options: { signal: AbortSignal; isLastTry: boolean },
): Promise<void> {
  const { db } = deps
  const run = await withTenant(db, ref, (trx) => getSyncRun(trx, ref))
  if (run.finishedAt !== null) return
  const resource = findResource(run.resource)
  if (resource === undefined) {
    const message = `This release has no resource ${run.resource}.`
    // Another process may already run the release that has it.
    if (!options.isLastTry) throw new Error(message)
    await withTenant(db, ref, (trx) => failSyncRun(trx, ref, message))
    return
  }
  if (await waitsForParent(deps, run, resource)) return
  const executed = await executeSyncRun({
    action: resource.createAction(createSyncContext(deps, ref.conferenceId, options.signal)),
    ref,
    options: {
      leaseSeconds: runLeaseSeconds(deps.leaseSeconds),
      signal: options.signal,
      whenAborted: 'release',
      isRetried: !options.isLastTry,
    },
  })
  if (executed === 'ended') deps.logger.info(await runSummary(db, ref), 'sync run ended')
  if (executed === 'released') await withTenant(db, ref, (trx) => enqueueSyncRun(trx, ref))
  if (executed === 'held') await withTenant(db, ref, (trx) => enqueueAfterLease(trx, ref))
}

/** Postpones a run that lists by parent, such as customer, while a run of the parents is active. */
async function waitsForParent(
  { db }: SyncJobDeps,
  run: SyncRun,
  { listing }: StripeResource,
): Promise<boolean> {
  if (listing.by !== 'parent' || run.options.ids !== null) return false
  const ref = { conferenceId: run.conferenceId, runId: run.id }
  return withTenant(db, ref, async (trx) => {
    const parent = await findActiveSyncRun(trx, ref.conferenceId, listing.parent)
    if (parent === null) return false
    await enqueueSyncRun(trx, ref, new Date(Date.now() + PARENT_WAIT_MS))
    return true
  })
}

/** Another process holds the run. If that process dies, this job resumes the run after its lease. */
async function enqueueAfterLease(trx: Tx, ref: SyncRunRef): Promise<void> {
  const end = await findLeaseEnd(trx, ref)
  if (end !== null) await enqueueSyncRun(trx, ref, new Date(end.getTime() + AFTER_LEASE_MS))
}

async function runSummary(db: Db, ref: SyncRunRef) {
  const run = await withTenant(db, ref, (trx) => getSyncRun(trx, ref))
  const { conferenceId: conference, resource, state, counts, requests, error } = run
  return { conference, resource, run: run.id, state, ...counts, requests, error }
}

/** Starts a full run of each resource that has no active run. Returns the number of started runs. */
export async function startAllSyncRuns(trx: Tx, conferenceId: string): Promise<number> {
  let started = 0
  for (const { name } of ALL_RESOURCES) {
    if ((await findActiveSyncRun(trx, conferenceId, name)) !== null) continue
    await startSyncRun(trx, {
      conferenceId,
      resource: name,
      startedBy: 'timer',
      options: NO_OPTIONS,
    })
    started += 1
  }
  return started
}
