import type { Knex } from 'knex'
import type { Tx } from './connect.ts'
import {
  fetchPage,
  fetchRows,
  fromCursor,
  type ListOrder,
  orderOf,
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
 * All objects that contain the text, in any case, and some that do not: `id`, `listed_at` (the time of their
 * creation) and `conference_id`. Null if the text is too short for the index.
 *
 * @param where - the conference, or several: the index is asked once for each.
 */
export function searchCandidates(
  trx: Tx,
  where: string | readonly string[],
  kind: 'purchase' | 'sponsor' | 'assignment',
  text: string,
): Knex.QueryBuilder | null {
  if (Array.from(text).length < MIN_LENGTH) return null
  const columns = ['t.id', 't.listed_at', 't.conference_id']
  const candidates = trx('text_search as t').where({ 't.kind': kind })
  if (typeof where === 'string') {
    return candidates
      .where({ 't.conference_id': where })
      .whereRaw('t.grams @> text_grams(?, ?)', [`${where}${kind}`, text])
      .select(columns)
  }
  const ofOne = candidates
    .whereRaw('t.conference_id = c.id and t.grams @> text_grams(c.id || ?, ?)', [kind, text])
    .select(columns)
  return trx
    .queryBuilder()
    .from(
      trx.raw('unnest(cast(? as text[])) as c (id) cross join lateral ? as t', [[...where], ofOne]),
    )
    .select(columns)
}

/** An object's entry in the index. */
export type IndexedText = {
  id: string
  /** Its time in the list, as Postgres prints it: a JavaScript Date has no microseconds. */
  listedAt: string
  text: string
}

/** Writes the entries of assignments. Triggers write those of purchases and sponsors. */
export async function indexAssignments(
  trx: Tx,
  conferenceId: string,
  entries: readonly IndexedText[],
): Promise<void> {
  await trx.raw(
    `insert into text_search (conference_id, kind, id, listed_at, grams)
     select :conferenceId, 'assignment', e.id, e.listed_at, text_grams(:salt, e.text)
     from unnest(cast(:ids as text[]), cast(:times as timestamptz[]), cast(:texts as text[]))
       as e (id, listed_at, text)
     on conflict (conference_id, kind, id)
       do update set listed_at = excluded.listed_at, grams = excluded.grams`,
    {
      conferenceId,
      salt: `${conferenceId}assignment`,
      ids: entries.map(({ id }) => id),
      times: entries.map(({ listedAt }) => listedAt),
      texts: entries.map(({ text }) => text),
    },
  )
}

/** Deletes the entries of assignments that no longer exist. */
export async function unindexAssignments(
  trx: Tx,
  conferenceId: string,
  ids: readonly string[],
): Promise<void> {
  await trx('text_search')
    .where({ conference_id: conferenceId, kind: 'assignment' })
    .whereIn('id', [...ids])
    .delete()
}

export type Search = {
  /** The list without the text. It selects no columns. */
  list: Knex.QueryBuilder
  /** The alias of the list's table. */
  alias: string
  columns: readonly string[]
  order: ListOrder
  /** The columns that `match` compares with the text. */
  matched: readonly string[]
  /** Adds the condition on the text. */
  match: (query: Knex.QueryBuilder) => Knex.QueryBuilder
  /**
   * Columns `id`, `listed_at` and `conference_id` of rows among which all matches are. Null: every row must
   * be read.
   */
  candidates: Knex.QueryBuilder | null
  /** The text is a whole id, so few rows contain it. */
  isWholeId?: boolean
}

// Reading them takes about as long as reading a page of candidates.
const NEXT_ROWS = 1_200

/**
 * A page of those rows of a list that contain a text. A text that many rows contain is found within the next
 * rows of the list. For any other text, the index finds few candidates, which are sorted before any is
 * looked up. Both ways find the same rows in the same order. For a whole id, only the index is asked.
 */
export async function fetchSearchPage<Row extends object>(
  search: Search,
  page: PageQuery,
): Promise<Page<Row>> {
  const { list, alias, columns, order, match, candidates } = search
  if (candidates === null) {
    return fetchPage<Row>(match(list.clone().select([...columns])), page, order)
  }
  if (search.isWholeId !== true) {
    const near = await fetchFromNextRows<Row>(search, page)
    if (near !== null) return near
  }

  // Postgres keeps the order of a sub-select and can neither merge it nor move its limit. So it looks for the
  // candidates one by one, in the order of the list, until the page is full.
  const { client } = list
  const { direction = 'desc' } = order
  const inOrder = client
    .queryBuilder()
    .from(candidates.as('candidates'))
    .orderBy(orderOf({ at: 'listed_at', id: 'id', direction }))
  const one = list
    .clone()
    .select(`${alias}.*`)
    .whereRaw('?? = c.id and ?? = c.conference_id', [order.id, `${alias}.conference_id`])
    .limit(1)
  const found = match(client.queryBuilder().from(inOrder.as('c')))
    .joinRaw(client.raw('cross join lateral ? as ??', [one, alias]))
    .select([...columns])
  return fetchPage<Row>(found, page, { at: 'c.listed_at', id: 'c.id', direction })
}

/** The page, if the next rows of the list contain all of it. */
async function fetchFromNextRows<Row extends object>(
  { list, alias, columns, matched, order, match }: Search,
  page: PageQuery,
): Promise<Page<Row> | null> {
  const { client } = list
  const matching = (from: Knex.QueryBuilder) =>
    match(withPositions(from, order)).select([...columns])

  // Copying the whole rows took a quarter of the statement's time.
  const read = [...new Set([order.at, order.id, ...columns, ...matched])]
  const next = fromCursor(list.clone().select(read), page.cursor, order, NEXT_ROWS)
  const among = matching(client.queryBuilder().withMaterialized('next', next))
    .from(`next as ${alias}`)
    .select(client.raw('(select count(*) from next) as seen'))
  const rows = await fetchRows<Row & Positioned & { seen: number }>(
    fromCursor(among, undefined, order, page.limit + 1),
    page,
  )
  const isWholeList = rows[0] !== undefined && rows[0].seen < NEXT_ROWS
  return rows.length > page.limit || isWholeList ? toPage(rows, page.limit) : null
}
