import { isMissing } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-object.ts'
import type { FetchTime } from '../fetch-time.ts'
import type { RunCursor, Window } from './sync-run.ts'

/** Windows that are read at the same time. With Stripe's usual 300 ms a page this uses 20 requests/s. */
const CONCURRENCY = 6

/** A page for which we idled longer than this (ms) shows that Stripe, not we, sets the pace. */
const MAX_IDLE_MS = 5

/** A window with two positions: how far it is fetched, and how far it is stored. */
type OpenWindow = Window & {
  /** Where the next request begins. */
  fetched: { after: string | null; oldest: number | null; newest: number | null; count: number }
  isExhausted: boolean
}

function openWindow(window: Window): OpenWindow {
  const { after, oldest } = window
  return { ...window, fetched: { after, oldest, newest: null, count: 0 }, isExhausted: false }
}

function toRequest({ variant, gte, lt, fetched }: OpenWindow): PageRequest {
  const created = { ...(gte === null ? {} : { gte }), ...(lt === null ? {} : { lt }) }
  return {
    variant,
    params: {
      limit: PAGE_SIZE,
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
export async function* listByWindow<T extends StripeObject>(
  walk: ListingReader<T>,
  start: Window[],
  canSplit: boolean,
): AsyncGenerator<FetchedPage<T>> {
  const windows = new Set(start.map(openWindow))
  const running = new Map<OpenWindow, Promise<Arrival<T>>>()
  const ask = (window: OpenWindow) => {
    const arrival = fetchNextPage(walk, window, canSplit)
    // Somebody waits for it later; until then a failure has no handler of its own.
    arrival.catch(() => {})
    running.set(window, arrival)
  }
  for (const window of windows) ask(window)
  while (running.size > 0) {
    const asked = performance.now()
    const arrival = await Promise.race(running.values())
    const isStarved = performance.now() - Math.max(asked, walk.idleSince()) > MAX_IDLE_MS
    const { window } = arrival
    running.delete(window)
    if (!window.isExhausted) ask(window)
    if (canSplit && isStarved && running.size < CONCURRENCY) {
      const half = splitWindow([...running.keys()])
      if (half !== null) {
        const added = openWindow(half)
        windows.add(added)
        ask(added)
      }
    }
    yield toPage(arrival, windows)
  }
}

type Arrival<T> = { window: OpenWindow; objects: T[]; asOf: number; requests: number }

async function fetchNextPage<T extends StripeObject>(
  walk: ListingReader<T>,
  window: OpenWindow,
  isDated: boolean,
): Promise<Arrival<T>> {
  let requests = 0
  for (;;) {
    const asOf = walk.now()
    requests += 1
    try {
      const page = await walk.fetch(toRequest(window))
      advanceWindow(window, page)
      return { window, objects: page.data, asOf, requests }
    } catch (error) {
      if (!isMissing(error) || window.fetched.after === null) throw error
      restartWindow(window, isDated)
    }
  }
}

/**
 * The object behind the cursor was deleted meanwhile: its second is read again instead, or everything
 * where the list takes no `created`.
 */
function restartWindow(window: OpenWindow, isDated: boolean): void {
  const { oldest } = window.fetched
  window.fetched.after = null
  if (isDated && oldest !== null) window.lt = oldest + 1
}

function advanceWindow<T extends StripeObject>(
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
      return toCursor(windows)
    },
  }
}

function toCursor(windows: Set<OpenWindow>): RunCursor {
  const left = [...windows].map(({ variant, gte, lt, after, oldest }) => ({
    variant,
    gte,
    lt,
    after,
    oldest,
  }))
  return { by: 'windows', windows: left }
}

// Stripe opened in 2011; no object is older. Only estimates use it: the oldest window has no bound.
const STRIPE_FOUNDED = Date.UTC(2011, 0, 1) / 1000

/** Fewer objects than this are not worth a window of their own. */
const MIN_WINDOW_OBJECTS = 300

/** Objects that a window is expected to hold still, if they lie as close as those it has shown. */
function estimateRemaining({ gte, fetched }: OpenWindow): number {
  const { newest, oldest, count } = fetched
  if (newest === null || oldest === null || count < MIN_WINDOW_OBJECTS) return 0
  const perSecond = count / Math.max(newest - oldest, 1)
  return perSecond * (oldest - (gte ?? STRIPE_FOUNDED))
}

/**
 * Cuts the window with the most left to read in two: it keeps the newer half, the older one is
 * returned. Returns null when none is worth it.
 */
function splitWindow(windows: readonly OpenWindow[]): Window | null {
  const [largest] = windows.toSorted((a, b) => estimateRemaining(b) - estimateRemaining(a))
  if (largest === undefined || estimateRemaining(largest) < MIN_WINDOW_OBJECTS) return null
  const { oldest } = largest.fetched
  const from = largest.gte ?? STRIPE_FOUNDED
  if (oldest === null || oldest - from < 2) return null
  const middle = from + Math.floor((oldest - from) / 2)
  const half = { variant: largest.variant, gte: largest.gte, lt: middle, after: null, oldest: null }
  largest.gte = middle
  return half
}

/** A part of a listing, as it came. */
export type FetchedPage<T extends StripeObject> = {
  objects: T[]
  /** When it was asked for. */
  asOf: FetchTime
  /** Requests that it took. */
  requests: number
  /** Where the run stands once this page is stored. To be asked once, in the order of the pages. */
  advance(): RunCursor
}

/** What a walk through a listing needs. */
export type ListingReader<T extends StripeObject> = {
  /** Asks for a page, with patience. Knows neither of missing objects nor of a cursor. */
  fetch: (request: PageRequest) => Promise<{ data: T[]; has_more: boolean }>
  now: () => FetchTime
  /** Since when nothing is left to store (performance.now(), ms); infinity while something is. */
  idleSince: () => number
  /** Only what was created from this second on. */
  since: number | null
}

export type PageRequest = {
  variant?: number
  parent?: string
  params: { limit: number; starting_after?: string; created?: { gte?: number; lt?: number } }
}

/** Stripe's largest page. */
export const PAGE_SIZE = 100
