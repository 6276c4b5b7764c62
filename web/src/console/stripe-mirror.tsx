import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { useAction } from '../api/actions.ts'
import { api, dataOf, type Schema } from '../api/client.ts'
import { SelectField } from '../ui/choices.tsx'
import { Button } from '../ui/controls.tsx'
import { Badge, DataTable, type Tone, When } from '../ui/data.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { plural } from '../ui/format.ts'
import { Pager } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { PageHead } from '../ui/shell.tsx'
import type { ConsoleScope } from './scope.ts'

type Resource = Schema<'StripeResource'>
type Run = Schema<'SyncRun'>
type DriftLine = Schema<'DriftLine'>

const PATH = '/v1/conferences/{conference}/stripe'

const RESOURCES: Record<Resource, string> = {
  'balance-transactions': 'Balance transactions',
  charges: 'Charges',
  'checkout-sessions': 'Checkout sessions',
  coupons: 'Coupons',
  customers: 'Customers',
  disputes: 'Disputes',
  invoices: 'Invoices',
  'payment-intents': 'Payment intents',
  'payment-methods': 'Payment methods',
  payouts: 'Payouts',
  plans: 'Plans',
  prices: 'Prices',
  products: 'Products',
  'promotion-codes': 'Promotion codes',
  refunds: 'Refunds',
  'setup-intents': 'Setup intents',
  subscriptions: 'Subscriptions',
}

const OPTIONS = Object.entries(RESOURCES).map(([key, label]) => ({ key: key as Resource, label }))

const isResource = (text: string): text is Resource => text in RESOURCES

/** An active run shows its progress; others are looked for now and then. */
const ACTIVE_MS = 1_000
const QUIET_MS = 10_000

/** The local copy of Stripe's objects: what it has, how it is refreshed, and where it differs. */
export function StripeMirror({ scope: { conference } }: { scope: ConsoleScope }) {
  const url = useListUrl()
  const chosen = url.get('resource') ?? ''
  const resource = isResource(chosen) ? chosen : 'payment-intents'
  const sync = useAction({
    run: (name: Resource, key) =>
      dataOf(
        api.POST(`${PATH}/{resource}/sync`, {
          params: {
            path: { conference, resource: name },
            header: { 'Idempotency-Key': key },
          },
        }),
      ),
    changes: [['sync-runs', conference]],
    done: 'The sync has begun.',
  })
  return (
    <>
      <PageHead title="Stripe mirror" />
      <div className="filters">
        <SelectField
          label="Objects"
          value={resource}
          onChange={(key) => url.set('resource', key)}
          options={OPTIONS}
        />
        <div>
          <Button kind="primary" busy={sync.isPending} onPress={() => sync.mutate(resource)}>
            Sync {RESOURCES[resource].toLowerCase()}
          </Button>
        </div>
      </div>
      <Runs conference={conference} />
      <Objects conference={conference} resource={resource} />
      <Drift conference={conference} />
    </>
  )
}

const STATES: Record<Run['state'], Tone> = {
  queued: 'neutral',
  running: 'busy',
  succeeded: 'good',
  failed: 'bad',
  cancelled: 'warn',
}

const isActive = ({ state }: Run) => state === 'queued' || state === 'running'

function Runs({ conference }: { conference: string }) {
  const runs = useQuery({
    queryKey: ['sync-runs', conference],
    queryFn: () =>
      dataOf(
        api.GET(`${PATH}/sync-runs`, { params: { path: { conference }, query: { limit: 5 } } }),
      ),
    refetchInterval: ({ state }) =>
      state.data?.data.some(isActive) === true ? ACTIVE_MS : QUIET_MS,
  })
  return (
    <section className="stack">
      <h2>Newest syncs</h2>
      <Loaded query={runs}>
        {({ data }) =>
          data.length === 0 ? (
            <Empty title="Nothing was synced yet." />
          ) : (
            <DataTable
              caption="Newest syncs"
              rows={data}
              keyOf={({ id }) => id}
              columns={[
                {
                  head: 'Objects',
                  cell: ({ resource }) => (isResource(resource) ? RESOURCES[resource] : resource),
                },
                {
                  head: 'State',
                  cell: ({ state, error }) => (
                    <span>
                      <Badge tone={STATES[state]}>{state}</Badge>{' '}
                      {error === null ? null : <span className="muted">{error.message}</span>}
                    </span>
                  ),
                },
                {
                  head: 'So far',
                  cell: ({ counts, requests }) =>
                    `${plural(counts['fetched'] ?? 0, 'object')}, ${plural(requests, 'request')}`,
                },
                { head: 'Begun', cell: ({ created_at: at }) => <When at={at} ago /> },
              ]}
            />
          )
        }
      </Loaded>
    </section>
  )
}

function Objects({ conference, resource }: { conference: string; resource: Resource }) {
  const url = useListUrl()
  const objects = useQuery({
    queryKey: ['mirror', conference, resource, url.cursor],
    queryFn: () =>
      dataOf(
        api.GET(`${PATH}/{resource}`, {
          params: { path: { conference, resource }, query: { cursor: url.cursor, limit: 10 } },
        }),
      ),
  })
  return (
    <section className="stack">
      <h2>{RESOURCES[resource]}</h2>
      <Loaded query={objects}>
        {(page) =>
          page.data.length === 0 ? (
            <Empty title="The mirror has none. A sync fetches them from Stripe." />
          ) : (
            <>
              <DataTable
                caption={RESOURCES[resource]}
                rows={page.data}
                keyOf={({ id }) => id}
                columns={[
                  { head: 'Stripe id', cell: ({ id }) => <span className="code">{id}</span> },
                  { head: 'Created', cell: ({ created: at }) => <When at={at} /> },
                  { head: 'As of', cell: ({ as_of: at }) => <When at={at} ago /> },
                  { head: 'Deleted', cell: ({ deleted_at: at }) => <When at={at} /> },
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

function Drift({ conference }: { conference: string }) {
  const drift = useQuery({
    queryKey: ['drift', conference],
    queryFn: () =>
      dataOf(api.GET(`${PATH}/drift`, { params: { path: { conference }, query: { limit: 25 } } })),
  })
  return (
    <section className="stack">
      <h2>Differences to the purchases</h2>
      <Loaded query={drift}>
        {({ data, mirror }) => (
          <>
            {Object.values(mirror).some(({ synced_at: at }) => at === null) ? (
              <p className="note note-warn">
                Payment intents, refunds, disputes and checkout sessions were not all synced yet, so
                this list is not complete.
              </p>
            ) : null}
            {data.length === 0 ? (
              <Empty title="No difference was found." />
            ) : (
              <DataTable
                caption="Differences"
                rows={data}
                keyOf={({ what, purchase, stripe_id: id, field }) =>
                  `${what} ${purchase} ${id} ${field}`
                }
                columns={[
                  {
                    head: 'What',
                    cell: ({ kind, what, field }) =>
                      `${kind} ${what.replaceAll('_', ' ')}${field === null ? '' : `: ${field}`}`,
                  },
                  { head: 'Here', cell: ({ here }) => here ?? '–' },
                  { head: 'At Stripe', cell: ({ there }) => there ?? '–' },
                  {
                    head: 'Purchase',
                    cell: ({ purchase }) =>
                      purchase === null ? '–' : <Link href={`/purchases/${purchase}`}>Open</Link>,
                  },
                  {
                    head: 'Repair',
                    cell: (line) => <Repair conference={conference} line={line} />,
                  },
                ]}
              />
            )}
          </>
        )}
      </Loaded>
    </section>
  )
}

type RepairRequest = NonNullable<DriftLine['repair']>['request']

function Repair({ conference, line }: { conference: string; line: DriftLine }) {
  const [isDone, setDone] = useState(false)
  const repair = useAction<RepairRequest>({
    run: (request, key): Promise<unknown> => {
      const header = { 'Idempotency-Key': key }
      if (line.purchase !== null && request.path.endsWith('/reconcile')) {
        return dataOf(
          api.POST('/v1/conferences/{conference}/purchases/{purchase}/reconcile', {
            params: { path: { conference, purchase: line.purchase }, header },
            body: request.body ?? {},
          }),
        )
      }
      return dataOf(
        api.POST(`${PATH}/{resource}/sync`, {
          params: { path: { conference, resource: line.resource }, header },
          body: { ...request.body, force: false, dry_run: false },
        }),
      )
    },
    changes: [
      ['drift', conference],
      ['sync-runs', conference],
    ],
    done: 'The repair has begun.',
    onDone: () => setDone(true),
  })
  const { repair: known } = line
  if (known === null) return 'Check the Stripe dashboard'
  return (
    <Button
      small
      busy={repair.isPending}
      isDisabled={isDone}
      onPress={() => repair.mutate(known.request)}
    >
      Repair
    </Button>
  )
}
