import type { Db, Tx } from '../../db/connect.ts'
import { deleteInBatches } from '../../db/delete-in-batches.ts'
import { fetchPage, mapPage, type Page, type PageQuery } from '../../db/pages.ts'
import { addJob, hasNoJobSql } from '../../jobs/job-queue.ts'
import { AppError, notFound } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import type { FetchTime } from '../fetch-time.ts'
import type { SyncError } from '../sync-outcome.ts'
import {
  COUNT_NAMES,
  type RunCursor,
  readCursor,
  type SyncRun,
  type SyncRunCounts,
  type SyncRunDetail,
  type SyncRunOptions,
  type SyncRunRef,
  type SyncRunStarter,
  type SyncRunState,
} from './sync-run.ts'

const COLUMNS = [
  'conference_id',
  'id',
  'resource',
  'state',
  'started_by',
  'ids',
  'since',
  'force',
  'dry_run',
  ...COUNT_NAMES,
  'requests',
  'details',
  'error',
  'created_at',
  'started_at',
  'finished_at',
] as const

type SyncRunRow = SyncRunCounts & {
  conference_id: string
  id: string
  resource: string
  state: SyncRunState
  started_by: SyncRunStarter
  ids: string[] | null
  since: Date | null
  force: boolean
  dry_run: boolean
  requests: number
  details: SyncRunDetail[]
  error: SyncError | null
  created_at: Date
  started_at: Date | null
  finished_at: Date | null
}

/** A run that this process holds. */
export type ClaimedSyncRun = SyncRun & {
  /** Identifies the claim: writes of a process that no longer holds the run are rejected by it. */
  attempt: number
  cursor: RunCursor | null
  /** When the first page was requested, by this or an earlier process. */
  listedFrom: FetchTime
}

function toSyncRun(row: SyncRunRow): SyncRun {
  const { fetched, created, updated, unchanged, deleted, failed } = row
  return {
    conferenceId: row.conference_id,
    id: row.id,
    resource: row.resource,
    state: row.state,
    startedBy: row.started_by,
    options: { ids: row.ids, since: row.since, force: row.force, dryRun: row.dry_run },
    counts: { fetched, created, updated, unchanged, deleted, failed },
    requests: row.requests,
    details: row.details,
    error: row.error,
    createdAt: row.created_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
  }
}

type NewSyncRun = {
  conferenceId: string
  resource: string
  startedBy: SyncRunStarter
  options: SyncRunOptions
}

/**
 * Starts a run, which a worker then executes.
 *
 * @throws AppError `sync_running` while another run of the resource is active.
 */
export async function startSyncRun(trx: Tx, run: NewSyncRun): Promise<SyncRun> {
  const started = await insertSyncRun(trx, run)
  await enqueueSyncRun(trx, { conferenceId: run.conferenceId, runId: started.id })
  return started
}

/** Adds the job that executes a run. @param runAt the earliest start. */
export function enqueueSyncRun(
  trx: Tx,
  { conferenceId, runId }: SyncRunRef,
  runAt?: Date,
): Promise<void> {
  return addJob(
    trx,
    'run_sync',
    { conference_id: conferenceId, run_id: runId },
    runAt === undefined ? {} : { runAt },
  )
}

/** @throws AppError `sync_running` while another run of the resource is active. */
export async function insertSyncRun(
  trx: Tx,
  { conferenceId, resource, startedBy, options }: NewSyncRun,
): Promise<SyncRun> {
  const [row] = await trx('sync_runs')
    .insert({
      conference_id: conferenceId,
      id: newId('syncRun'),
      resource,
      started_by: startedBy,
      ids: options.ids,
      since: options.since,
      force: options.force,
      dry_run: options.dryRun,
    })
    // Index sync_runs_one_at_a_time. An error would abort the transaction, so conflicts are ignored.
    .onConflict()
    .ignore()
    .returning<SyncRunRow[]>([...COLUMNS])
  if (row !== undefined) return toSyncRun(row)
  const active = await findActiveSyncRun(trx, conferenceId, resource)
  const name = active === null ? 'Another sync run' : `The sync run ${active.id}`
  throw new AppError(
    'sync_running',
    `${name} of ${resource} is active. Wait until it ends, or cancel it.`,
    {
      extra: active === null ? {} : { sync_run: active.id },
    },
  )
}

/** The queued or running run of the resource, or null. */
export async function findActiveSyncRun(
  trx: Tx,
  conferenceId: string,
  resource: string,
): Promise<SyncRun | null> {
  const row = await trx<SyncRunRow>('sync_runs')
    .where({ conference_id: conferenceId, resource })
    .whereIn('state', ['queued', 'running'])
    .first([...COLUMNS])
  return row === undefined ? null : toSyncRun(row)
}

/** @throws AppError `not_found` */
export async function getSyncRun(trx: Tx, { conferenceId, runId }: SyncRunRef): Promise<SyncRun> {
  const row = await trx<SyncRunRow>('sync_runs')
    .where({ conference_id: conferenceId, id: runId })
    .first([...COLUMNS])
  if (row === undefined) throw notFound('sync run')
  return toSyncRun(row)
}

export async function listSyncRuns(
  trx: Tx,
  conferenceId: string,
  filter: { resource?: string | undefined; state?: SyncRunState | undefined },
  page: PageQuery,
): Promise<Page<SyncRun>> {
  const query = trx('sync_runs')
    .where({ conference_id: conferenceId })
    .select([...COLUMNS])
  if (filter.resource !== undefined) void query.where({ resource: filter.resource })
  if (filter.state !== undefined) void query.where({ state: filter.state })
  return mapPage(await fetchPage<SyncRunRow>(query, page), toSyncRun)
}

type ClaimedRow = SyncRunRow & { attempt: number; cursor: unknown; listed_from_us: number }

/**
 * Claims a run for this process if it is queued or its lease has expired. Returns null if it has ended
 * or another process holds it.
 */
export async function claimSyncRun(
  trx: Tx,
  { conferenceId, runId }: SyncRunRef,
  leaseSeconds: number,
): Promise<ClaimedSyncRun | null> {
  const { rows } = await trx.raw<{ rows: ClaimedRow[] }>(
    `update sync_runs
     set state = 'running', attempt = attempt + 1, updated_at = now(),
         lease_until = now() + make_interval(secs => ?),
         started_at = coalesce(started_at, now()),
         listed_from = coalesce(listed_from, clock_timestamp())
     where conference_id = ? and id = ?
       and (state = 'queued'
         or (state = 'running' and (lease_until is null or lease_until < now())))
     returning ${COLUMNS.join(', ')}, attempt, cursor, (extract(epoch from listed_from) * 1000000)::bigint as listed_from_us`,
    [leaseSeconds, conferenceId, runId],
  )
  const [row] = rows
  if (row === undefined) return null
  return {
    ...toSyncRun(row),
    attempt: row.attempt,
    cursor: readCursor(row.cursor),
    listedFrom: row.listed_from_us,
  }
}

/** When the lease of a running run ends. Null if the run is not running. */
export async function findLeaseEnd(
  trx: Tx,
  { conferenceId, runId }: SyncRunRef,
): Promise<Date | null> {
  const row = await trx('sync_runs')
    .where({ conference_id: conferenceId, id: runId, state: 'running' })
    .first<{ lease_until: Date | null } | undefined>('lease_until')
  return row?.lease_until ?? null
}

type RunClaim = Pick<ClaimedSyncRun, 'conferenceId' | 'id' | 'attempt'>

/** The run, if this process still holds it. */
const claimedRun = (trx: Tx, { conferenceId, id, attempt }: RunClaim) =>
  trx('sync_runs').where({ conference_id: conferenceId, id, attempt, state: 'running' })

/** Extends the lease, so that no other process takes over the run. */
export async function renewSyncRunLease(
  trx: Tx,
  run: RunClaim,
  leaseSeconds: number,
): Promise<void> {
  await claimedRun(trx, run).update({
    lease_until: trx.raw('now() + make_interval(secs => ?)', [leaseSeconds]),
  })
}

/** Releases a run, so that another process can resume it from its cursor. */
export async function releaseSyncRun(trx: Tx, run: RunClaim): Promise<void> {
  await claimedRun(trx, run).update({
    state: 'queued',
    lease_until: null,
    updated_at: trx.fn.now(),
  })
}

/** Ends a run and deletes its listed ids. Returns false if this process no longer holds the run. */
export async function finishSyncRun(
  trx: Tx,
  run: RunClaim,
  end: { state: 'succeeded' | 'failed' | 'cancelled'; error: SyncError | null },
): Promise<boolean> {
  const ended = await claimedRun(trx, run).update({ ...endedColumns(trx, end) })
  if (ended === 0) return false
  await deleteListedIds(trx, { conferenceId: run.conferenceId, runId: run.id })
  return true
}

/**
 * Cancels an active run. The process that holds it stops when it saves its next page.
 *
 * @throws AppError `not_found`; `wrong_state` if the run has ended.
 */
export async function cancelSyncRun(trx: Tx, ref: SyncRunRef): Promise<SyncRun> {
  const { state } = await getSyncRun(trx, ref)
  const cancelled = await trx('sync_runs')
    .where({ conference_id: ref.conferenceId, id: ref.runId })
    .whereIn('state', ['queued', 'running'])
    .update(endedColumns(trx, { state: 'cancelled', error: null }))
  if (cancelled === 0) {
    throw new AppError('wrong_state', `The sync run has already ended: its state is ${state}.`, {
      extra: { state_now: state },
    })
  }
  await deleteListedIds(trx, ref)
  return getSyncRun(trx, ref)
}

/** Ends an active run that this release cannot execute. */
export async function failSyncRun(trx: Tx, ref: SyncRunRef, message: string): Promise<void> {
  const error = { code: 'unknown_resource', message, stripe_request_id: null }
  await trx('sync_runs')
    .where({ conference_id: ref.conferenceId, id: ref.runId })
    .whereIn('state', ['queued', 'running'])
    .update(endedColumns(trx, { state: 'failed', error }))
  await deleteListedIds(trx, ref)
}

const ABANDONED: SyncError = {
  code: 'run_abandoned',
  message: 'No worker finished this run: each one died or failed. Start another sync.',
  stripe_request_id: null,
}

/**
 * Ends runs that no process holds and for which no job is left, because they would block their resource
 * for ever. Of all conferences. Returns their number.
 */
export async function endAbandonedSyncRuns(trx: Tx): Promise<number> {
  const ended = await trx('sync_runs')
    .whereIn('state', ['queued', 'running'])
    .whereRaw(`coalesce(lease_until, '-infinity') < now()`)
    // A process that releases a run adds its job a moment later.
    .whereRaw(`updated_at < now() - interval '1 minute'`)
    .whereRaw(hasNoJobSql(`'run_sync:' || sync_runs.id`))
    .update(endedColumns(trx, { state: 'failed', error: ABANDONED }))
    .returning<{ conference_id: string; id: string }[]>(['conference_id', 'id'])
  for (const run of ended) {
    await deleteListedIds(trx, { conferenceId: run.conference_id, runId: run.id })
  }
  return ended.length
}

/** Deletes runs that ended more than so many days ago. @returns their number. */
export function deleteOldSyncRuns(db: Db, days: number): Promise<number> {
  return deleteInBatches(db, 'sync_runs', `finished_at < now() - interval '${days} days'`)
}

function endedColumns(trx: Tx, end: { state: SyncRunState; error: SyncError | null }) {
  return {
    state: end.state,
    error: end.error === null ? null : JSON.stringify(end.error),
    cursor: null,
    lease_until: null,
    finished_at: trx.fn.now(),
    updated_at: trx.fn.now(),
  }
}

async function deleteListedIds(trx: Tx, { conferenceId, runId }: SyncRunRef): Promise<void> {
  await trx('sync_run_ids').where({ conference_id: conferenceId, run_id: runId }).delete()
}
