import { isMissing } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import type { FetchTime } from '../fetch-time.ts'
import { type FetchedPage, type ListingReader, PAGE_SIZE } from './list-by-window.ts'

/** Parents whose lists are read in parallel. */
const CONCURRENCY = 6

/** Many lists are empty. Progress is saved after this number of parents at the latest. */
const MAX_PARENTS_PER_PAGE = 50

type FetchedList<T> = { parent: string; objects: T[]; asOf: FetchTime; requests: number }

/**
 * Reads one list for each parent, in the order of the parents' ids, some of them ahead. Combines short
 * lists into one page.
 *
 * @param parents returns the ids after a given id, in order; an empty array at the end.
 */
export async function* listByParent<T extends StripeObject>(
  reader: ListingReader<T>,
  parents: (after: string | null) => Promise<string[]>,
  start: string | null,
): AsyncGenerator<FetchedPage<T>> {
  let lists: FetchedList<T>[] = []
  for await (const list of fetchLists(reader, parents, start)) {
    lists.push(list)
    const objects = lists.reduce((sum, { objects: some }) => sum + some.length, 0)
    if (objects < PAGE_SIZE && lists.length < MAX_PARENTS_PER_PAGE) continue
    yield toPage(lists, reader.now(), { done: false, parent: list.parent })
    lists = []
  }
  yield toPage(lists, reader.now(), { done: true, parent: null })
}

async function* fetchLists<T extends StripeObject>(
  reader: ListingReader<T>,
  parents: (after: string | null) => Promise<string[]>,
  start: string | null,
): AsyncGenerator<FetchedList<T>> {
  let after = start
  const ahead: Promise<FetchedList<T>>[] = []
  for (;;) {
    const ids = await parents(after)
    for (const id of ids) {
      const list = fetchList(reader, id)
      // Awaited later; without a handler a failure would end the process until then.
      list.catch(() => {})
      ahead.push(list)
      const next = ahead.length < CONCURRENCY ? undefined : ahead.shift()
      if (next !== undefined) yield await next
    }
    after = ids.at(-1) ?? null
    if (after === null) break
  }
  for (const list of ahead) yield await list
}

/** Fetches the whole list of one parent. Such lists are short. */
async function fetchList<T extends StripeObject>(
  reader: ListingReader<T>,
  parent: string,
): Promise<FetchedList<T>> {
  let objects: T[] = []
  let after: string | undefined
  let asOf = reader.now()
  for (let requests = 1; ; requests += 1) {
    const params = { limit: PAGE_SIZE, ...(after === undefined ? {} : { starting_after: after }) }
    try {
      const page = await reader.fetch({ parent, params })
      objects.push(...page.data)
      after = page.data.at(-1)?.id
      if (!page.has_more || after === undefined) return { parent, objects, asOf, requests }
    } catch (error) {
      if (!isMissing(error)) throw error
      // Without a position the parent was deleted; otherwise the object at the position was.
      if (after === undefined) return { parent, objects: [], asOf, requests }
      objects = []
      after = undefined
      asOf = reader.now()
    }
  }
}

function toPage<T extends StripeObject>(
  lists: FetchedList<T>[],
  now: FetchTime,
  position: { done: boolean; parent: string | null },
): FetchedPage<T> {
  return {
    objects: lists.flatMap(({ objects }) => objects),
    // The earliest fetch time is valid for all lists.
    asOf: Math.min(now, ...lists.map(({ asOf }) => asOf)),
    requests: lists.reduce((sum, { requests }) => sum + requests, 0),
    advance: () => ({ by: 'parents', ...position }),
  }
}
