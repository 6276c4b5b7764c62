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

/** Which conference: its id, and how the reader names it (slug or id). */
export type DriftSubject = { conferenceId: string; conference: string }

export type DriftPage = Page<DriftLine> & {
  /** Of all pages; null from the second one on, where it would be counted again. */
  summary: DriftSummary | null
  mirror: MirrorState
}

const cursorTuple = z.tuple([z.string(), z.string(), z.string()])

type CursorPosition = { check: string } & RowPosition

function decodeCursor(cursor: string): CursorPosition {
  const bad = () => invalidField('query/cursor', 'The cursor is not one that this list gave out.')
  try {
    const json: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
    const [check, key1, key2] = cursorTuple.parse(json)
    return { check, key1, key2 }
  } catch {
    throw bad()
  }
}

const encodeCursor = (check: string, { key1, key2 }: RowPosition) =>
  Buffer.from(JSON.stringify([check, key1, key2])).toString('base64url')

const checksOf = ({ kind }: DriftQuery) =>
  ALL_CHECKS.filter((check) => kind === undefined || check.kind === kind)

function comparisonOf({ conferenceId }: DriftSubject, { purchase }: DriftQuery): Comparison {
  return { conferenceId, purchases: purchase === undefined ? null : [purchase], objects: null }
}

/**
 * One page of what differs between the purchases and the mirror: check by check, each in the order
 * of its ids.
 *
 * @throws AppError `validation_failed` for a cursor that is none of this list.
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
    throw invalidField('query/cursor', 'The cursor is not one that this list gave out.')
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
 * Whether the mirror can be compared with. `synced_at`: when the last full sync began that went
 * through to the end. Null: there was none, so what the mirror lacks says nothing; `repair` is the
 * sync that changes that.
 */
export type ResourceState = { synced_at: Date | null; repair: Repair | null }

type MirrorState = { readonly [Resource in DriftResource]: ResourceState }

/** When each resource that is compared was last synced whole. */
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

/** The resources that were never synced whole. */
function neverSyncedResources(state: MirrorState): Set<DriftResource> {
  return new Set(DRIFT_RESOURCES.filter((resource) => state[resource].synced_at === null))
}
