import { type ReactNode, useEffect, useState } from 'react'
import { Button } from './controls.tsx'
import { TextField } from './form.tsx'
import type { ListUrl } from './list-url.ts'

/** A field that filters a list, and a button for those who do not press Enter. */
export function SearchBox({
  label,
  hint,
  value,
  onSearch,
  placeholder,
  autoFocus = false,
}: {
  label: string
  hint?: ReactNode
  placeholder?: string
  value: string | undefined
  onSearch: (text: string | undefined) => void
  autoFocus?: boolean
}) {
  const [text, setText] = useState(value ?? '')
  // "Back" changes the filter too.
  useEffect(() => setText(value ?? ''), [value])
  return (
    // biome-ignore lint/a11y/useSemanticElements: `search` is not in all supported browsers.
    <form
      role="search"
      className="search"
      onSubmit={(event) => {
        event.preventDefault()
        onSearch(text.trim() === '' ? undefined : text.trim())
      }}
    >
      <TextField
        label={label}
        type="search"
        value={text}
        onChange={setText}
        hint={hint}
        {...(placeholder === undefined ? {} : { placeholder })}
        autoFocus={autoFocus}
      />
      <Button type="submit">Search</Button>
    </form>
  )
}

/** Leads through the pages of a list. Nothing if there is only one. */
export function Pager({
  url,
  page,
}: {
  url: Pick<ListUrl, 'cursor' | 'open' | 'previous'>
  page: { next_cursor: string | null }
}) {
  const { next_cursor: next } = page
  if (url.cursor === undefined && next === null) return null
  return (
    <nav className="row" aria-label="Pages of the list">
      <Button isDisabled={url.cursor === undefined} onPress={() => url.open(undefined)}>
        First page
      </Button>
      <Button isDisabled={url.previous === undefined} onPress={() => url.previous?.()}>
        Previous page
      </Button>
      <Button isDisabled={next === null} onPress={() => url.open(next ?? undefined)}>
        Next page
      </Button>
    </nav>
  )
}
