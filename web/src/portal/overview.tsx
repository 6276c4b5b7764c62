import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { api, dataOf } from '../api/client.ts'
import { Badge, DataTable, Figure, Money, When } from '../ui/data.tsx'
import { Empty, Failure, Loaded } from '../ui/feedback.tsx'
import { formatCount } from '../ui/format.ts'
import { Pager } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { PageHead } from '../ui/shell.tsx'
import type { PortalScope } from './scope.ts'
import { stateWord } from './words.ts'

/** How many codes there are, how many are used, how many are left; then the purchases. */
export function Overview({ scope }: { scope: PortalScope }) {
  return (
    <>
      <PageHead title="Your vouchers">
        <Link className="button button-primary" href="/buy">
          Buy codes
        </Link>
      </PageHead>
      <Sums scope={scope} />
      <Purchases scope={scope} />
      <OtherBatches scope={scope} />
    </>
  )
}

/** Over all purchases, and the codes that came with the sponsorship. */
function Sums({ scope: { conference } }: { scope: PortalScope }) {
  const report = useQuery({
    queryKey: ['voucher-sums', conference],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/reports/vouchers', {
          params: { path: { conference } },
        }),
      ),
    refetchInterval: 10_000,
  })
  return (
    <Loaded query={report} lines={2}>
      {({ totals }) => (
        <dl className="figures card">
          <Figure name="Codes" value={formatCount(totals.issued)} />
          <Figure name="Used" value={formatCount(totals.redeemed)} />
          <Figure name="Left" value={formatCount(totals.remaining)} />
          {totals.frozen > 0 ? <Figure name="On hold" value={formatCount(totals.frozen)} /> : null}
          {totals.deactivated > 0 ? (
            <Figure name="Switched off" value={formatCount(totals.deactivated)} />
          ) : null}
        </dl>
      )}
    </Loaded>
  )
}

function Purchases({ scope: { conference } }: { scope: PortalScope }) {
  const url = useListUrl()
  const { cursor } = url
  const purchases = useQuery({
    queryKey: ['purchases', conference, cursor ?? 'newest'],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/purchases', {
          params: { path: { conference }, query: { limit: 25, cursor } },
        }),
      ),
    refetchInterval: 10_000,
  })
  return (
    <section className="stack">
      <h2>Purchases</h2>
      <Loaded query={purchases}>
        {({ data, ...page }) =>
          data.length === 0 && cursor === undefined ? (
            <Empty title="You have not bought any codes yet.">
              <p>A code lets one person register for a ticket that you paid.</p>
              <Link className="button" href="/buy">
                Buy codes
              </Link>
            </Empty>
          ) : (
            <>
              <DataTable
                caption="Your purchases, newest first"
                rows={data}
                keyOf={({ id }) => id}
                columns={[
                  {
                    head: 'Purchase',
                    cell: ({ id, description, reference }) => (
                      <>
                        <Link href={`/purchases/${id}`}>{description}</Link>
                        {reference === null ? null : <div className="hint">{reference}</div>}
                      </>
                    ),
                  },
                  {
                    head: 'State',
                    cell: (purchase) => {
                      const { word, tone } = stateWord(purchase)
                      return <Badge tone={tone}>{word}</Badge>
                    },
                  },
                  {
                    head: 'Codes left',
                    numeric: true,
                    cell: ({ vouchers }) =>
                      vouchers.issued === 0
                        ? '–'
                        : `${formatCount(vouchers.remaining)} of ${formatCount(vouchers.issued)}`,
                  },
                  {
                    head: 'Total',
                    numeric: true,
                    cell: ({ total_amount: total, currency }) =>
                      total === 0 ? 'Free' : <Money amount={total} currency={currency} />,
                  },
                  { head: 'Ordered', cell: ({ created_at: at }) => <When at={at} /> },
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

/** Codes without a purchase: they came with the sponsorship, or staff gave them. */
function OtherBatches({ scope: { conference } }: { scope: PortalScope }) {
  const batches = useQuery({
    queryKey: ['batches', conference],
    queryFn: async () => {
      const pages = await Promise.all(
        (['comp', 'staff'] as const).map((source) =>
          dataOf(
            api.GET('/v1/conferences/{conference}/voucher-batches', {
              params: { path: { conference }, query: { limit: 100, source } },
            }),
          ),
        ),
      )
      return pages.flatMap(({ data }) => data)
    },
  })
  const given = batches.data ?? []
  if (batches.error !== null && batches.data === undefined) {
    return <Failure error={batches.error} retry={() => void batches.refetch()} />
  }
  if (given.length === 0) return null
  return (
    <section className="stack">
      <h2>Codes that you did not have to buy</h2>
      <DataTable
        caption="Codes from the organizers"
        rows={given}
        keyOf={({ id }) => id}
        columns={[
          {
            head: 'Codes',
            cell: ({ id, count, source }) => (
              <Link href={`/batches/${id}`}>
                {formatCount(count)}{' '}
                {source === 'comp' ? 'with your sponsorship' : 'from the organizers'}
              </Link>
            ),
          },
          { head: 'Given', cell: ({ created_at: at }) => <When at={at} /> },
        ]}
      />
    </section>
  )
}
