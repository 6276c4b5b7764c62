import type { Db, Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import type { Logger } from '../../../shared/logger.ts'
import type { StripeClients } from '../../client.ts'
import { findResource } from '../all-resources.ts'
import type { StripeResource } from '../stripe-resource.ts'
import type { SyncContext } from '../sync-context.ts'
import { executeRun } from './execute-run.ts'
import { runLease } from './run-lease.ts'
import { findActiveRun, getRun, leaseEnd } from './run-store.ts'
import { queueRun } from './start-run.ts'
import type { RunRef, SyncRun } from './sync-run.ts'

export type RunDeps = { db: Db; clients: StripeClients; logger: Logger; leaseSeconds: number }

const PARENT_WAIT_MS = 5_000

// Enough for the lease to be over when the job runs.
const AFTER_LEASE_MS = 50

/**
 * Works on a run for as long as this process may, and makes sure that somebody goes on when it may
 * not. For the job `run_sync`.
 *
 * @throws what stopped the run before its end: it is tried again from where it stands.
 */
export async function workOnRun(
  deps: RunDeps,
  ref: RunRef,
  options: { signal: AbortSignal; isLastTry: boolean },
): Promise<void> {
  const { db } = deps
  const run = await withTenant(db, ref, (trx) => getRun(trx, ref))
  if (run.finishedAt !== null) return
  const resource = findResource(run.resource)
  if (resource === undefined) throw new Error(`This release knows no resource ${run.resource}`)
  if (await waitsForParent(deps, run, resource)) return
  const executed = await executeRun({
    action: resource.createAction(contextOf(deps, ref.conferenceId, options.signal)),
    ref,
    options: {
      leaseSeconds: runLease(deps.leaseSeconds),
      signal: options.signal,
      whenAborted: 'release',
      isRetried: !options.isLastTry,
    },
  })
  if (executed === 'ended') deps.logger.info(await summary(db, ref), 'sync run ended')
  if (executed === 'released') await withTenant(db, ref, (trx) => queueRun(trx, ref))
  if (executed === 'held') await withTenant(db, ref, (trx) => lookAgain(trx, ref))
}

/** What an action of this conference needs. The client is made once, since its key is read for it. */
export function contextOf(
  deps: Pick<RunDeps, 'db' | 'clients' | 'logger'>,
  conferenceId: string,
  signal?: AbortSignal,
): SyncContext {
  let connection: ReturnType<StripeClients['background']> | undefined
  return {
    db: deps.db,
    conferenceId,
    logger: deps.logger,
    connect: () => (connection ??= deps.clients.background(conferenceId, signal)),
  }
}

/** A listing for each customer has to know the customers: their run comes first. */
async function waitsForParent(
  { db }: RunDeps,
  run: SyncRun,
  { listing }: StripeResource,
): Promise<boolean> {
  if (listing.by !== 'per' || run.options.ids !== null) return false
  const ref = { conferenceId: run.conferenceId, runId: run.id }
  return withTenant(db, ref, async (trx) => {
    const parent = await findActiveRun(trx, ref.conferenceId, listing.parent)
    if (parent === null) return false
    await queueRun(trx, ref, new Date(Date.now() + PARENT_WAIT_MS))
    return true
  })
}

/** Another process is at it: should that die, somebody must take over when its lease has ended. */
async function lookAgain(trx: Tx, ref: RunRef): Promise<void> {
  const end = await leaseEnd(trx, ref)
  if (end !== null) await queueRun(trx, ref, new Date(end.getTime() + AFTER_LEASE_MS))
}

async function summary(db: Db, ref: RunRef) {
  const run = await withTenant(db, ref, (trx) => getRun(trx, ref))
  const { conferenceId: conference, resource, state, counts, requests, error } = run
  return { conference, resource, run: run.id, state, ...counts, requests, error }
}
