import { useQuery } from '@tanstack/react-query'
import { api, dataOf, type Schema } from '../api/client.ts'
import { SelectField } from '../ui/choices.tsx'
import { Badge, DataTable, type Tone, When } from '../ui/data.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { Pager } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { PageHead } from '../ui/shell.tsx'
import type { ConsoleScope } from './scope.ts'

type Entry = Schema<'AuditEntry'>
type Kind = Entry['subject']['kind']

const KINDS: Record<Kind, string> = {
  conference: 'Settings',
  webhook_secret: 'Webhook secret',
  api_key: 'API key',
  user: 'User',
  sponsor: 'Sponsor',
  sponsor_level: 'Level',
  ticket_type: 'Ticket type',
  add_on: 'Add-on',
  webhook_endpoint: 'Outbound webhook',
}

const TONES: Record<Entry['action'], Tone> = { created: 'good', changed: 'busy', deleted: 'bad' }

const ALL = 'all'

const isKind = (text: string): text is Kind => text in KINDS

/** Who changed settings, users, keys, sponsors and the catalogue. */
export function AuditLog({ scope }: { scope: ConsoleScope }) {
  const { conference } = scope
  const url = useListUrl()
  const chosen = url.get('kind') ?? ALL
  const kind = isKind(chosen) ? chosen : undefined
  const entries = useQuery({
    queryKey: ['audit-log', conference, kind, url.cursor],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/audit-log', {
          params: { path: { conference }, query: { kind, cursor: url.cursor, limit: 25 } },
        }),
      ),
  })
  return (
    <>
      <PageHead title="Audit log" />
      <div className="filters">
        <SelectField
          label="Changes of"
          value={kind ?? ALL}
          onChange={(key) => url.set('kind', key === ALL ? undefined : key)}
          options={[
            { key: ALL, label: 'Everything' },
            ...Object.entries(KINDS).map(([key, label]) => ({ key, label })),
          ]}
        />
      </div>
      <Loaded query={entries}>
        {(page) =>
          page.data.length === 0 ? (
            <Empty title="Nothing was changed yet." />
          ) : (
            <>
              <DataTable
                caption="Audit log"
                rows={page.data}
                keyOf={({ id }) => id}
                columns={[
                  { head: 'When', cell: ({ created_at: at }) => <When at={at} /> },
                  { head: 'Who', cell: ({ actor }) => actor.name ?? ROLES[actor.kind] },
                  {
                    head: 'What',
                    cell: ({ subject, action }) => (
                      <span>
                        {KINDS[subject.kind]}{' '}
                        {subject.name === null ? null : <>“{subject.name}” </>}
                        <Badge tone={TONES[action]}>{action}</Badge>
                      </span>
                    ),
                  },
                  { head: 'Changes', cell: ({ changes }) => <Changes changes={changes} /> },
                ]}
              />
              <Pager url={url} page={page} />
            </>
          )
        }
      </Loaded>
    </>
  )
}

const ROLES: Record<Entry['actor']['kind'], string> = {
  operator: 'An operator',
  staff: 'Staff',
  sponsor: 'A sponsor',
  stripe: 'Stripe',
  system: 'The service',
}

function Changes({ changes }: { changes: Entry['changes'] }) {
  const rows = Object.entries(changes)
  if (rows.length === 0) return <span className="muted">–</span>
  return (
    <ul className="changes">
      {rows.map(([field, { from, to, hidden }]) => (
        <li key={field}>
          <span className="muted">{field.replaceAll('_', ' ')}:</span>{' '}
          {hidden === true ? (
            <span className="muted">hidden</span>
          ) : (
            <>
              {from == null ? null : (
                <>
                  <del>{textOf(from)}</del>{' '}
                </>
              )}
              {to == null ? null : <span>{textOf(to)}</span>}
            </>
          )}
        </li>
      ))}
    </ul>
  )
}

const textOf = (value: unknown): string => {
  if (typeof value === 'string') return value
  return Array.isArray(value) ? value.map(textOf).join(', ') : JSON.stringify(value)
}
