import { useQuery } from '@tanstack/react-query'
import { Link, useLocation } from 'wouter'
import { api, dataOf } from '../api/client.ts'
import { SelectField } from '../ui/choices.tsx'
import { Badge, DataTable, When } from '../ui/data.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { CheckboxField } from '../ui/form.tsx'
import { Pager, SearchBox } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { PageHead } from '../ui/shell.tsx'
import { Drift } from './mirror-drift.tsx'
import type { ConsoleScope } from './scope.ts'
import {
  isResource,
  nameOfMany,
  pathOf,
  RESOURCE_OPTIONS,
  type Resource,
  resourceOf,
  summaryOf,
} from './stripe-objects.ts'
import { SyncButton, SyncRuns } from './sync-runs.tsx'

/** The local copy of Stripe's objects: what it has, how it is refreshed, and where it differs. */
export function StripeMirror({ scope }: { scope: ConsoleScope }) {
  const url = useListUrl()
  const [, navigate] = useLocation()
  const chosen = url.get('resource') ?? ''
  const resource = isResource(chosen) ? chosen : 'payment-intents'
  const name = nameOfMany(resource).toLowerCase()
  return (
    <>
      <PageHead title="Stripe mirror" />
      <div className="row row-end row-apart">
        <div className="row row-end">
          <SelectField
            label="Objects"
            value={resource}
            onChange={(key) => url.set('resource', key)}
            options={RESOURCE_OPTIONS}
          />
          <SyncButton scope={scope} resource={resource} kind="primary">
            Sync {name}
          </SyncButton>
          <SyncButton scope={scope} resource={resource} dryRun>
            Dry run
          </SyncButton>
        </div>
        <SearchBox
          label="Open an object"
          value={undefined}
          placeholder="pi_…, cus_…, re_…"
          onSearch={(text) => {
            // Coupons and plans have ids that people chose.
            if (text !== undefined) navigate(pathOf(resourceOf(text) ?? resource, text))
          }}
        />
      </div>
      <SyncRuns scope={scope} />
      <Objects scope={scope} resource={resource} />
      <Drift scope={scope} />
    </>
  )
}

function Objects({ scope: { conference }, resource }: { scope: ConsoleScope; resource: Resource }) {
  const url = useListUrl()
  const withDeleted = url.get('deleted') === 'true'
  const objects = useQuery({
    queryKey: ['mirror', conference, resource, withDeleted, url.cursor],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/stripe/{resource}', {
          params: {
            path: { conference, resource },
            query: { cursor: url.cursor, limit: 10, include_deleted: withDeleted },
          },
        }),
      ),
    placeholderData: (before, query) => (query?.queryKey[2] === resource ? before : undefined),
  })
  return (
    <section className="stack">
      <div className="row row-apart">
        <h2>{nameOfMany(resource)}</h2>
        <CheckboxField
          label="Also those that were deleted at Stripe"
          value={withDeleted}
          onChange={(isOn) => url.set('deleted', isOn ? 'true' : undefined)}
        />
      </div>
      <Loaded query={objects}>
        {(page) =>
          page.data.length === 0 ? (
            <Empty title="The mirror has none. A sync fetches them from Stripe." />
          ) : (
            <>
              <DataTable
                caption={nameOfMany(resource)}
                rows={page.data}
                keyOf={({ id }) => id}
                columns={[
                  {
                    head: 'Stripe id',
                    cell: ({ id }) => (
                      <Link className="code" href={pathOf(resource, id)}>
                        {id}
                      </Link>
                    ),
                  },
                  {
                    head: 'In short',
                    cell: (row) => (
                      <span>
                        {summaryOf(row)}
                        {row.deleted_at === null ? null : (
                          <>
                            {' '}
                            <Badge tone="bad">Deleted</Badge>
                          </>
                        )}
                      </span>
                    ),
                  },
                  { head: 'Created', cell: ({ created: at }) => <When at={at} /> },
                  { head: 'As of', cell: ({ as_of: at }) => <When at={at} ago /> },
                ]}
              />
              <Pager url={url} page={page} />
            </>
          )
        }
      </Loaded>
    </section>
  )
}
