import { isMissing } from '../../stripe-errors.ts'
import type { StripeObject } from '../stripe-object.ts'
import { type FetchedPage, PAGE, type Walk } from './fetched-page.ts'

/** Parents whose lists are read at the same time. */
const AT_ONCE = 6

/** Many parents have nothing in their lists; progress is stored at least this often. */
const PARENTS_A_STEP = 50

type Arrival<T> = { parent: string; objects: T[]; asOf: number; requests: number }

/**
 * Reads a listing that there is one of for each parent, in the order of the parents' ids, some of
 * them ahead. Several short lists make one page.
 *
 * @param parents ids after a given one, in order; none when there are no more.
 */
export async function* walkParents<T extends StripeObject>(
  walk: Walk<T>,
  parents: (after: string | null) => Promise<string[]>,
  start: string | null,
): AsyncGenerator<FetchedPage<T>> {
  let gathered: Arrival<T>[] = []
  for await (const arrival of arrivals(walk, parents, start)) {
    gathered.push(arrival)
    const objects = gathered.reduce((sum, { objects: some }) => sum + some.length, 0)
    if (objects < PAGE && gathered.length < PARENTS_A_STEP) continue
    yield toPage(gathered, walk.now(), { done: false, parent: arrival.parent })
    gathered = []
  }
  yield toPage(gathered, walk.now(), { done: true, parent: null })
}

async function* arrivals<T extends StripeObject>(
  walk: Walk<T>,
  parents: (after: string | null) => Promise<string[]>,
  start: string | null,
): AsyncGenerator<Arrival<T>> {
  let after = start
  const ahead: Promise<Arrival<T>>[] = []
  for (;;) {
    const ids = await parents(after)
    for (const id of ids) {
      const arrival = fetchAll(walk, id)
      arrival.catch(() => {})
      ahead.push(arrival)
      const next = ahead.length < AT_ONCE ? undefined : ahead.shift()
      if (next !== undefined) yield await next
    }
    after = ids.at(-1) ?? null
    if (after === null) break
  }
  for (const arrival of ahead) yield await arrival
}

/** The whole list of one parent: such lists are short. */
async function fetchAll<T extends StripeObject>(
  walk: Walk<T>,
  parent: string,
): Promise<Arrival<T>> {
  let objects: T[] = []
  let after: string | undefined
  let asOf = walk.now()
  for (let requests = 1; ; requests += 1) {
    const params = { limit: PAGE, ...(after === undefined ? {} : { starting_after: after }) }
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
  arrivals: Arrival<T>[],
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
