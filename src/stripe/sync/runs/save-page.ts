import type { Db } from '../../../db/connect.ts'
import { literal, longLiteral, tenantStatement } from '../../../db/tenant-statement.ts'
import type { MirrorRow } from '../mirror-row.ts'
import { comparedRows, givenRows, writtenAndFollowing } from '../mirror-statement.ts'
import { CLOCK, type ReadingTime } from '../reading-time.ts'
import type { StripeObject } from '../stripe-object.ts'
import type { StripeResource } from '../stripe-resource.ts'
import type { RunCursor } from './run-cursor.ts'
import type { ClaimedRun } from './run-store.ts'
import { MOST_DETAILS, type RunCounts, type RunDetail } from './sync-run.ts'

/** One step of a run: what is stored of a page, and where the run stands after it. */
export type RunStep = {
  rows: readonly MirrorRow[]
  asOf: ReadingTime
  /** The ids that the listing showed; null where nothing will ever be missed. */
  listed: readonly string[] | null
  /** What is added to the counts, beside what storing the rows adds. */
  counts: Partial<RunCounts>
  requests: number
  cursor: RunCursor | null
  /** All details so far, when this step added some. */
  details: readonly RunDetail[] | null
}

export type SavedStep = {
  /** The database's clock. */
  now: ReadingTime
  /** False when the run is another process's by now, or was cancelled; nothing was written then. */
  held: boolean
  /** What storing the rows has added to the counts. */
  stored: Pick<RunCounts, 'created' | 'updated' | 'unchanged'>
  /** What a dry run would change. */
  changes: RunDetail[] | null
}

type Run = Pick<ClaimedRun, 'conferenceId' | 'id' | 'attempt'> & { dryRun: boolean }

/**
 * Stores a page, the ids that it listed and the run's progress with one statement and one round
 * trip: it is done whole or not at all, and only while the run is ours.
 */
export async function saveStep<T extends StripeObject>(
  db: Db,
  resource: StripeResource<T>,
  run: Run,
  step: RunStep,
  leaseSeconds: number,
): Promise<SavedStep> {
  const mine = `conference_id = ${literal(run.conferenceId)} and id = ${literal(run.id)}`
  const ctes = [
    `ours as (
      select id from sync_runs
      where ${mine} and attempt = ${literal(run.attempt)} and state = 'running' for update
    )`,
    ...storing(resource, run, step),
    ...listing(run, step),
    `counted as (
      update sync_runs set ${progress(run, step, leaseSeconds)}
      where ${mine} and exists (select 1 from ours)
    )`,
  ]
  const outcomes = outcomesOf(run, step)
  const changes = isCompared(run, step) ? CHANGES : 'null::jsonb'
  const [saved] = await tenantStatement<SavedStep>(
    db,
    run,
    `with ${ctes.join(', ')}
    select ${CLOCK} as now, exists (select 1 from ours) as held,
      jsonb_build_object('created', ${outcomes.created}, 'updated', ${outcomes.updated},
        'unchanged', ${outcomes.unchanged}) as stored,
      ${changes} as changes`,
    // Rows and cursor are lost together or not at all, and the run's end waits for the disk.
    { lazily: true },
  )
  if (saved === undefined) throw new Error('The step returned no row')
  return saved
}

function storing<T extends StripeObject>(
  resource: StripeResource<T>,
  run: Run,
  { rows, asOf }: RunStep,
): string[] {
  if (rows.length === 0) return []
  const given = givenRows(resource, rows, 'exists (select 1 from ours)')
  const write = { conferenceId: run.conferenceId, asOf, sparing: true }
  return [given, run.dryRun ? comparedRows(resource, write) : writtenAndFollowing(resource, write)]
}

function listing(run: Run, { listed }: RunStep): string[] {
  if (listed === null || listed.length === 0) return []
  const ids = `jsonb_array_elements_text(${longLiteral(JSON.stringify(listed))}::jsonb)`
  return [
    `listed as (
      insert into sync_run_ids (conference_id, run_id, ids)
      select ${literal(run.conferenceId)}, ${literal(run.id)}, array(select ${ids}) from ours
    )`,
  ]
}

// What is counted of the rows, by whether they were written or only compared.
const OUTCOMES = {
  written: {
    created: '(select count(*) from written where is_new)',
    updated: '(select count(*) from written where not is_new)',
    unchanged: '(select count(*) from given) - (select count(*) from written)',
  },
  compared: {
    created: `(select count(*) from compared where outcome = 'created')`,
    updated: `(select count(*) from compared where outcome = 'updated')`,
    unchanged: `(select count(*) from compared where outcome in ('unchanged', 'stale'))`,
  },
  nothing: { created: '0', updated: '0', unchanged: '0' },
} as const

/** What a dry run would change, as details; null for nothing. */
const CHANGES = `(
  select jsonb_agg(jsonb_build_object('id', id, 'outcome', outcome, 'message', null))
  from compared where outcome in ('created', 'updated')
)`

const isCompared = (run: Run, { rows }: RunStep) => run.dryRun && rows.length > 0

function outcomesOf(run: Run, { rows }: RunStep) {
  if (rows.length === 0) return OUTCOMES.nothing
  return OUTCOMES[run.dryRun ? 'compared' : 'written']
}

function progress(run: Run, step: RunStep, leaseSeconds: number): string {
  const added: { [count: string]: string } = { requests: literal(step.requests) }
  for (const [count, more] of Object.entries(step.counts)) added[count] = literal(more)
  for (const [count, sql] of Object.entries(outcomesOf(run, step))) {
    added[count] = `${added[count] ?? 0} + ${sql}`
  }
  const sums = Object.entries(added).map(
    ([count, more]) => `${count} = sync_runs.${count} + ${more}`,
  )
  const cursor = step.cursor === null ? 'null' : `${literal(JSON.stringify(step.cursor))}::jsonb`
  return [
    ...sums,
    ...detailsOf(run, step),
    `cursor = ${cursor}`,
    `lease_until = now() + make_interval(secs => ${literal(leaseSeconds)})`,
    'updated_at = now()',
  ].join(', ')
}

function detailsOf(run: Run, step: RunStep): string[] {
  const { details } = step
  const given = details === null ? null : `${literal(JSON.stringify(details))}::jsonb`
  if (!isCompared(run, step)) return given === null ? [] : [`details = ${given}`]
  // What a dry run finds is kept by the statement that finds it, since no other may follow.
  const all = `${given ?? 'sync_runs.details'} || coalesce(${CHANGES}, '[]')`
  return [`details = jsonb_path_query_array(${all}, '$[0 to ${MOST_DETAILS - 1}]')`]
}
