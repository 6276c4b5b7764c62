import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { useAction } from '../api/actions.ts'
import { AS_CSV, api, dataOf, type Schema } from '../api/client.ts'
import { saveFile } from '../api/download.ts'
import { SelectField } from '../ui/choices.tsx'
import { Button } from '../ui/controls.tsx'
import { Badge, DataTable, Figure, Money, type Tone, When } from '../ui/data.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { formatMoney } from '../ui/format.ts'
import { Pager } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { PageHead } from '../ui/shell.tsx'
import type { ConsoleScope } from './scope.ts'

type Payout = Schema<'Payout'>
type Report = Schema<'PayoutReport'>
type Item = Schema<'BalanceItem'>

const PATH = '/v1/conferences/{conference}/reports/payouts'

const STATUSES: Record<Payout['status'], { label: string; tone: Tone }> = {
  pending: { label: 'Pending', tone: 'busy' },
  in_transit: { label: 'On its way', tone: 'busy' },
  paid: { label: 'Arrived', tone: 'good' },
  failed: { label: 'Failed', tone: 'bad' },
  canceled: { label: 'Cancelled', tone: 'neutral' },
}

const isStatus = (text: string): text is Payout['status'] => text in STATUSES

const OPTIONS = [
  { key: 'any', label: 'Any' },
  ...Object.entries(STATUSES).map(([key, { label }]) => ({ key, label })),
]

/** What Stripe sent to the bank account of the conference. */
export function Payouts({ scope: { conference } }: { scope: ConsoleScope }) {
  const url = useListUrl()
  const chosen = url.get('status') ?? ''
  const status = isStatus(chosen) ? chosen : undefined
  const payouts = useQuery({
    queryKey: ['payouts', conference, status, url.cursor],
    queryFn: () =>
      dataOf(
        api.GET(PATH, {
          params: { path: { conference }, query: { status, cursor: url.cursor, limit: 25 } },
        }),
      ),
  })
  return (
    <>
      <PageHead title="Payouts" />
      <div className="filters">
        <SelectField
          label="Status"
          value={status ?? 'any'}
          onChange={(key) => url.set('status', key === 'any' ? undefined : key)}
          options={OPTIONS}
        />
      </div>
      <Loaded query={payouts}>
        {(page) =>
          page.data.length === 0 ? (
            <Empty title="Stripe has sent no such payout to the bank account." />
          ) : (
            <>
              <DataTable
                caption="Payouts"
                rows={page.data}
                keyOf={({ id }) => id}
                columns={[
                  {
                    head: 'Arrives',
                    cell: ({ id, arrival_date: day }) => (
                      <Link href={`/reports/payouts/${id}`}>{day}</Link>
                    ),
                  },
                  { head: 'Status', cell: ({ status: of }) => <Status of={of} /> },
                  {
                    head: 'Amount',
                    numeric: true,
                    cell: ({ amount, currency }) => <Money amount={amount} currency={currency} />,
                  },
                  {
                    head: 'Made by',
                    cell: ({ automatic }) => (automatic ? "Stripe's schedule" : 'Hand'),
                  },
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

function Status({ of }: { of: Payout['status'] }) {
  const { label, tone } = STATUSES[of]
  return <Badge tone={tone}>{label}</Badge>
}

/** A payout with its entries and the purchases that they are of. */
export function PayoutPage({ scope: { conference }, id }: { scope: ConsoleScope; id: string }) {
  const path = { conference, payout: id }
  const report = useQuery({
    queryKey: ['payouts', conference, id],
    queryFn: () => dataOf(api.GET(`${PATH}/{payout}`, { params: { path } })),
  })
  const download = useAction({
    run: async () => {
      const csv = await dataOf(api.GET(`${PATH}/{payout}`, { params: { path }, ...AS_CSV }))
      saveFile(new Blob([String(csv)], { type: 'text/csv' }), `payout-${id}.csv`)
    },
  })
  return (
    <>
      <PageHead title="Payout">
        <Button busy={download.isPending} onPress={() => download.mutate()}>
          Download CSV
        </Button>
      </PageHead>
      <Loaded query={report}>{(payout) => <PayoutDetail payout={payout} />}</Loaded>
    </>
  )
}

const NOTES: Record<Report['reconciliation'], string> = {
  agrees: 'note note-good',
  differs: 'note note-bad',
  in_progress: 'note',
  not_itemised: 'note note-warn',
}

function PayoutDetail({ payout }: { payout: Report }) {
  const { amount, currency, totals, items, detail, reconciliation, other_listed: listed } = payout
  const money = (of: number) => formatMoney(of, currency)
  const { conference, payout: carried, other, all } = totals
  return (
    <>
      <section className="card stack">
        <p>
          <Status of={payout.status} /> {payout.failure_message}
        </p>
        <dl className="figures">
          <Figure name="Payout" value={money(amount)} hint={`arrives ${payout.arrival_date}`} />
          <Figure name="Of this conference" value={money(conference.net)} />
          <Figure name="Fees of this conference" value={money(conference.fee)} />
          <Figure name="Of other sales" value={money(other.net)} />
          {carried.count === 0 ? null : (
            <Figure name="Of other payouts" value={money(carried.net)} />
          )}
        </dl>
        <p className={NOTES[reconciliation]}>{detail}</p>
      </section>
      <section className="stack">
        <h2>Entries</h2>
        {items.length === 0 ? (
          <Empty title="No entry is listed." />
        ) : (
          <DataTable
            caption="Entries of the payout"
            rows={items}
            keyOf={({ id }) => id}
            columns={[
              { head: 'Date', cell: ({ created_at: at }) => <When at={at} /> },
              { head: 'What', cell: ({ category }) => wordsOf(category) },
              { head: 'Of', cell: (item) => <Of item={item} /> },
              {
                head: 'Gross',
                numeric: true,
                cell: ({ gross, currency: of }) => <Money amount={gross} currency={of} />,
              },
              {
                head: 'Fee',
                numeric: true,
                cell: ({ fee, currency: of }) => <Money amount={fee} currency={of} />,
              },
              {
                head: 'Net',
                numeric: true,
                cell: ({ net, currency: of }) => <Money amount={net} currency={of} />,
              },
            ]}
          />
        )}
        {listed || other.count === 0 ? null : (
          <p className="muted">
            {other.count} of {all.count} entries do not belong to this conference. They are only
            summed up.
          </p>
        )}
      </section>
    </>
  )
}

const wordsOf = (category: string) => {
  const words = category.replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

function Of({ item }: { item: Item }) {
  const { purchase, charge, subscription, sponsor_name: sponsor, payout } = item
  if (purchase !== null) return <Link href={`/purchases/${purchase}`}>{sponsor ?? 'Purchase'}</Link>
  if (payout !== null) return <Link href={`/reports/payouts/${payout}`}>Another payout</Link>
  if (charge !== null) return `${sponsor ?? ''} (charge)`
  return subscription === null ? 'Another sale' : `${sponsor ?? ''} (subscription)`
}
