import type { Window } from './run-cursor.ts'
import type { OpenWindow } from './walk-windows.ts'

// Stripe opened in 2011; no object is older. Only estimates use it: the oldest window has no bound.
const OPENING = Date.UTC(2011, 0, 1) / 1000

/** Fewer objects than this are not worth a window of their own. */
const WORTHWHILE = 300

/** Objects that a window is expected to hold still, if they lie as close as those it has shown. */
function expectedRest({ gte, fetched }: OpenWindow): number {
  const { newest, oldest, count } = fetched
  if (newest === null || oldest === null || count < WORTHWHILE) return 0
  const perSecond = count / Math.max(newest - oldest, 1)
  return perSecond * (oldest - (gte ?? OPENING))
}

/**
 * Cuts the window with the most left to read in two: it keeps the newer half, the older one is
 * returned. Returns null when none is worth it.
 */
export function splitWindow(windows: readonly OpenWindow[]): Window | null {
  const [largest] = windows.toSorted((a, b) => expectedRest(b) - expectedRest(a))
  if (largest === undefined || expectedRest(largest) < WORTHWHILE) return null
  const { oldest } = largest.fetched
  const from = largest.gte ?? OPENING
  if (oldest === null || oldest - from < 2) return null
  const middle = from + Math.floor((oldest - from) / 2)
  const half = { variant: largest.variant, gte: largest.gte, lt: middle, after: null, oldest: null }
  largest.gte = middle
  return half
}
