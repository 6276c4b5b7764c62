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

/** What the browser remembers of this address: the pages before the one of each list, oldest first. */
type Trails = { readonly [list: string]: readonly Page[] | undefined }

/**
 * The filters and the page of a list, in the URL of the page: a link to it shows the same list.
 *
 * @param name of the page in the URL, where a page has several lists.
 */
export function useListUrl(name = 'cursor'): ListUrl {
  const [params, setParams] = useSearchParams()
  const cursor = params.get(name) ?? undefined
  const trails = (history.state ?? {}) as Trails
  const trail = trails[name] ?? []
  // Cursors lead only forward, so the browser remembers those of the pages before.
  const goTo = (next: string | undefined, nextTrail: readonly Page[]) =>
    setParams(
      (before) => {
        const after = new URLSearchParams(before)
        if (next === undefined) after.delete(name)
        else after.set(name, next)
        return after
      },
      { state: { ...trails, [name]: nextTrail } },
    )
  return {
    get: (filter) => params.get(filter) ?? undefined,
    set(filter, value) {
      setParams(
        (before) => {
          const next = new URLSearchParams(before)
          if (value === undefined || value === '') next.delete(filter)
          else next.set(filter, value)
          next.delete(name)
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
