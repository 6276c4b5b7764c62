import { useQuery } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { Button } from 'react-aria-components/Button'
import { ComboBox } from 'react-aria-components/ComboBox'
import { FieldError } from 'react-aria-components/FieldError'
import { Input } from 'react-aria-components/Input'
import { Label } from 'react-aria-components/Label'
import { ListBox, ListBoxItem } from 'react-aria-components/ListBox'
import { Popover } from 'react-aria-components/Popover'
import { api, dataOf } from '../api/client.ts'
import type { ConsoleScope } from './scope.ts'

/** The first sponsors whose name contains the text. */
function useSponsors(conference: string, text: string) {
  return useQuery({
    queryKey: ['sponsors', conference, 'named', text],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/sponsors', {
          params: {
            path: { conference },
            query: { limit: 20, ...(text === '' ? {} : { q: text }) },
          },
        }),
      ),
    placeholderData: (before) => before,
    staleTime: 60_000,
  })
}

/** The name of a sponsor by its slug. */
function useSponsorName(conference: string, slug: string | null): string | null {
  const { data } = useQuery({
    queryKey: ['sponsors', conference, slug],
    enabled: slug !== null,
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/sponsors/{id}', {
          params: { path: { conference, id: slug ?? '' } },
        }),
      ),
    staleTime: 60_000,
  })
  return slug === null ? null : (data?.name ?? null)
}

/** A sponsor, found by typing a part of its name. Its value is the slug. */
export function SponsorField({
  scope: { conference },
  value,
  onChange,
  label = 'Sponsor',
  placeholder = 'Any sponsor',
  error,
}: {
  scope: ConsoleScope
  value: string | null
  onChange: (slug: string | null) => void
  label?: string
  placeholder?: string
  error?: string | undefined
}) {
  const name = useSponsorName(conference, value)
  const [text, setText] = useState('')
  // The link that opened the page, or "Back", names the sponsor.
  useEffect(() => setText(name ?? ''), [name])
  const sponsors = useSponsors(conference, text === name ? '' : text.trim().slice(0, 100))
  return (
    <ComboBox
      className="field"
      items={sponsors.data?.data ?? []}
      selectedKey={value}
      inputValue={text}
      isInvalid={error !== undefined}
      validationBehavior={error === undefined ? 'native' : 'aria'}
      allowsEmptyCollection
      menuTrigger="focus"
      // The service has searched.
      defaultFilter={() => true}
      onInputChange={(next) => {
        setText(next)
        if (next === '' && value !== null) onChange(null)
      }}
      onSelectionChange={(key) => {
        if (key !== null && key !== value) onChange(String(key))
      }}
    >
      <Label>{label}</Label>
      <div className="combo">
        <Input placeholder={placeholder} />
        <Button className="icon-button">
          <span aria-hidden="true">▾</span>
        </Button>
      </div>
      <FieldError className="field-error">
        {error === undefined ? undefined : `${label} ${error}.`}
      </FieldError>
      <Popover className="popover">
        <ListBox
          className="list-box"
          renderEmptyState={() => <p className="list-box-item muted">No sponsor has this name.</p>}
        >
          {(sponsor: { slug: string; name: string }) => (
            <ListBoxItem id={sponsor.slug} textValue={sponsor.name} className="list-box-item">
              {sponsor.name}
            </ListBoxItem>
          )}
        </ListBox>
      </Popover>
    </ComboBox>
  )
}
