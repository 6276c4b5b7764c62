import { z } from 'zod'
import type { Tx } from '../../db/connect.ts'
import type { Page, PageQuery } from '../../db/pages.ts'
import { invalidField } from '../../shared/errors.ts'
import {
  type Comparison,
  countDriftRows,
  type DriftCheck,
  queryDriftRows,
  type RowPosition,
  toDriftLine,
} from './drift-check.ts'
import {
  DRIFT_RESOURCES,
  type DriftKind,
  type DriftLine,
  type DriftResource,
  type DriftSummary,
  NO_DRIFT,
  type Repair,
  syncRepair,
} from './drift-line.ts'
import { ALL_CHECKS } from './purchase-drift-checks.ts'

export type DriftQuery = { kind?: DriftKind | undefined; purchase?: string | undefined }

/** A conference: its id, and the slug or id that the caller gave. */
export type DriftSubject = { conferenceId: string; conference: string }

export type DriftPage = Page<DriftLine> & {
  /** Counts for all pages. Only on the first page, to count once. */
  summary: DriftSummary | null
  mirror: MirrorState
}

const cursorTuple = z.tuple([z.string(), z.string(), z.string()])

type CursorPosition = { check: string } & RowPosition

function decodeCursor(cursor: string): CursorPosition {
  try {
    const json: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
    const [check, key1, key2] = cursorTuple.parse(json)
    return { check, key1, key2 }
  } catch {
    throw invalidCursor()
  }
}

const invalidCursor = () => invalidField('query/cursor', 'Invalid cursor for this list.')

const encodeCursor = (check: string, { key1, key2 }: RowPosition) =>
  Buffer.from(JSON.stringify([check, key1, key2])).toString('base64url')

const checksOf = ({ kind }: DriftQuery) =>
  ALL_CHECKS.filter((check) => kind === undefined || check.kind === kind)

function comparisonOf({ conferenceId }: DriftSubject, { purchase }: DriftQuery): Comparison {
  return { conferenceId, purchases: purchase === undefined ? null : [purchase], objects: null }
}

/**
 * One page of the differences between the purchases and the mirror, ordered by check and id.
 *
 * @throws AppError `validation_failed` for an invalid cursor.
 */
export async function listMirrorDrift(
  trx: Tx,
  subject: DriftSubject,
  query: DriftQuery,
  { limit, cursor }: PageQuery,
): Promise<DriftPage> {
  const mirror = await mirrorState(trx, subject.conferenceId, subject.conference)
  const scope = {
    conference: subject.conference,
    comparedWith: 'mirror',
    neverSynced: neverSyncedResources(mirror),
  } as const
  const from = cursor === undefined ? null : decodeCursor(cursor)
  const found = await collectRows(trx, checksFrom(query, from), comparisonOf(subject, query), {
    from,
    limit: limit + 1,
  })
  const rows = found.slice(0, limit)
  const last = rows.at(-1)
  const hasMore = found.length > limit
  return {
    data: rows.map(({ check, row }) => toDriftLine(check, row, scope)),
    has_more: hasMore,
    next_cursor: hasMore && last !== undefined ? encodeCursor(last.check.name, last.row) : null,
    summary: cursor === undefined ? await countDrift(trx, subject, query) : null,
    mirror,
  }
}

function checksFrom(query: DriftQuery, from: CursorPosition | null): readonly DriftCheck[] {
  const checks = checksOf(query)
  if (from === null) return checks
  const first = checks.findIndex(({ name }) => name === from.check)
  if (first === -1) {
    throw invalidCursor()
  }
  return checks.slice(first)
}

async function collectRows(
  trx: Tx,
  checks: readonly DriftCheck[],
  comparison: Comparison,
  { from, limit }: { from: CursorPosition | null; limit: number },
) {
  const found: { check: DriftCheck; row: Awaited<ReturnType<typeof queryDriftRows>>[number] }[] = []
  for (const check of checks) {
    const after = check.name === from?.check ? from : null
    const rows = await queryDriftRows(trx, check, comparison, {
      after,
      limit: limit - found.length,
    })
    found.push(...rows.map((row) => ({ check, row })))
    if (found.length === limit) break
  }
  return found
}

async function countDrift(
  trx: Tx,
  subject: DriftSubject,
  query: DriftQuery,
): Promise<DriftSummary> {
  const summary = { ...NO_DRIFT }
  for (const check of checksOf(query)) {
    summary[check.kind] += await countDriftRows(trx, check, comparisonOf(subject, query))
  }
  return summary
}

/**
 * Whether a resource of the mirror is complete enough to compare with. `synced_at`: the start of the last
 * successful full sync. If it is null, missing rows mean nothing, and `repair` is the sync to run.
 */
export type ResourceState = { synced_at: Date | null; repair: Repair | null }

type MirrorState = { readonly [Resource in DriftResource]: ResourceState }

async function mirrorState(
  trx: Tx,
  conferenceId: string,
  conference: string,
): Promise<MirrorState> {
  const rows = await trx('sync_runs')
    .where({ conference_id: conferenceId, state: 'succeeded', dry_run: false })
    .whereIn('resource', [...DRIFT_RESOURCES])
    .whereNull('ids')
    .whereNull('since')
    .groupBy('resource')
    .select<{ resource: string; synced_at: Date }[]>(
      'resource',
      trx.raw('max(listed_from) as synced_at'),
    )
  const state = (resource: DriftResource): ResourceState => {
    const syncedAt = rows.find((row) => row.resource === resource)?.synced_at ?? null
    const repair = syncedAt === null ? syncRepair(conference, resource, null) : null
    return { synced_at: syncedAt, repair }
  }
  return {
    'payment-intents': state('payment-intents'),
    refunds: state('refunds'),
    disputes: state('disputes'),
    'checkout-sessions': state('checkout-sessions'),
  }
}

/** The resources without a successful full sync. */
function neverSyncedResources(state: MirrorState): Set<DriftResource> {
  return new Set(DRIFT_RESOURCES.filter((resource) => state[resource].synced_at === null))
}
