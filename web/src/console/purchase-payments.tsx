import { Badge, type Column, DataTable, Money, type Tone, When } from '../ui/data.tsx'
import { Loaded } from '../ui/feedback.tsx'
import { type Payments, usePayments } from './purchase-data.ts'
import type { Purchase } from './purchase-list.ts'
import type { ConsoleScope } from './scope.ts'
import { StripeId } from './stripe-id.tsx'

type Attempt = Payments['attempts'][number]
type Payment = Payments['payments'][number]
type Refund = Payments['refunds'][number]
type Dispute = Payments['disputes'][number]

/** Attempts, payments, refunds and disputes. Nothing until the first attempt. */
export function PurchasePayments({ scope, purchase }: { scope: ConsoleScope; purchase: Purchase }) {
  const payments = usePayments(scope.conference, purchase.id)
  return (
    <Loaded query={payments} lines={2}>
      {({ payments: paid, attempts, refunds, disputes }) => (
        <>
          <Part
            title="Payments"
            rows={paid}
            columns={paymentColumns(scope, purchase)}
            keyOf={({ id }) => id}
          />
          <Part
            title="Refunds"
            rows={refunds.map((refund, place) => ({ ...refund, place }))}
            columns={refundColumns(scope)}
            keyOf={({ id, place }) => id ?? `request ${place}`}
          />
          <Part
            title="Disputes"
            rows={disputes}
            columns={disputeColumns(scope)}
            keyOf={({ id }) => id}
          />
          <Part
            title="Attempts to pay"
            rows={attempts}
            columns={ATTEMPTS}
            keyOf={({ attempt }) => String(attempt)}
          />
        </>
      )}
    </Loaded>
  )
}

function Part<Row>({
  title,
  rows,
  columns,
  keyOf,
}: {
  title: string
  rows: readonly Row[]
  columns: readonly Column<Row>[]
  keyOf: (row: Row) => string
}) {
  if (rows.length === 0) return null
  return (
    <section className="stack">
      <h2>{title}</h2>
      <DataTable caption={title} rows={rows} columns={columns} keyOf={keyOf} />
    </section>
  )
}

const TONES: Record<string, Tone> = {
  succeeded: 'good',
  paid: 'good',
  won: 'good',
  failed: 'bad',
  refused: 'bad',
  lost: 'bad',
  pending: 'busy',
  processing: 'busy',
  requested: 'busy',
  open: 'busy',
  needs_response: 'warn',
}

const status = (word: string) => (
  <Badge tone={TONES[word] ?? 'neutral'}>{word.replaceAll('_', ' ')}</Badge>
)

const METHODS: Record<string, string> = {
  bank_transfer: 'Bank transfer',
  cheque: 'Cheque',
  cash: 'Cash',
  other: 'Other',
}

function paymentColumns(
  scope: ConsoleScope,
  { recorded_payment: recorded }: Purchase,
): readonly Column<Payment>[] {
  return [
    {
      head: 'Payment',
      cell: ({ id, kind }) => {
        if (kind === 'recorded' && recorded !== null) {
          return `${METHODS[recorded.method] ?? recorded.method}, ${recorded.reference}`
        }
        return (
          <span className="row">
            <StripeId scope={scope} id={id} />
            {scope.dashboard === null ? null : (
              <a href={`${scope.dashboard}/payments/${id}`} target="_blank" rel="noreferrer">
                At Stripe
              </a>
            )}
          </span>
        )
      },
    },
    { head: 'State', cell: (row) => status(row.disputed ? 'disputed' : row.status) },
    {
      head: 'Received',
      numeric: true,
      cell: (row) => <Money amount={row.amount_received} currency={row.currency} />,
    },
    {
      head: 'Refunded',
      numeric: true,
      cell: (row) => <Money amount={row.amount_refunded} currency={row.currency} />,
    },
    {
      head: 'Can be refunded',
      numeric: true,
      cell: (row) => <Money amount={row.amount_refundable} currency={row.currency} />,
    },
  ]
}

const refundColumns = (scope: ConsoleScope): readonly Column<Refund>[] => [
  {
    head: 'Refund',
    cell: ({ id, payment }) => (id === null ? `Of ${payment}` : <StripeId scope={scope} id={id} />),
  },
  { head: 'State', cell: (row) => status(row.status) },
  {
    head: 'Reason',
    cell: ({ reason, failure_reason: failure }) =>
      failure ?? reason?.replaceAll('_', ' ') ?? <span className="muted">–</span>,
  },
  {
    head: 'Amount',
    numeric: true,
    cell: ({ amount, currency }) => <Money amount={amount} currency={currency} />,
  },
]

const disputeColumns = (scope: ConsoleScope): readonly Column<Dispute>[] => [
  { head: 'Dispute', cell: ({ id }) => <StripeId scope={scope} id={id} /> },
  { head: 'State', cell: (row) => status(row.status) },
  { head: 'Reason', cell: ({ reason }) => reason?.replaceAll('_', ' ') ?? '–' },
  {
    head: 'Amount',
    numeric: true,
    cell: ({ amount, currency }) => <Money amount={amount} currency={currency} />,
  },
]

const ATTEMPTS: readonly Column<Attempt>[] = [
  {
    head: 'Attempt',
    cell: ({ attempt, kind }) =>
      `${attempt}: ${kind === 'checkout' ? 'payment page' : 'saved card'}`,
  },
  { head: 'State', cell: (row) => status(row.state) },
  {
    head: 'Why it failed',
    cell: ({ failure }) => failure?.message ?? <span className="muted">–</span>,
  },
  { head: 'Opened', numeric: true, cell: ({ created_at: at }) => <When at={at} /> },
]
