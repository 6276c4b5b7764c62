import { SelectField } from '../ui/choices.tsx'
import { TextField } from '../ui/form.tsx'
import type { ListUrl } from '../ui/list-url.ts'
import { useTicketTypes } from './names.ts'
import { FLAGS } from './purchase-list.ts'
import type { ConsoleScope } from './scope.ts'
import { SponsorField } from './sponsor-field.tsx'

const ALL = 'all'

/** The filters that a list needs less often. */
export function MoreFilters({ scope, url }: { scope: ConsoleScope; url: ListUrl }) {
  const { data: ticketTypes = [] } = useTicketTypes(scope)
  const set = (name: string) => (key: string) => url.set(name, key === ALL ? undefined : key)
  return (
    <div className="filters card">
      <SponsorField
        scope={scope}
        value={url.get('sponsor') ?? null}
        onChange={(slug) => url.set('sponsor', slug ?? undefined)}
      />
      <SelectField
        label="Ticket type"
        value={url.get('ticket_type') ?? ALL}
        onChange={set('ticket_type')}
        options={[
          { key: ALL, label: 'Any ticket type' },
          ...ticketTypes.map(({ id, name }) => ({ key: id, label: name })),
        ]}
      />
      <SelectField
        label="Flag"
        value={url.get('flag') ?? ALL}
        onChange={set('flag')}
        options={[
          { key: ALL, label: 'With or without' },
          { key: 'any', label: 'Any flag' },
          ...Object.entries(FLAGS).map(([key, label]) => ({ key, label })),
        ]}
      />
      <TextField
        label="Ordered from"
        type="date"
        value={url.get('from') ?? ''}
        onChange={(day) => url.set('from', day)}
      />
      <TextField
        label="Ordered until"
        type="date"
        value={url.get('to') ?? ''}
        onChange={(day) => url.set('to', day)}
      />
    </div>
  )
}
