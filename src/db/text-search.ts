import type { Knex } from 'knex'
import type { Tx } from './connect.ts'
import {
  fetchPage,
  fetchRows,
  fromCursor,
  type ListOrder,
  type Page,
  type PageQuery,
  type Positioned,
  toPage,
  withPositions,
} from './pages.ts'

// The index has parts of three characters (migrations/0060_text_search.ts).
/** In code points, as Postgres counts. */
const MIN_LENGTH = 3

/** The pattern of `like` for texts that contain this one: `%` and `_` in it are not wildcards. */
export const containing = (text: string) => `%${text.replace(/[\\%_]/g, '\\$&')}%`

/**
 * The ids of all objects that contain the text, in any case, and of some that do not. Null if the text is
 * too short for the index.
 */
export function searchCandidates(
  trx: Tx,
  conferenceId: string,
  kind: 'purchase' | 'sponsor',
  text: string,
): Knex.QueryBuilder | null {
  if (Array.from(text).length < MIN_LENGTH) return null
  return trx('text_search')
    .where({ conference_id: conferenceId, kind })
    .whereRaw('grams @> text_grams(?, ?)', [`${conferenceId}${kind}`, text])
    .select('id')
}

export type Search = {
  /** The list without the text. It selects no columns. */
  list: Knex.QueryBuilder
  /** The alias of the list's table. */
  alias: string
  columns: readonly string[]
  order: ListOrder
  /** Adds the condition on the text. */
  match: (query: Knex.QueryBuilder) => Knex.QueryBuilder
  /** The ids among which all matches are. Null: every row must be read. */
  candidates: Knex.QueryBuilder | null
}

// Reading them takes about as long as reading a page of candidates.
const NEXT_ROWS = 2_000

/**
 * A page of those rows of a list that contain a text. A text that many rows contain is found within the next
 * rows of the list, in its order. For any other text, the index finds few candidates, which are sorted.
 */
export async function fetchSearchPage<Row extends object>(
  search: Search,
  page: PageQuery,
): Promise<Page<Row>> {
  const { list, alias, columns, order, match, candidates } = search
  if (candidates === null) {
    return fetchPage<Row>(match(list.clone().select([...columns])), page, order)
  }
  const { client } = list
  const matching = (from: Knex.QueryBuilder) =>
    match(withPositions(from, order)).select([...columns])

  const next = fromCursor(list.clone().select(`${alias}.*`), page.cursor, order, NEXT_ROWS)
  const among = matching(client.queryBuilder().withMaterialized('next', next))
    .from(`next as ${alias}`)
    .select(client.raw('(select count(*) from next) as seen'))
  const rows = await fetchRows<Row & Positioned & { seen: number }>(
    fromCursor(among, undefined, order, page.limit + 1),
    page,
  )
  const isWholeList = rows[0] !== undefined && rows[0].seen < NEXT_ROWS
  if (rows.length > page.limit || isWholeList) return toPage(rows, page.limit)

  // `limit` keeps Postgres from walking the list instead: it cannot know that the matches are far away.
  const one = list.clone().select(`${alias}.*`).whereRaw('?? = c.id', [order.id]).limit(1)
  const found = matching(client.queryBuilder().withMaterialized('candidates', candidates))
    .from('candidates as c')
    .joinRaw(client.raw('cross join lateral ? as ??', [one, alias]))
  const all = fromCursor(found, page.cursor, order, page.limit + 1)
  return toPage(await fetchRows<Row & Positioned>(all, page), page.limit)
}
