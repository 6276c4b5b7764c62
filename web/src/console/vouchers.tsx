import { useQuery } from '@tanstack/react-query'
import { Link, useLocation } from 'wouter'
import { ApiError, api, dataOf, type Schema } from '../api/client.ts'
import { Badge, DataTable, When } from '../ui/data.tsx'
import { Empty, Failure, Loaded, Loading } from '../ui/feedback.tsx'
import { Pager, SearchBox } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { PageHead } from '../ui/shell.tsx'
import { useItemName } from './names.ts'
import type { ConsoleScope } from './scope.ts'
import { VoucherPanel } from './voucher-panel.tsx'
import { shortVerdictOf } from './voucher-verdict.ts'

type Voucher = Schema<'Voucher'>

/** As the service compares codes. */
const keyOf = (code: string) => code.replace(/[ -]/g, '').toUpperCase()

/** Vouchers by code, person or order. A whole code shows at once whether it is good. */
export function Vouchers({ scope }: { scope: ConsoleScope }) {
  const url = useListUrl()
  const text = url.get('q')
  return (
    <>
      <PageHead title="Vouchers" />
      <SearchBox
        label="Code, person or order"
        value={text}
        onSearch={(found) => url.set('q', found)}
        autoFocus
      />
      {text === undefined && !scope.may('vouchers:read') ? (
        <Empty title="Is this code good?">
          <p>Type it above. Capital letters, spaces and hyphens do not matter.</p>
        </Empty>
      ) : (
        <Results key={text} scope={scope} text={text} />
      )}
    </>
  )
}

/** One code, by its own address. */
export function VoucherPage({ scope, code }: { scope: ConsoleScope; code: string }) {
  const [, navigate] = useLocation()
  return (
    <>
      <PageHead title="Voucher" />
      <SearchBox
        label="Code, person or order"
        value={undefined}
        onSearch={(text) =>
          navigate(text === undefined ? '/vouchers' : `/vouchers?q=${encodeURIComponent(text)}`)
        }
      />
      <VoucherPanel key={code} scope={scope} code={code} />
    </>
  )
}

function Results({ scope, text }: { scope: ConsoleScope; text: string | undefined }) {
  const url = useListUrl()
  const vouchers = useVouchers(scope, text, url.cursor)
  const orders = useOrders(scope, text)
  return (
    <Loaded query={vouchers}>
      {(page) => {
        const exact = page.data.find(
          ({ code }) => text !== undefined && keyOf(code) === keyOf(text),
        )
        if (exact !== undefined) return <VoucherPanel scope={scope} code={exact.code} />
        const found = orders.data ?? []
        if (page.data.length === 0 && found.length === 0) {
          if (orders.isLoading) return <Loading lines={1} />
          if (orders.error !== null) {
            return <Failure error={orders.error} retry={() => void orders.refetch()} />
          }
          return (
            <Empty title={text === undefined ? 'There are no vouchers yet.' : 'Nothing found.'}>
              {text === undefined ? null : (
                <p>
                  No code, person or order is “{text}”. Check each letter: codes have no 0, 1, I and
                  O after their prefix.
                </p>
              )}
            </Empty>
          )
        }
        return (
          <>
            {found.length === 0 ? null : <Orders redemptions={found} order={text ?? ''} />}
            {page.data.length === 0 ? null : <List scope={scope} vouchers={page.data} />}
            <Pager url={url} page={page} />
          </>
        )
      }}
    </Loaded>
  )
}

const NOTHING = { data: [] as Voucher[], next_cursor: null }

/** Without the scope for lists, a person at the door finds only whole codes. */
function useVouchers(
  { conference, may }: ConsoleScope,
  text: string | undefined,
  cursor: string | undefined,
) {
  return useQuery({
    queryKey: ['vouchers', conference, 'search', text, cursor],
    queryFn: async () => {
      if (may('vouchers:read')) {
        const isPurchase = text !== undefined && /^bp_\w+$/.test(text)
        const filter = isPurchase ? { purchase: text } : { q: text }
        return dataOf(
          api.GET('/v1/conferences/{conference}/vouchers', {
            params: { path: { conference }, query: { ...filter, cursor, limit: 25 } },
          }),
        )
      }
      if (text === undefined || !may('vouchers:redeem')) return NOTHING
      try {
        const found = await dataOf(
          api.GET('/v1/conferences/{conference}/vouchers/{code}', {
            params: { path: { conference, code: text } },
          }),
        )
        return { data: [found], next_cursor: null }
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return NOTHING
        throw error
      }
    },
  })
}

function useOrders({ conference, may }: ConsoleScope, reference: string | undefined) {
  return useQuery({
    queryKey: ['redemptions', conference, 'order', reference],
    enabled: reference !== undefined && may('vouchers:redeem'),
    queryFn: async () => {
      const { data } = await dataOf(
        api.GET('/v1/conferences/{conference}/redemptions', {
          params: { path: { conference }, query: { reference, limit: 100 } },
        }),
      )
      return data
    },
  })
}

function Orders({ redemptions, order }: { redemptions: Schema<'Redemption'>[]; order: string }) {
  return (
    <section className="stack">
      <h2>Codes of order {order}</h2>
      <DataTable
        caption={`Codes of order ${order}`}
        rows={redemptions}
        keyOf={({ id }) => id}
        columns={[
          { head: 'Code', cell: ({ voucher }) => <CodeLink code={voucher} /> },
          { head: 'Used', cell: ({ created_at: at }) => <When at={at} /> },
          { head: 'Released', cell: ({ released_at: at }) => <When at={at} /> },
        ]}
      />
    </section>
  )
}

const CodeLink = ({ code }: { code: string }) => (
  <Link className="code" href={`/vouchers/${encodeURIComponent(code)}`}>
    {code}
  </Link>
)

function List({ scope, vouchers }: { scope: ConsoleScope; vouchers: Voucher[] }) {
  return (
    <DataTable
      caption="Vouchers"
      rows={vouchers}
      keyOf={({ code }) => code}
      columns={[
        { head: 'Code', cell: ({ code }) => <CodeLink code={code} /> },
        {
          head: 'State',
          cell: (voucher) => {
            const { tone, word } = shortVerdictOf(voucher)
            return <Badge tone={tone}>{word}</Badge>
          },
        },
        { head: 'For', cell: (voucher) => <ItemName scope={scope} voucher={voucher} /> },
        {
          head: 'Person',
          cell: ({ assigned_to: person }) =>
            person === null ? <span className="muted">–</span> : (person.name ?? person.email),
        },
        {
          head: 'Used',
          numeric: true,
          cell: ({ times_used: used, max_uses: max }) => `${used} of ${max}`,
        },
        { head: 'Issued', cell: ({ created_at: at }) => <When at={at} /> },
      ]}
    />
  )
}

function ItemName({ scope, voucher }: { scope: ConsoleScope; voucher: Voucher }) {
  const name = useItemName(scope, voucher)
  if (name !== null) return name
  return voucher.ticket_type === null && voucher.add_on === null ? 'Any ticket' : '…'
}
