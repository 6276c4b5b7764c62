import { useQuery } from '@tanstack/react-query'
import { api, dataOf } from '../api/client.ts'
import { DataTable, Money, StateBadge, When } from '../ui/data.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { PageHead } from '../ui/shell.tsx'
import type { ConsoleScope } from './scope.ts'

/** The purchases of the conference, newest first. */
export function Purchases({ scope }: { scope: ConsoleScope }) {
  const { conference } = scope
  const purchases = useQuery({
    queryKey: ['purchases', conference],
    queryFn: () =>
      dataOf(
        api.GET('/v1/conferences/{conference}/purchases', { params: { path: { conference } } }),
      ),
  })
  return (
    <>
      <PageHead title="Purchases" />
      <Loaded query={purchases}>
        {({ data }) =>
          data.length === 0 ? (
            <Empty title="There are no purchases yet." />
          ) : (
            <DataTable
              caption="Purchases"
              rows={data}
              keyOf={({ id }) => id}
              columns={[
                { head: 'Item', cell: ({ description }) => description },
                {
                  head: 'State',
                  cell: ({ status }) => <StateBadge state={status} reader="staff" />,
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
          )
        }
      </Loaded>
    </>
  )
}
