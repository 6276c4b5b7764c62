import type { Page, PageQuery } from '../http/pages.ts'
import { invalidField } from '../shared/errors.ts'

/** The unique integer column that orders a list. */
export type Keyset = { column: string; direction: 'asc' | 'desc' }

function positionOf(cursor: string): number {
  const text = Buffer.from(cursor, 'base64url').toString('latin1')
  if (!/^\d{1,15}$/.test(text)) {
    throw invalidField('query/cursor', 'The cursor is not one that this list gave out.')
  }
  return Number(text)
}

/**
 * One page of a list that is ordered by a unique integer. Reads one row more than asked for, which
 * tells whether there is another page.
 *
 * @param read gets the end of the SQL, from `and` to `limit`, with its named bindings.
 * @param numberOf the value of the keyset's column.
 */
export async function readNumberPage<T>(
  page: PageQuery,
  { column, direction }: Keyset,
  read: (sql: string, bindings: Record<string, number>) => Promise<T[]>,
  numberOf: (item: T) => number,
): Promise<Page<T>> {
  const { cursor, limit } = page
  const after =
    cursor === undefined ? '' : `and ${column} ${direction === 'asc' ? '>' : '<'} :after`
  const found = await read(`${after} order by ${column} ${direction} limit :rows`, {
    rows: limit + 1,
    ...(cursor === undefined ? {} : { after: positionOf(cursor) }),
  })
  const data = found.slice(0, limit)
  const last = found.length > limit ? data.at(-1) : undefined
  return {
    data,
    has_more: last !== undefined,
    next_cursor:
      last === undefined ? null : Buffer.from(String(numberOf(last))).toString('base64url'),
  }
}
