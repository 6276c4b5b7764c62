import { DATABASE_NOW_SQL, type Db } from '../../db/connect.ts'
import { type Bind, tenantStatement } from '../../db/tenant-scope.ts'
import type { StripeConnection } from '../../stripe/stripe-client.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import {
  type DatabaseClock,
  databaseNow,
  type FetchTime,
  trackDatabaseClock,
} from '../fetch-time.ts'
import type { RowText } from '../mirror-column.ts'
import type { StripeResource, SyncAction } from '../stripe-resource.ts'
import type { SyncError } from '../sync-outcome.ts'
import { comparedRowsCte, givenRowsCte, writtenRowsCtes } from '../write-mirror-rows.ts'
import {
  MAX_DETAILS,
  type RunCursor,
  type SyncRun,
  type SyncRunCounts,
  type SyncRunDetail,
} from './sync-run.ts'
import type { ClaimedSyncRun } from './sync-run-store.ts'

type ProgressOptions = {
  leaseSeconds: number
  signal: AbortSignal
  onProgress?: (run: SyncRun) => void
}

/** This process no longer holds the run: it was cancelled, or another process took it over. */
class LeaseLost extends Error {
  override readonly name = 'LeaseLost'
}

/** The progress of a run that this process executes. Every step is written to the database. */
export class SyncRunProgress {
  readonly action: SyncAction
  readonly run: ClaimedSyncRun
  readonly connection: StripeConnection
  readonly clock: DatabaseClock
  readonly signal: AbortSignal
  isLost = false
  /** The cursor of the last saved step. */
  cursor: RunCursor | null
  #options: ProgressOptions
  #counts: SyncRunCounts
  #requests: number
  #details: SyncRunDetail[]
  #newDetails = false

  private constructor(
    action: SyncAction,
    run: ClaimedSyncRun,
    options: ProgressOptions,
    parts: { connection: StripeConnection; clock: DatabaseClock },
  ) {
    this.action = action
    this.run = run
    this.cursor = run.cursor
    this.connection = parts.connection
    this.clock = parts.clock
    this.signal = options.signal
    this.#options = options
    this.#counts = { ...run.counts }
    this.#requests = run.requests
    this.#details = [...run.details]
  }

  static async begin(
    action: SyncAction,
    run: ClaimedSyncRun,
    options: ProgressOptions,
  ): Promise<SyncRunProgress> {
    const clock = trackDatabaseClock(await databaseNow(action.context.db))
    return new SyncRunProgress(action, run, options, {
      connection: await action.context.connect(),
      clock,
    })
  }

  get db(): Db {
    return this.action.context.db
  }

  get isDry(): boolean {
    return this.run.options.dryRun
  }

  /** Adds a detail. It is written with the next step. */
  note(detail: SyncRunDetail): void {
    if (this.#details.length >= MAX_DETAILS) return
    this.#details.push(detail)
    this.#newDetails = true
  }

  /** The result of the run, after all steps. */
  result(): { state: 'succeeded' | 'failed'; error: SyncError | null } {
    const { failed } = this.#counts
    if (failed === 0) return { state: 'succeeded', error: null }
    const message = `${failed} ${failed === 1 ? 'object' : 'objects'} could not be stored. All others were stored.`
    return { state: 'failed', error: { code: 'objects_failed', message, stripe_request_id: null } }
  }

  /** A step that stores nothing and keeps the cursor. */
  emptyStep(): Omit<RunStep, 'details'> {
    return { rows: [], listed: null, counts: {}, requests: 0, cursor: this.cursor }
  }

  /** Writes a step. @throws LeaseLost if this process no longer holds the run. */
  async save(step: Omit<RunStep, 'details'>): Promise<void> {
    const { run } = this
    const details = this.#newDetails ? this.#details : null
    const saved = await saveRunStep(
      this.db,
      this.action.resource,
      { ...run, dryRun: this.isDry },
      { ...step, details },
      this.#options.leaseSeconds,
    )
    if (!saved.held) {
      this.isLost = true
      throw new LeaseLost(`This process no longer holds run ${run.id}`)
    }
    if (details !== null) this.#newDetails = false
    this.cursor = step.cursor
    this.clock.follow(saved.now)
    this.#add(step, saved)
    this.#options.onProgress?.({
      ...run,
      counts: { ...this.#counts },
      requests: this.#requests,
      details: [...this.#details],
    })
  }

  #add(step: Pick<RunStep, 'counts' | 'requests'>, saved: SavedStep): void {
    for (const [count, more] of Object.entries(step.counts)) {
      this.#counts[count as keyof SyncRunCounts] += more // the keys of a Partial<SyncRunCounts>
    }
    for (const [count, more] of Object.entries(saved.stored)) {
      this.#counts[count as keyof SyncRunCounts] += more // the same
    }
    this.#requests += step.requests
    // The statement has already written these details.
    const space = MAX_DETAILS - this.#details.length
    this.#details.push(...(saved.changes ?? []).slice(0, space))
  }
}

/** One step of a run: the rows of some pages, and the cursor after them. */
export type RunStep = {
  /** At most one for each id. */
  rows: readonly RowText[]
  /** The ids that the listing contained. Null if the run does not search for those that it did not. */
  listed: readonly string[] | null
  /** Added to the counts, in addition to the outcomes of the rows. */
  counts: Partial<SyncRunCounts>
  requests: number
  cursor: RunCursor | null
  /** All details of the run, if this step added some. */
  details: readonly SyncRunDetail[] | null
}

type SavedStep = {
  /** The database clock. */
  now: FetchTime
  /** False if this process no longer holds the run. Then nothing was written. */
  held: boolean
  /** The outcomes of the rows. */
  stored: Pick<SyncRunCounts, 'created' | 'updated' | 'unchanged'>
  /** What a dry run would change. */
  changes: SyncRunDetail[] | null
}

type RunKey = Pick<ClaimedSyncRun, 'conferenceId' | 'id' | 'attempt'> & { dryRun: boolean }

/**
 * Writes rows, the listed ids and the progress of the run in one statement, so all or nothing is
 * written, and only while this process holds the run.
 */
async function saveRunStep<T extends StripeObject>(
  db: Db,
  resource: StripeResource<T>,
  run: RunKey,
  step: RunStep,
  leaseSeconds: number,
): Promise<SavedStep> {
  const ctes = (bind: Bind) => {
    const isRun = `conference_id = ${bind(run.conferenceId)} and id = ${bind(run.id)}`
    return [
      `ours as (
      select id from sync_runs
      where ${isRun} and attempt = ${bind(run.attempt)} and state = 'running' for update
    )`,
      ...rowCtes(bind, resource, run, step),
      ...listedIdsCte(bind, run, step),
      `counted as (
      update sync_runs set ${progressAssignments(bind, run, step, leaseSeconds)}
      where ${isRun} and exists (select 1 from ours)
    )`,
    ]
  }
  const changes = isCompared(run, step) ? CHANGES_SQL : 'null::jsonb'
  const [saved] = await tenantStatement<SavedStep>(
    db,
    run,
    (bind) => {
      const outcomes = outcomeCountSql(bind, run, step)
      return `with ${ctes(bind).join(', ')}
      select ${DATABASE_NOW_SQL} as now, exists (select 1 from ours) as held,
        jsonb_build_object('created', ${outcomes.created}, 'updated', ${outcomes.updated},
          'unchanged', ${outcomes.unchanged}) as stored,
        ${changes} as changes`
    },
    // A crash loses rows and cursor together. The commit that ends the run waits for the disk.
    { lazily: true },
  )
  if (saved === undefined) throw new Error('The step returned no row')
  return saved
}

function rowCtes<T extends StripeObject>(
  bind: Bind,
  resource: StripeResource<T>,
  run: RunKey,
  { rows }: RunStep,
): string[] {
  if (rows.length === 0) return []
  const { conferenceId } = run
  return [
    givenRowsCte(bind, resource, rows, 'exists (select 1 from ours)'),
    run.dryRun
      ? comparedRowsCte(bind, resource, conferenceId)
      : writtenRowsCtes(bind, resource, { conferenceId, onlyChanged: true }),
  ]
}

/**
 * SQL that remembers the listed ids, without those of rows that this statement writes: the search for deleted
 * objects finds objects whose last fetch is older than the listing, and theirs is newer.
 */
function listedIdsCte(bind: Bind, run: RunKey, { rows, listed }: RunStep): string[] {
  if (listed === null || listed.length === 0) return []
  const isWritten = run.dryRun || rows.length === 0 ? 'false' : 'id in (select id from written)'
  return [
    `unwritten as (
      select array_agg(id) as ids
      from jsonb_array_elements_text(${bind(JSON.stringify(listed))}::jsonb) as id
      where not (${isWritten})
    )`,
    `listed as (
      insert into sync_run_ids (conference_id, run_id, ids)
      select ${bind(run.conferenceId)}, ${bind(run.id)}, ids from unwritten, ours
      where ids is not null
    )`,
  ]
}

const isCompared = (run: RunKey, { rows }: RunStep) => run.dryRun && rows.length > 0

/** SQL that counts the outcomes of rows that were written, or only compared in a dry run. */
function outcomeCountSql(bind: Bind, run: RunKey, { rows }: RunStep) {
  if (rows.length === 0) return { created: '0', updated: '0', unchanged: '0' }
  const count = (source: string) => `(select count(*) from ${source})`
  if (run.dryRun) {
    return {
      created: count(`compared where outcome = 'created'`),
      updated: count(`compared where outcome = 'updated'`),
      unchanged: count(`compared where outcome in ('unchanged', 'stale')`),
    }
  }
  return {
    created: count('written where is_new'),
    updated: count('written where not is_new'),
    unchanged: `${bind(rows.length)}::bigint - ${count('written')}`,
  }
}

/** The changes that a dry run would make, as details. Null if there are none. */
const CHANGES_SQL = `(
  select jsonb_agg(jsonb_build_object('id', id, 'outcome', outcome, 'message', null))
  from compared where outcome in ('created', 'updated')
)`

function progressAssignments(bind: Bind, run: RunKey, step: RunStep, leaseSeconds: number): string {
  const added: { [count: string]: string } = { requests: bind(step.requests) }
  for (const [count, more] of Object.entries(step.counts)) added[count] = bind(more)
  for (const [count, sql] of Object.entries(outcomeCountSql(bind, run, step))) {
    added[count] = `${added[count] ?? 0} + ${sql}`
  }
  const sums = Object.entries(added).map(
    ([count, more]) => `${count} = sync_runs.${count} + ${more}`,
  )
  const cursor = step.cursor === null ? 'null' : `${bind(JSON.stringify(step.cursor))}::jsonb`
  return [
    ...sums,
    ...detailsAssignments(bind, run, step),
    `cursor = ${cursor}`,
    `lease_until = now() + make_interval(secs => ${bind(leaseSeconds)})`,
    'updated_at = now()',
  ].join(', ')
}

function detailsAssignments(bind: Bind, run: RunKey, step: RunStep): string[] {
  const { details } = step
  const given = details === null ? null : `${bind(JSON.stringify(details))}::jsonb`
  if (!isCompared(run, step)) return given === null ? [] : [`details = ${given}`]
  // The same statement also stores what the dry run found, because no other step may follow.
  const all = `${given ?? 'sync_runs.details'} || coalesce(${CHANGES_SQL}, '[]')`
  return [`details = jsonb_path_query_array(${all}, '$[0 to ${MAX_DETAILS - 1}]')`]
}
