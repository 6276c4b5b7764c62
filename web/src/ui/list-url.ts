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
}

/** The filters and the page of a list, in the URL of the page: a link to it shows the same list. */
export function useListUrl(): ListUrl {
  const [params, setParams] = useSearchParams()
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
    cursor: params.get('cursor') ?? undefined,
    open(cursor) {
      setParams((before) => {
        const next = new URLSearchParams(before)
        if (cursor === undefined) next.delete('cursor')
        else next.set('cursor', cursor)
        return next
      })
    },
  }
}
