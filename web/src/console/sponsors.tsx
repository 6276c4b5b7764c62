import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { useFormAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { NumberField, SelectField } from '../ui/choices.tsx'
import { Button } from '../ui/controls.tsx'
import { DataTable, When } from '../ui/data.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { TextField } from '../ui/form.tsx'
import { FormDialog } from '../ui/form-dialog.tsx'
import { Pager, SearchBox } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { PageHead } from '../ui/shell.tsx'
import { IssueCodes } from './issue-codes.tsx'
import { useLevels } from './names.ts'
import type { ConsoleScope } from './scope.ts'

type Sponsor = Schema<'Sponsor'>
type Level = Schema<'SponsorLevel'>

/** The sponsors of the conference and their levels. */
export function Sponsors({ scope }: { scope: ConsoleScope }) {
  const { conference, may } = scope
  const url = useListUrl()
  const q = url.get('q')
  const [edited, setEdited] = useState<Sponsor | 'new' | null>(null)
  const [issuesFor, setIssuesFor] = useState<Sponsor | null>(null)
  const levels = useLevels(scope)
  const sponsors = useQuery({
    queryKey: ['sponsors', conference, q, url.cursor],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/sponsors', {
          params: { path: { conference }, query: { q, cursor: url.cursor, limit: 25 } },
        }),
      ),
  })
  const levelName = (id: string | null) => levels.data?.find((level) => level.id === id)?.name
  return (
    <>
      <PageHead title="Sponsors">
        {may('catalog:write') ? (
          <Button kind="primary" onPress={() => setEdited('new')}>
            Add a sponsor
          </Button>
        ) : null}
      </PageHead>
      <SearchBox
        label="Find by name or e-mail address"
        value={q}
        onSearch={(text) => url.set('q', text)}
      />
      <Loaded query={sponsors}>
        {(page) =>
          page.data.length === 0 ? (
            <Empty
              title={q === undefined ? 'There are no sponsors yet.' : `No sponsor is “${q}”.`}
            />
          ) : (
            <>
              <DataTable
                caption="Sponsors"
                rows={page.data}
                keyOf={({ id }) => id}
                columns={[
                  { head: 'Name', cell: ({ name }) => name },
                  { head: 'Level', cell: ({ level }) => levelName(level) ?? <None /> },
                  { head: 'Contact', cell: ({ contact_email: email }) => email ?? <None /> },
                  { head: 'Since', cell: ({ created_at: at }) => <When at={at} /> },
                  {
                    head: 'Actions',
                    cell: (sponsor) => (
                      <span className="row">
                        {may('purchases:read') ? (
                          <Link
                            className="button button-small"
                            href={`/purchases?sponsor=${sponsor.slug}`}
                          >
                            Purchases<span className="visually-hidden"> of {sponsor.name}</span>
                          </Link>
                        ) : null}
                        {may('vouchers:write') ? (
                          <Button small onPress={() => setIssuesFor(sponsor)}>
                            Issue codes<span className="visually-hidden"> to {sponsor.name}</span>
                          </Button>
                        ) : null}
                        {may('catalog:write') ? (
                          <Button small onPress={() => setEdited(sponsor)}>
                            Edit<span className="visually-hidden"> {sponsor.name}</span>
                          </Button>
                        ) : null}
                      </span>
                    ),
                  },
                ]}
              />
              <Pager url={url} page={page} />
            </>
          )
        }
      </Loaded>
      {may('catalog:write') ? <Levels scope={scope} /> : null}
      {edited === null ? null : (
        <SponsorForm
          scope={scope}
          sponsor={edited === 'new' ? null : edited}
          onClose={() => setEdited(null)}
        />
      )}
      {issuesFor === null ? null : (
        <IssueCodes scope={scope} sponsor={issuesFor} onClose={() => setIssuesFor(null)} />
      )}
    </>
  )
}

const None = () => <span className="muted">–</span>

const NO_LEVEL = 'none'

function SponsorForm({
  scope,
  sponsor,
  onClose,
}: {
  scope: ConsoleScope
  /** Null: a new one. */
  sponsor: Sponsor | null
  onClose: () => void
}) {
  const { conference } = scope
  const levels = useLevels(scope)
  const [name, setName] = useState(sponsor?.name ?? '')
  const [email, setEmail] = useState(sponsor?.contact_email ?? '')
  const [externalId, setExternalId] = useState(sponsor?.external_id ?? '')
  const [level, setLevel] = useState(sponsor?.level ?? NO_LEVEL)
  const save = useFormAction({
    run: (body: Schema<'CreateSponsor'>, key) => {
      const header = { 'Idempotency-Key': key }
      if (sponsor === null) {
        const params = { path: { conference }, header }
        return dataOf(api.POST('/v1/conferences/{conference}/sponsors', { params, body }))
      }
      const params = { path: { conference, id: sponsor.id }, header }
      return dataOf(api.PATCH('/v1/conferences/{conference}/sponsors/{id}', { params, body }))
    },
    changes: [
      ['sponsors', conference],
      ['vouchers', conference],
    ],
    done: ({ name: saved }) => `${saved} was saved.`,
    onDone: onClose,
  })
  const comps = levels.data?.find(({ id }) => id === level)?.comp_ticket_count ?? 0
  return (
    <FormDialog
      title={sponsor === null ? 'Add a sponsor' : `Edit ${sponsor.name}`}
      action="Save"
      onSubmit={() =>
        save.mutate({
          name,
          contact_email: email.trim() === '' ? null : email.trim(),
          external_id: externalId.trim() === '' ? null : externalId.trim(),
          level: level === NO_LEVEL ? null : level,
        })
      }
      onClose={onClose}
      busy={save.isPending}
      error={save.error}
      shown={['name', 'contact_email', 'external_id', 'level']}
    >
      <TextField
        label="Name"
        name="name"
        isRequired
        autoFocus
        value={name}
        onChange={setName}
        error={save.error}
      />
      <TextField
        label="Contact address"
        name="contact_email"
        type="email"
        value={email}
        onChange={setEmail}
        error={save.error}
        hint="Gets the codes and news of payments."
      />
      <SelectField
        label="Level"
        name="level"
        value={level}
        onChange={setLevel}
        error={save.error}
        options={[
          { key: NO_LEVEL, label: 'No level' },
          ...(levels.data ?? []).map(({ id, name: label }) => ({ key: id, label })),
        ]}
        hint={
          comps > 0 && (sponsor?.comps_issued_at ?? null) === null
            ? `Issues ${comps} complimentary codes when you save.`
            : undefined
        }
      />
      <TextField
        label="External id"
        name="external_id"
        value={externalId}
        onChange={setExternalId}
        error={save.error}
        hint="Its id in your own system, if it has one."
      />
    </FormDialog>
  )
}

function Levels({ scope }: { scope: ConsoleScope }) {
  const levels = useLevels(scope)
  const [edited, setEdited] = useState<Level | 'new' | null>(null)
  return (
    <section className="stack">
      <div className="page-head">
        <h2>Levels</h2>
        <Button onPress={() => setEdited('new')}>Add a level</Button>
      </div>
      <Loaded query={levels} lines={2}>
        {(rows) =>
          rows.length === 0 ? (
            <Empty title="There are no levels yet.">
              <p>A sponsor gets the complimentary codes of its first level.</p>
            </Empty>
          ) : (
            <DataTable
              caption="Levels"
              rows={rows}
              keyOf={({ id }) => id}
              columns={[
                { head: 'Level', cell: ({ name }) => name },
                {
                  head: 'Complimentary codes',
                  numeric: true,
                  cell: ({ comp_ticket_count: count }) => count,
                },
                {
                  head: 'Actions',
                  cell: (level) => (
                    <Button small onPress={() => setEdited(level)}>
                      Edit<span className="visually-hidden"> {level.name}</span>
                    </Button>
                  ),
                },
              ]}
            />
          )
        }
      </Loaded>
      {edited === null ? null : (
        <LevelForm
          scope={scope}
          level={edited === 'new' ? null : edited}
          onClose={() => setEdited(null)}
        />
      )}
    </section>
  )
}

function LevelForm({
  scope: { conference },
  level,
  onClose,
}: {
  scope: ConsoleScope
  level: Level | null
  onClose: () => void
}) {
  const [name, setName] = useState(level?.name ?? '')
  const [comps, setComps] = useState(level?.comp_ticket_count ?? 0)
  const save = useFormAction({
    run: (body: { name: string; comp_ticket_count: number }, key) => {
      const header = { 'Idempotency-Key': key }
      if (level === null) {
        const params = { path: { conference }, header }
        return dataOf(api.POST('/v1/conferences/{conference}/sponsor-levels', { params, body }))
      }
      const params = { path: { conference, id: level.id }, header }
      return dataOf(api.PATCH('/v1/conferences/{conference}/sponsor-levels/{id}', { params, body }))
    },
    changes: [['sponsor-levels', conference]],
    done: ({ name: saved }) => `${saved} was saved.`,
    onDone: onClose,
  })
  return (
    <FormDialog
      title={level === null ? 'Add a level' : `Edit ${level.name}`}
      action="Save"
      onSubmit={() => save.mutate({ name, comp_ticket_count: comps })}
      onClose={onClose}
      busy={save.isPending}
      error={save.error}
      shown={['name', 'comp_ticket_count']}
    >
      <TextField
        label="Name"
        name="name"
        isRequired
        autoFocus
        value={name}
        onChange={setName}
        error={save.error}
      />
      <NumberField
        label="Complimentary codes"
        name="comp_ticket_count"
        isRequired
        min={0}
        max={10_000}
        value={comps}
        onChange={setComps}
        error={save.error}
        hint="A sponsor gets them once, with its first level."
      />
    </FormDialog>
  )
}
