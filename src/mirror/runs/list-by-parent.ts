import { isMissing } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-object.ts'
import { type FetchedPage, type ListingReader, PAGE_SIZE } from './list-by-window.ts'

/** Parents whose lists are read at the same time. */
const CONCURRENCY = 6

/** Many parents have nothing in their lists; progress is stored at least this often. */
const MAX_PARENTS_PER_PAGE = 50

type FetchedList<T> = { parent: string; objects: T[]; asOf: number; requests: number }

/**
 * Reads a listing that there is one of for each parent, in the order of the parents' ids, some of
 * them ahead. Several short lists make one page.
 *
 * @param parents ids after a given one, in order; none when there are no more.
 */
export async function* listByParent<T extends StripeObject>(
  walk: ListingReader<T>,
  parents: (after: string | null) => Promise<string[]>,
  start: string | null,
): AsyncGenerator<FetchedPage<T>> {
  let gathered: FetchedList<T>[] = []
  for await (const arrival of fetchLists(walk, parents, start)) {
    gathered.push(arrival)
    const objects = gathered.reduce((sum, { objects: some }) => sum + some.length, 0)
    if (objects < PAGE_SIZE && gathered.length < MAX_PARENTS_PER_PAGE) continue
    yield toPage(gathered, walk.now(), { done: false, parent: arrival.parent })
    gathered = []
  }
  yield toPage(gathered, walk.now(), { done: true, parent: null })
}

async function* fetchLists<T extends StripeObject>(
  walk: ListingReader<T>,
  parents: (after: string | null) => Promise<string[]>,
  start: string | null,
): AsyncGenerator<FetchedList<T>> {
  let after = start
  const ahead: Promise<FetchedList<T>>[] = []
  for (;;) {
    const ids = await parents(after)
    for (const id of ids) {
      const arrival = fetchList(walk, id)
      arrival.catch(() => {})
      ahead.push(arrival)
      const next = ahead.length < CONCURRENCY ? undefined : ahead.shift()
      if (next !== undefined) yield await next
    }
    after = ids.at(-1) ?? null
    if (after === null) break
  }
  for (const arrival of ahead) yield await arrival
}

/** The whole list of one parent: such lists are short. */
async function fetchList<T extends StripeObject>(
  walk: ListingReader<T>,
  parent: string,
): Promise<FetchedList<T>> {
  let objects: T[] = []
  let after: string | undefined
  let asOf = walk.now()
  for (let requests = 1; ; requests += 1) {
    const params = { limit: PAGE_SIZE, ...(after === undefined ? {} : { starting_after: after }) }
    try {
      const page = await walk.fetch({ parent, params })
      objects.push(...page.data)
      after = page.data.at(-1)?.id
      if (!page.has_more || after === undefined) return { parent, objects, asOf, requests }
    } catch (error) {
      if (!isMissing(error)) throw error
      // The parent itself was deleted meanwhile; else the object behind the cursor was.
      if (after === undefined) return { parent, objects: [], asOf, requests }
      objects = []
      after = undefined
      asOf = walk.now()
    }
  }
}

function toPage<T extends StripeObject>(
  arrivals: FetchedList<T>[],
  now: number,
  position: { done: boolean; parent: string | null },
): FetchedPage<T> {
  return {
    objects: arrivals.flatMap(({ objects }) => objects),
    // The oldest of them holds for all.
    asOf: Math.min(now, ...arrivals.map(({ asOf }) => asOf)),
    requests: arrivals.reduce((sum, { requests }) => sum + requests, 0),
    advance: () => ({ by: 'parents', ...position }),
  }
}
