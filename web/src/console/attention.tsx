import type { ReactNode } from 'react'
import { Link, useLocation } from 'wouter'
import { useAction } from '../api/actions.ts'
import { api, dataOf } from '../api/client.ts'
import { Button } from '../ui/controls.tsx'
import { Badge, type Column, DataTable, Money, When } from '../ui/data.tsx'
import { Empty, Failure, Loading } from '../ui/feedback.tsx'
import { formatStripeMoney } from '../ui/format.ts'
import { SearchBox } from '../ui/list.tsx'
import { PageHead } from '../ui/shell.tsx'
import {
  type Attention,
  type Delivery,
  type Dispute,
  deliveriesKey,
  eventsKey,
  type FailedEvent,
  useAttention,
} from './attention-data.ts'
import { FLAGS, type Purchase } from './purchase-list.ts'
import type { ConsoleScope } from './scope.ts'

/** What staff must decide or repair. */
export function AttentionPage({ scope }: { scope: ConsoleScope }) {
  const [, navigate] = useLocation()
  const attention = useAttention(scope)
  const { isLoading, error, count } = attention
  return (
    <>
      <PageHead title="Needs attention">
        {scope.may('purchases:write') ? (
          <Link href="/purchases/new" className="button">
            New purchase
          </Link>
        ) : null}
      </PageHead>
      {scope.may('purchases:read') ? (
        <SearchBox
          label="Find a purchase"
          value={undefined}
          placeholder="Sponsor, reference, payment, code…"
          onSearch={(text) =>
            navigate(`/purchases${text === undefined ? '' : `?q=${encodeURIComponent(text)}`}`)
          }
        />
      ) : null}
      {error === null ? null : <Failure error={error} />}
      {count === 0 && isLoading ? <Loading /> : null}
      {count === 0 && !isLoading && error === null ? (
        <Empty title="Nothing waits for you.">
          <p>Flags, stuck payments, failed events, disputes and failed webhooks appear here.</p>
        </Empty>
      ) : null}
      <Lists scope={scope} attention={attention} />
    </>
  )
}

function Lists({ scope, attention }: { scope: ConsoleScope; attention: Attention }) {
  const { flagged, stuck, events, disputes, deliveries } = attention
  return (
    <>
      <Part
        title="Disputes to answer"
        hint="Answer them in Stripe’s dashboard. Without an answer the money is lost."
        rows={disputes}
        columns={disputeColumns(scope)}
        keyOf={({ id }) => id}
      />
      <Part
        title="Purchases with a flag"
        hint="Open the purchase, decide, and resolve the flag."
        rows={flagged}
        columns={FLAGGED}
        keyOf={({ id }) => id}
      />
      <Part
        title="Processing for more than a day"
        hint="Usually a bank payment. “Refresh from Stripe” on its page shows where it is."
        rows={stuck}
        columns={STUCK}
        keyOf={({ id }) => id}
      />
      <Part
        title="Failed Stripe events"
        hint="Replay is always safe: the objects are fetched from Stripe again."
        rows={events}
        columns={eventColumns(scope)}
        keyOf={({ id }) => id}
      />
      <Part
        title="Failed webhooks to other systems"
        hint="The receiver did not take them in three days."
        rows={deliveries}
        columns={deliveryColumns(scope)}
        keyOf={({ id, endpoint }) => `${endpoint} ${id}`}
      />
    </>
  )
}

function Part<Row>({
  title,
  hint,
  rows,
  columns,
  keyOf,
}: {
  title: string
  hint: ReactNode
  rows: readonly Row[]
  columns: readonly Column<Row>[]
  keyOf: (row: Row) => string
}) {
  if (rows.length === 0) return null
  return (
    <section className="stack">
      <div>
        <h2>
          {title} <Badge tone="warn">{rows.length}</Badge>
        </h2>
        <p className="hint">{hint}</p>
      </div>
      <DataTable caption={title} rows={rows} columns={columns} keyOf={keyOf} />
    </section>
  )
}

const PURCHASE: readonly Column<Purchase>[] = [
  { head: 'Sponsor', cell: ({ sponsor_name: name }) => name ?? <span className="muted">–</span> },
  {
    head: 'Purchase',
    cell: ({ id, description }) => <Link href={`/purchases/${id}`}>{description}</Link>,
  },
]

const FLAGGED: readonly Column<Purchase>[] = [
  ...PURCHASE,
  {
    head: 'Flag',
    cell: ({ flags }) => (
      <span className="row">
        {[...new Set(flags.map(({ code }) => code))].map((code) => (
          <Badge key={code} tone="warn">
            {FLAGS[code]}
          </Badge>
        ))}
      </span>
    ),
  },
  {
    head: 'Since',
    numeric: true,
    cell: ({ flags }) => <When at={flags[0]?.raised_at ?? null} ago />,
  },
]

const STUCK: readonly Column<Purchase>[] = [
  ...PURCHASE,
  {
    head: 'Total',
    numeric: true,
    cell: ({ total_amount: total, currency }) => <Money amount={total} currency={currency} />,
  },
  { head: 'Since', numeric: true, cell: ({ updated_at: at }) => <When at={at} ago /> },
]

function disputeColumns({ dashboard }: ConsoleScope): readonly Column<Dispute>[] {
  return [
    {
      head: 'Answer until',
      cell: ({ evidence_due_by: due, evidence_past_due: isLate }) => (
        <span className="row">
          <When at={due} />
          {isLate === true ? <Badge tone="bad">Too late</Badge> : <When at={due} ago />}
        </span>
      ),
    },
    {
      head: 'Payment',
      cell: ({ payment_intent: payment }) =>
        payment === null ? '–' : <Link href={`/purchases?q=${payment}`}>Show the purchase</Link>,
    },
    { head: 'Reason', cell: ({ reason }) => reason?.replaceAll('_', ' ') ?? '–' },
    {
      head: 'Amount',
      numeric: true,
      cell: ({ amount, currency }) =>
        amount === null || currency === null ? '–' : formatStripeMoney(amount, currency),
    },
    ...(dashboard === null
      ? []
      : [
          {
            head: 'At Stripe',
            cell: ({ payment_intent: payment }: Dispute) => (
              <a href={`${dashboard}/payments/${payment ?? ''}`} target="_blank" rel="noreferrer">
                Answer
              </a>
            ),
          },
        ]),
  ]
}

function eventColumns(scope: ConsoleScope): readonly Column<FailedEvent>[] {
  return [
    { head: 'Event', cell: ({ type }) => type },
    {
      head: 'Purchase',
      cell: ({ purchase }) =>
        purchase === null ? '–' : <Link href={`/purchases/${purchase}`}>Show</Link>,
    },
    { head: 'Why it failed', cell: ({ last_error: error }) => error ?? '–' },
    { head: 'Received', numeric: true, cell: ({ received_at: at }) => <When at={at} ago /> },
    { head: 'Repair', cell: ({ id }) => <ReplayEvent scope={scope} event={id} /> },
  ]
}

function ReplayEvent({ scope: { conference }, event }: { scope: ConsoleScope; event: string }) {
  const replay = useAction({
    run: (_: void, key) =>
      dataOf(
        api.POST('/v1/conferences/{conference}/stripe/events/{event}/replay', {
          params: { path: { conference, event }, header: { 'Idempotency-Key': key } },
        }),
      ),
    changes: [eventsKey(conference)],
    done: 'The event is processed again.',
  })
  return (
    <Button small busy={replay.isPending} onPress={() => replay.mutate()}>
      Replay
    </Button>
  )
}

function deliveryColumns(scope: ConsoleScope): readonly Column<Delivery & { url: string }>[] {
  return [
    { head: 'Event', cell: ({ payload }) => payload.type },
    { head: 'Sent to', cell: ({ url }) => url },
    {
      head: 'Why it failed',
      cell: ({ last_status: status, last_error: error }) =>
        error ?? (status === null ? 'No answer' : `Status ${status}`),
    },
    {
      head: 'Last attempt',
      numeric: true,
      cell: ({ last_attempt_at: at }) => <When at={at} ago />,
    },
    {
      head: 'Repair',
      cell: ({ endpoint, id }) => <ReplayDelivery scope={scope} endpoint={endpoint} id={id} />,
    },
  ]
}

function ReplayDelivery({
  scope: { conference },
  endpoint,
  id: delivery,
}: {
  scope: ConsoleScope
  endpoint: string
  id: string
}) {
  const replay = useAction({
    run: (_: void, key) =>
      dataOf(
        api.POST(
          '/v1/conferences/{conference}/webhook-endpoints/{id}/deliveries/{delivery}/replay',
          {
            params: {
              path: { conference, id: endpoint, delivery },
              header: { 'Idempotency-Key': key },
            },
          },
        ),
      ),
    changes: [deliveriesKey(conference)],
    done: 'The webhook is sent again.',
  })
  return (
    <Button small busy={replay.isPending} onPress={() => replay.mutate()}>
      Replay
    </Button>
  )
}
