import { lazy, Suspense, useState } from 'react'
import { Link } from 'wouter'
import { useAction } from '../api/actions.ts'
import { api, dataOf } from '../api/client.ts'
import { saveFile } from '../api/download.ts'
import { Button } from '../ui/controls.tsx'
import { Badge, type Column, DataTable, Money, StateBadge, When } from '../ui/data.tsx'
import { Empty, Loaded, Loading } from '../ui/feedback.tsx'
import { CheckboxField } from '../ui/form.tsx'
import { plural } from '../ui/format.ts'
import { Pager, SearchBox } from '../ui/list.tsx'
import { type ListUrl, useListUrl } from '../ui/list-url.ts'
import { PageHead } from '../ui/shell.tsx'
import { BulkActions, type Chosen } from './bulk-actions.tsx'
import {
  FILTER_NAMES,
  FLAGS,
  filtersOf,
  type Purchase,
  STATES,
  usePurchases,
} from './purchase-list.ts'
import type { ConsoleScope } from './scope.ts'

// What the first look at the list does not need.
const MoreFilters = lazy(async () => ({
  default: (await import('./purchase-filters.tsx')).MoreFilters,
}))
const DecisionDialog = lazy(async () => ({
  default: (await import('./bulk-decision.tsx')).DecisionDialog,
}))

/** The purchases of the conference, newest first by default. Filters, order and page are in the URL. */
export function Purchases({ scope }: { scope: ConsoleScope }) {
  const url = useListUrl()
  const purchases = usePurchases(scope.conference, url)
  // It outlives the rows, which change while it runs.
  const [decided, setDecided] = useState<Chosen | null>(null)
  const isFiltered = FILTER_NAMES.some((name) => url.get(name) !== undefined)
  return (
    <>
      <PageHead title="Purchases">
        <CsvButton scope={scope} url={url} />
        {scope.may('purchases:write') ? (
          <Link href="/purchases/new" className="button button-primary">
            New purchase
          </Link>
        ) : null}
      </PageHead>
      <Filters scope={scope} url={url} />
      <Loaded query={purchases}>
        {(page) => (
          <>
            {page.data.length === 0 ? (
              <NoPurchases isFiltered={isFiltered} />
            ) : (
              <PurchaseTable scope={scope} rows={page.data} onDecide={setDecided} />
            )}
            <Pager url={url} page={page} />
          </>
        )}
      </Loaded>
      {decided === null ? null : (
        <Suspense>
          <DecisionDialog scope={scope} chosen={decided} onClose={() => setDecided(null)} />
        </Suspense>
      )}
    </>
  )
}

function NoPurchases({ isFiltered }: { isFiltered: boolean }) {
  if (!isFiltered) return <Empty title="There are no purchases yet." />
  return (
    <Empty title="No purchase matches.">
      <Link href="/purchases">Show all purchases</Link>
    </Empty>
  )
}

/** All purchases that match the filters, also those of other pages. */
function CsvButton({ scope: { conference }, url }: { scope: ConsoleScope; url: ListUrl }) {
  const download = useAction({
    run: async () => {
      const content = await dataOf(
        api.GET('/v1/conferences/{conference}/purchases', {
          params: { path: { conference }, query: filtersOf(url) },
          headers: { accept: 'text/csv' },
          parseAs: 'blob',
        }),
      )
      saveFile(content, `${conference}-purchases.csv`)
    },
  })
  return (
    <Button busy={download.isPending} onPress={() => download.mutate()}>
      Download CSV
    </Button>
  )
}

const words = (state: string) => `${state[0] ?? ''}${state.slice(1).toLowerCase()}`

function Filters({ scope, url }: { scope: ConsoleScope; url: ListUrl }) {
  const [isOpen, setOpen] = useState(() =>
    ['sponsor', 'ticket_type', 'flag', 'from', 'to'].some((name) => url.get(name) !== undefined),
  )
  const status = url.get('status')
  const isOldestFirst = url.get('sort') === 'oldest'
  return (
    <div className="stack">
      <fieldset className="chips">
        <legend className="visually-hidden">State</legend>
        {[undefined, ...STATES].map((state) => (
          <button
            key={state ?? 'all'}
            type="button"
            className="chip"
            aria-pressed={status === state}
            onClick={() => url.set('status', state)}
          >
            {state === undefined ? 'All' : words(state)}
          </button>
        ))}
      </fieldset>
      <div className="row row-end">
        <SearchBox
          label="Search"
          value={url.get('q')}
          onSearch={(text) => url.set('q', text)}
          placeholder="Sponsor, reference, payment, code…"
        />
        <button
          type="button"
          className="chip"
          aria-pressed={isOldestFirst}
          onClick={() => url.set('sort', isOldestFirst ? undefined : 'oldest')}
        >
          Oldest first
        </button>
        <Button kind="quiet" aria-expanded={isOpen} onPress={() => setOpen(!isOpen)}>
          {isOpen ? 'Fewer filters' : 'More filters'}
        </Button>
      </div>
      {isOpen ? (
        <Suspense fallback={<Loading lines={1} />}>
          <MoreFilters scope={scope} url={url} />
        </Suspense>
      ) : null}
    </div>
  )
}

const isDecidable = ({ allowed_actions: allowed }: Purchase) =>
  allowed.includes('approve') || allowed.includes('revoke')

function PurchaseTable({
  scope,
  rows,
  onDecide,
}: {
  scope: ConsoleScope
  rows: readonly Purchase[]
  onDecide: (chosen: Chosen) => void
}) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const mayChoose = scope.may('purchases:write') && rows.some(isDecidable)
  const choose = (id: string, isChosen: boolean) =>
    setChosen((before) => {
      const next = new Set(before)
      if (isChosen) next.add(id)
      else next.delete(id)
      return next
    })
  const choice: Column<Purchase> = {
    head: 'Choose',
    cell: (row) =>
      isDecidable(row) ? (
        <CheckboxField
          label={<span className="visually-hidden">{`Choose ${nameOf(row)}`}</span>}
          value={chosen.has(row.id)}
          onChange={(isChosen) => choose(row.id, isChosen)}
        />
      ) : null,
  }
  return (
    <>
      {mayChoose ? (
        <BulkActions
          chosen={rows.filter((row) => chosen.has(row.id) && isDecidable(row))}
          free={rows.filter(isDecidable)}
          onChoose={(ids) => setChosen(new Set(ids))}
          onDecide={onDecide}
        />
      ) : null}
      <DataTable
        caption="Purchases"
        rows={rows}
        keyOf={({ id }) => id}
        columns={mayChoose ? [choice, ...COLUMNS] : COLUMNS}
      />
    </>
  )
}

/** `Acme: 40 × Early Bird voucher codes` */
const nameOf = ({ sponsor_name: sponsor, description }: Purchase) =>
  `${sponsor ?? 'No sponsor'}: ${description}`

const COLUMNS: readonly Column<Purchase>[] = [
  { head: 'Sponsor', cell: ({ sponsor_name: name }) => name ?? <span className="muted">–</span> },
  {
    head: 'Purchase',
    cell: ({ id, description, reference }) => (
      <span>
        <Link href={`/purchases/${id}`}>{description}</Link>
        {reference === null ? null : <span className="hint block">{reference}</span>}
      </span>
    ),
  },
  {
    head: 'State',
    cell: ({ status, flags }) => (
      <span className="row">
        <StateBadge state={status} />
        {[...new Set(flags.map(({ code }) => code))].map((code) => (
          <Badge key={code} tone="warn">
            {FLAGS[code]}
          </Badge>
        ))}
      </span>
    ),
  },
  {
    head: 'Codes used',
    numeric: true,
    cell: ({ vouchers: { issued, redeemed } }) =>
      issued === 0 ? (
        <span className="muted">–</span>
      ) : (
        <span title={plural(issued, 'code')}>{`${redeemed} of ${issued}`}</span>
      ),
  },
  {
    head: 'Total',
    numeric: true,
    cell: ({ total_amount: total, currency }) => <Money amount={total} currency={currency} />,
  },
  { head: 'Ordered', numeric: true, cell: ({ created_at: at }) => <When at={at} /> },
]
