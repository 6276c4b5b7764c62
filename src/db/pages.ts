import type { Knex } from 'knex'
import { invalidField } from '../shared/errors.ts'

export type PageQuery = { limit: number; cursor?: string | undefined }

/** A page of a list, stable under inserts, without offsets. */
export type Page<T> = { data: T[]; has_more: boolean; next_cursor: string | null }

// A cursor holds the time as Postgres prints it. A JavaScript Date has no microseconds, so rows of the
// same millisecond would be skipped or repeated.
type Position = { at: string; id: string }

const badCursor = () => invalidField('query/cursor', 'Invalid cursor for this list.')

/** The columns that order a list, qualified when the query has a join, and its direction. */
export type ListOrder = { at: string; id: string; direction?: 'asc' | 'desc' }

/** The `order by` of a list, newest first by default. */
export const orderOf = ({ at, id, direction: order = 'desc' }: ListOrder) => [
  { column: at, order },
  { column: id, order },
]

/** Every row of a page's query also has its position in the list. */
export type Positioned = { page_at: string; page_id: string }

/** Adds its position to each row of a query. */
export const withPositions = (query: Knex.QueryBuilder, { at, id }: ListOrder) =>
  query
    .select(query.client.raw(`(?? at time zone 'utc')::text || '+00' as page_at`, [at]))
    .select(query.client.raw('??::text as page_id', [id]))

/** Orders a query from the position of the cursor on, and limits its rows. */
export function fromCursor(
  query: Knex.QueryBuilder,
  cursor: string | undefined,
  order: ListOrder,
  rows: number,
): Knex.QueryBuilder {
  const ordered = query.orderBy(orderOf(order)).limit(rows)
  if (cursor === undefined) return ordered
  const { at, id } = decodeCursor(cursor)
  const isAfter = order.direction === 'asc' ? '>' : '<'
  return ordered.whereRaw(`(??, ??) ${isAfter} (?::timestamptz, ?)`, [order.at, order.id, at, id])
}

/**
 * Filters and orders a query for one page. It fetches one row more than requested to learn whether
 * there is another page.
 */
export async function fetchPage<Row extends object>(
  query: Knex.QueryBuilder,
  page: PageQuery,
  order: ListOrder = { at: 'created_at', id: 'id' },
): Promise<Page<Row>> {
  const rows = fromCursor(withPositions(query, order), page.cursor, order, page.limit + 1)
  return toPage(await fetchRows<Row & Positioned>(rows, page), page.limit)
}

/** Fetches rows from a cursor on. @throws AppError `validation_failed` for an invented cursor. */
export async function fetchRows<Row>(query: Knex.QueryBuilder, page: PageQuery): Promise<Row[]> {
  try {
    return (await query) as Row[]
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

/** The page of the rows that were fetched for it. */
export function toPage<Row extends Positioned>(rows: Row[], limit: number): Page<Row> {
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
