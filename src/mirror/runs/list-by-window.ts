import { isMissing } from '../../stripe/stripe-errors.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import type { FetchTime } from '../fetch-time.ts'
import type { RunCursor, Window } from './sync-run.ts'

/** Stripe's largest page. */
export const PAGE_SIZE = 100

export type PageRequest = {
  variant?: number
  parent?: string
  params: { limit: number; starting_after?: string; created?: { gte?: number; lt?: number } }
}

/** What reading a listing needs from the run. */
export type ListingReader<T extends StripeObject> = {
  /** Requests a page, with retries. */
  fetch: (request: PageRequest) => Promise<{ data: T[]; has_more: boolean }>
  now: () => FetchTime
  /** Since when no page is being stored (performance.now(), ms). Infinity while one is. */
  idleSince: () => number
  /** Read only objects created since this second. */
  since: number | null
}

/** A fetched part of a listing. */
export type FetchedPage<T extends StripeObject> = {
  objects: T[]
  asOf: FetchTime
  /** The number of requests that it took. */
  requests: number
  /** The cursor of the run once this page is stored. Call it once, in the order of the pages. */
  advance(): RunCursor
}

/** Windows that are read in parallel. At 300 ms for a page, this is 20 requests per second. */
const CONCURRENCY = 6

/** If storing idles longer than this before a page arrives, Stripe is the bottleneck. */
const MAX_IDLE_MS = 5

/**
 * Reads a listing, newest first, and requests the next page while the caller stores the last one. If
 * Stripe is the bottleneck, splits the listing into windows of `created` and reads them in parallel.
 *
 * @param canSplit the list accepts a `created` filter.
 */
export async function* listByWindow<T extends StripeObject>(
  reader: ListingReader<T>,
  start: Window[],
  canSplit: boolean,
): AsyncGenerator<FetchedPage<T>> {
  const windows = new Set(start.map(openWindow))
  const running = new Map<OpenWindow, Promise<Arrival<T>>>()
  const request = (window: OpenWindow) => {
    const arrival = fetchNextPage(reader, window, canSplit)
    // Awaited below; without a handler a failure would end the process until then.
    arrival.catch(() => {})
    running.set(window, arrival)
  }
  for (const window of windows) request(window)
  while (running.size > 0) {
    const waitingSince = performance.now()
    const arrival = await Promise.race(running.values())
    const isStripeSlower =
      performance.now() - Math.max(waitingSince, reader.idleSince()) > MAX_IDLE_MS
    const { window } = arrival
    running.delete(window)
    if (!window.isExhausted) request(window)
    if (canSplit && isStripeSlower && running.size < CONCURRENCY) {
      const half = splitLargest([...running.keys()])
      if (half !== null) {
        const added = openWindow(half)
        windows.add(added)
        request(added)
      }
    }
    yield toPage(arrival, windows)
  }
}

/** A window with two positions: `after` is stored, `fetched.after` is fetched. */
type OpenWindow = Window & {
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

type Arrival<T> = { window: OpenWindow; objects: T[]; asOf: FetchTime; requests: number }

async function fetchNextPage<T extends StripeObject>(
  reader: ListingReader<T>,
  window: OpenWindow,
  canFilter: boolean,
): Promise<Arrival<T>> {
  let requests = 0
  for (;;) {
    const asOf = reader.now()
    requests += 1
    try {
      const page = await reader.fetch(toRequest(window))
      advanceWindow(window, page)
      return { window, objects: page.data, asOf, requests }
    } catch (error) {
      if (!isMissing(error) || window.fetched.after === null) throw error
      restartWindow(window, canFilter)
    }
  }
}

/**
 * The object at the position was deleted. Reads the listing again from its second, or from the start if
 * the list accepts no `created` filter.
 */
function restartWindow(window: OpenWindow, canFilter: boolean): void {
  const { oldest } = window.fetched
  window.fetched.after = null
  if (canFilter && oldest !== null) window.lt = oldest + 1
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
  return {
    by: 'windows',
    windows: [...windows].map(({ variant, gte, lt, after, oldest }) => {
      return { variant, gte, lt, after, oldest }
    }),
  }
}

// No Stripe object is older. Used only for estimates: the oldest window has no lower bound.
const STRIPE_FOUNDED = Date.UTC(2011, 0, 1) / 1000

/** A window is split off only if it has about this many objects or more. */
const MIN_WINDOW_OBJECTS = 300

/** Estimates the unread objects of a window from the density of those already read. */
function estimateRemaining({ gte, fetched }: OpenWindow): number {
  const { newest, oldest, count } = fetched
  if (newest === null || oldest === null || count < MIN_WINDOW_OBJECTS) return 0
  const perSecond = count / Math.max(newest - oldest, 1)
  return perSecond * (oldest - (gte ?? STRIPE_FOUNDED))
}

/**
 * Splits the window with the most unread objects. It keeps the newer half; returns the older half, or
 * null if no window is large enough.
 */
function splitLargest(windows: readonly OpenWindow[]): Window | null {
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
