import { useQuery } from '@tanstack/react-query'
import { api, dataOf } from '../api/client.ts'
import { DataTable, Figure, Money, StateBadge, When } from '../ui/data.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { PageHead } from '../ui/shell.tsx'
import type { PortalScope } from './scope.ts'

/** How many codes there are, how many are used, how many are left; and the newest purchases. */
export function Overview({ scope }: { scope: PortalScope }) {
  const { conference } = scope
  const purchases = useQuery({
    queryKey: ['purchases', conference, 'newest'],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/purchases', {
          params: { path: { conference }, query: { limit: 100 } },
        }),
      ),
  })
  return (
    <>
      <PageHead title="Your vouchers" />
      <Loaded query={purchases}>
        {({ data }) => {
          const sum = (of: 'issued' | 'redeemed' | 'remaining') =>
            data.reduce((total, { vouchers }) => total + vouchers[of], 0)
          return (
            <>
              <dl className="figures card">
                <Figure name="Codes" value={sum('issued')} />
                <Figure name="Used" value={sum('redeemed')} />
                <Figure name="Left" value={sum('remaining')} />
              </dl>
              {data.length === 0 ? (
                <Empty title="No purchases yet." />
              ) : (
                <DataTable
                  caption="Your newest purchases"
                  rows={data}
                  keyOf={({ id }) => id}
                  columns={[
                    { head: 'Item', cell: ({ description }) => description },
                    {
                      head: 'State',
                      cell: ({ status }) => <StateBadge state={status} reader="sponsor" />,
                    },
                    {
                      head: 'Total',
                      numeric: true,
                      cell: ({ total_amount: total, currency }) => (
                        <Money amount={total} currency={currency} />
                      ),
                    },
                    { head: 'Ordered', cell: ({ created_at: at }) => <When at={at} /> },
                  ]}
                />
              )}
            </>
          )
        }}
      </Loaded>
    </>
  )
}
