import { z } from 'zod'
import type { Tx } from '../../db/connect.ts'
import type { Page, PageQuery } from '../../http/pages.ts'
import { invalidField } from '../../shared/errors.ts'
import { ALL_CHECKS } from './checks/all-checks.ts'
import type { DriftCheck } from './drift-check.ts'
import { type DriftKind, type DriftLine, type DriftSummary, NO_DRIFT } from './drift-line.ts'
import { type MirrorState, mirrorState, neverSynced } from './mirror-state.ts'
import { type After, type Comparison, countOf, rowsOf, toLine } from './run-check.ts'

export type DriftQuery = { kind?: DriftKind | undefined; purchase?: string | undefined }

/** Which conference: its id, and how the reader names it (slug or id). */
export type DriftSubject = { conferenceId: string; conference: string }

export type DriftPage = Page<DriftLine> & {
  /** Of all pages; null from the second one on, where it would be counted again. */
  summary: DriftSummary | null
  mirror: MirrorState
}

const position = z.tuple([z.string(), z.string(), z.string()])

type Position = { check: string } & After

function decode(cursor: string): Position {
  const bad = () => invalidField('query/cursor', 'The cursor is not one that this list gave out.')
  try {
    const json: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
    const [check, key1, key2] = position.parse(json)
    return { check, key1, key2 }
  } catch {
    throw bad()
  }
}

const encode = (check: string, { key1, key2 }: After) =>
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
export async function pageDrift(
  trx: Tx,
  subject: DriftSubject,
  query: DriftQuery,
  { limit, cursor }: PageQuery,
): Promise<DriftPage> {
  const mirror = await mirrorState(trx, subject.conferenceId, subject.conference)
  const scope = {
    conference: subject.conference,
    comparedWith: 'mirror',
    neverSynced: neverSynced(mirror),
  } as const
  const from = cursor === undefined ? null : decode(cursor)
  const found = await collect(trx, checksFrom(query, from), comparisonOf(subject, query), {
    from,
    limit: limit + 1,
  })
  const rows = found.slice(0, limit)
  const last = rows.at(-1)
  const hasMore = found.length > limit
  return {
    data: rows.map(({ check, row }) => toLine(check, row, scope)),
    has_more: hasMore,
    next_cursor: hasMore && last !== undefined ? encode(last.check.name, last.row) : null,
    summary: cursor === undefined ? await countDrift(trx, subject, query) : null,
    mirror,
  }
}

function checksFrom(query: DriftQuery, from: Position | null): readonly DriftCheck[] {
  const checks = checksOf(query)
  if (from === null) return checks
  const first = checks.findIndex(({ name }) => name === from.check)
  if (first === -1) {
    throw invalidField('query/cursor', 'The cursor is not one that this list gave out.')
  }
  return checks.slice(first)
}

async function collect(
  trx: Tx,
  checks: readonly DriftCheck[],
  comparison: Comparison,
  { from, limit }: { from: Position | null; limit: number },
) {
  const found: { check: DriftCheck; row: Awaited<ReturnType<typeof rowsOf>>[number] }[] = []
  for (const check of checks) {
    const after = check.name === from?.check ? from : null
    const rows = await rowsOf(trx, check, comparison, { after, limit: limit - found.length })
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
    summary[check.kind] += await countOf(trx, check, comparisonOf(subject, query))
  }
  return summary
}
