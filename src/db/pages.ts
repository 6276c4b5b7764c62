import type { Knex } from 'knex'
import { invalidField } from '../shared/errors.ts'

export type PageQuery = { limit: number; cursor?: string | undefined }

/** A page of a list: newest first, stable under inserts, without offsets. */
export type Page<T> = { data: T[]; has_more: boolean; next_cursor: string | null }

// A cursor holds the time as Postgres prints it. A JavaScript Date has no microseconds, so rows of the
// same millisecond would be skipped or repeated.
type Position = { at: string; id: string }

const badCursor = () => invalidField('query/cursor', 'Invalid cursor for this list.')

/** Every row of a paged query also has its position in the list. */
type Positioned = { page_at: string; page_id: string }

/**
 * Filters and orders a query for one page. It fetches one row more than requested to learn whether
 * there is another page.
 *
 * @param columns the time and id columns that order the list, qualified when the query has a join.
 */
export async function fetchPage<Row extends object>(
  query: Knex.QueryBuilder,
  page: PageQuery,
  columns: { at: string; id: string } = { at: 'created_at', id: 'id' },
): Promise<Page<Row>> {
  const client = query.client
  const paged = query
    .select(client.raw(`(?? at time zone 'utc')::text || '+00' as page_at`, [columns.at]))
    .select(client.raw('??::text as page_id', [columns.id]))
    .orderBy([
      { column: columns.at, order: 'desc' },
      { column: columns.id, order: 'desc' },
    ])
    .limit(page.limit + 1)
  if (page.cursor !== undefined) {
    const { at, id } = decodeCursor(page.cursor)
    void paged.whereRaw('(??, ??) < (?::timestamptz, ?)', [columns.at, columns.id, at, id])
  }
  try {
    return toPage((await paged) as (Row & Positioned)[], page.limit)
  } catch (error) {
    throw page.cursor !== undefined && isDataException(error) ? badCursor() : error
  }
}

function decodeCursor(cursor: string): Position {
  const [at, id, ...rest] = Buffer.from(cursor, 'base64url').toString('utf8').split('|')
  const isTime = at !== undefined && /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00$/.test(at)
  if (!isTime || id === undefined || rest.length > 0) {
    throw badCursor()
  }
  return { at, id: id.replaceAll('%7C', '|').replaceAll('%25', '%') }
}

// Class 22 is "data exception": an impossible time, or a wrong type of id. Only an invented cursor
// causes it. https://www.postgresql.org/docs/current/errcodes-appendix.html
function isDataException(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('22')
}

function toPage<Row extends Positioned>(rows: Row[], limit: number): Page<Row> {
  const data = rows.slice(0, limit)
  const hasMore = rows.length > limit
  const last = data.at(-1)
  const next = hasMore && last !== undefined ? encodeCursor(last) : null
  return { data, has_more: hasMore, next_cursor: next }
}

// Stripe lets users choose some ids, so an id may contain the separator.
function encodeCursor({ page_at: at, page_id: id }: Positioned): string {
  const escaped = id.replaceAll('%', '%25').replaceAll('|', '%7C')
  return Buffer.from(`${at}|${escaped}`).toString('base64url')
}

/** The page with every row mapped to its API object. */
export function mapPage<Row, T>(page: Page<Row>, toBody: (row: Row) => T): Page<T> {
  return { ...page, data: page.data.map(toBody) }
}
