import { useSearchParams } from 'wouter'

/** What a list shows, as it is in the URL: its filters and its page. */
export type ListUrl = {
  /** The value of a filter; undefined if it is not set. */
  get: (name: string) => string | undefined
  /** Sets a filter and returns to the first page. Without a value, the filter is removed. */
  set: (name: string, value: string | undefined) => void
  cursor: string | undefined
  /** Opens another page; the button "Back" of the browser returns. */
  open: (cursor: string | undefined) => void
  /** Opens the page before this one. Undefined on the first page, and on a page that a link opened. */
  previous?: (() => void) | undefined
}

/** The cursor of a page; null for the first. */
type Page = string | null

/** The pages before this one, oldest first. Other parts of the page may keep other things in the state. */
function trailOf(state: unknown): readonly Page[] {
  if (typeof state !== 'object' || state === null || !('trail' in state)) return []
  return Array.isArray(state.trail) ? (state.trail as Page[]) : []
}

/** The filters and the page of a list, in the URL of the page: a link to it shows the same list. */
export function useListUrl(): ListUrl {
  const [params, setParams] = useSearchParams()
  const cursor = params.get('cursor') ?? undefined
  const trail = trailOf(history.state)
  // Cursors lead only forward, so the browser remembers those of the pages before.
  const goTo = (next: string | undefined, nextTrail: readonly Page[]) =>
    setParams(
      (before) => {
        const after = new URLSearchParams(before)
        if (next === undefined) after.delete('cursor')
        else after.set('cursor', next)
        return after
      },
      { state: { trail: nextTrail } },
    )
  return {
    get: (name) => params.get(name) ?? undefined,
    set(name, value) {
      setParams(
        (before) => {
          const next = new URLSearchParams(before)
          if (value === undefined || value === '') next.delete(name)
          else next.set(name, value)
          next.delete('cursor')
          return next
        },
        { replace: true },
      )
    },
    cursor,
    open: (next) => goTo(next, next === undefined ? [] : [...trail, cursor ?? null]),
    previous:
      trail.length === 0 ? undefined : () => goTo(trail.at(-1) ?? undefined, trail.slice(0, -1)),
  }
}
