import { isMissing } from '../../stripe-errors.ts'
import type { StripeObject } from '../stripe-object.ts'
import { type FetchedPage, PAGE, type PageRequest, type Walk } from './fetched-page.ts'
import type { RunCursor, Window } from './run-cursor.ts'
import { splitWindow } from './split-window.ts'

/** Windows that are read at the same time. With Stripe's usual 300 ms a page this uses 20 requests/s. */
const AT_ONCE = 6

/** A page for which we idled longer than this (ms) shows that Stripe, not we, sets the pace. */
const STARVED_MS = 5

/** A window with two positions: how far it is fetched, and how far it is stored. */
export type OpenWindow = Window & {
  /** Where the next request begins. */
  fetched: { after: string | null; oldest: number | null; newest: number | null; count: number }
  isExhausted: boolean
}

function open(window: Window): OpenWindow {
  const { after, oldest } = window
  return { ...window, fetched: { after, oldest, newest: null, count: 0 }, isExhausted: false }
}

function toRequest({ variant, gte, lt, fetched }: OpenWindow): PageRequest {
  const created = { ...(gte === null ? {} : { gte }), ...(lt === null ? {} : { lt }) }
  return {
    variant,
    params: {
      limit: PAGE,
      ...(fetched.after === null ? {} : { starting_after: fetched.after }),
      ...(gte === null && lt === null ? {} : { created }),
    },
  }
}

/**
 * Reads a listing, newest first, each next page requested while the caller stores the one before. A
 * large listing is cut into windows of `created` that are read side by side; a window that ends early
 * takes half of what another has left.
 *
 * @param canSplit the list takes a `created` filter.
 */
export async function* walkWindows<T extends StripeObject>(
  walk: Walk<T>,
  start: Window[],
  canSplit: boolean,
): AsyncGenerator<FetchedPage<T>> {
  const windows = new Set(start.map(open))
  const running = new Map<OpenWindow, Promise<Arrival<T>>>()
  const ask = (window: OpenWindow) => {
    const arrival = fetchNext(walk, window, canSplit)
    // Somebody waits for it later; until then a failure has no handler of its own.
    arrival.catch(() => {})
    running.set(window, arrival)
  }
  for (const window of windows) ask(window)
  while (running.size > 0) {
    const asked = performance.now()
    const arrival = await Promise.race(running.values())
    const isStarved = performance.now() - Math.max(asked, walk.idleSince()) > STARVED_MS
    const { window } = arrival
    running.delete(window)
    if (!window.isExhausted) ask(window)
    if (canSplit && isStarved && running.size < AT_ONCE) {
      const half = splitWindow([...running.keys()])
      if (half !== null) {
        const added = open(half)
        windows.add(added)
        ask(added)
      }
    }
    yield toPage(arrival, windows)
  }
}

type Arrival<T> = { window: OpenWindow; objects: T[]; asOf: number; requests: number }

async function fetchNext<T extends StripeObject>(
  walk: Walk<T>,
  window: OpenWindow,
  isDated: boolean,
): Promise<Arrival<T>> {
  let requests = 0
  for (;;) {
    const asOf = walk.now()
    requests += 1
    try {
      const page = await walk.fetch(toRequest(window))
      noteFetched(window, page)
      return { window, objects: page.data, asOf, requests }
    } catch (error) {
      if (!isMissing(error) || window.fetched.after === null) throw error
      beginAnew(window, isDated)
    }
  }
}

/**
 * The object behind the cursor was deleted meanwhile: its second is read again instead, or everything
 * where the list takes no `created`.
 */
function beginAnew(window: OpenWindow, isDated: boolean): void {
  const { oldest } = window.fetched
  window.fetched.after = null
  if (isDated && oldest !== null) window.lt = oldest + 1
}

function noteFetched<T extends StripeObject>(
  window: OpenWindow,
  page: { data: T[]; has_more: boolean },
): void {
  const { fetched } = window
  const last = page.data.at(-1)
  window.isExhausted = !page.has_more || last === undefined
  if (last === undefined) return
  fetched.newest ??= page.data[0]?.created ?? null
  fetched.oldest = last.created ?? null
  fetched.after = last.id
  fetched.count += page.data.length
}

function toPage<T extends StripeObject>(
  arrival: Arrival<T>,
  windows: Set<OpenWindow>,
): FetchedPage<T> {
  const { window, objects, asOf, requests } = arrival
  const { isExhausted } = window
  const { after, oldest } = window.fetched
  return {
    objects,
    asOf,
    requests,
    advance() {
      if (isExhausted) windows.delete(window)
      window.after = after
      window.oldest = oldest
      return cursorOf(windows)
    },
  }
}

function cursorOf(windows: Set<OpenWindow>): RunCursor {
  const left = [...windows].map(({ variant, gte, lt, after, oldest }) => ({
    variant,
    gte,
    lt,
    after,
    oldest,
  }))
  return { by: 'windows', windows: left }
}
