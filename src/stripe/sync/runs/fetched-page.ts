import type { ReadingTime } from '../reading-time.ts'
import type { StripeObject } from '../stripe-object.ts'
import type { RunCursor } from './run-cursor.ts'

/** A part of a listing, as it came. */
export type FetchedPage<T extends StripeObject> = {
  objects: T[]
  /** When it was asked for. */
  asOf: ReadingTime
  /** Requests that it took. */
  requests: number
  /** Where the run stands once this page is stored. To be asked once, in the order of the pages. */
  advance(): RunCursor
}

/** What a walk through a listing needs. */
export type Walk<T extends StripeObject> = {
  /** Asks for a page, with patience. Knows neither of missing objects nor of a cursor. */
  fetch: (request: PageRequest) => Promise<{ data: T[]; has_more: boolean }>
  now: () => ReadingTime
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
export const PAGE = 100
