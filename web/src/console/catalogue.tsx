import type { UseQueryResult } from '@tanstack/react-query'
import { useState } from 'react'
import { Button } from '../ui/controls.tsx'
import { Badge, DataTable, Money, When } from '../ui/data.tsx'
import { Empty, Loaded } from '../ui/feedback.tsx'
import { formatMoney } from '../ui/format.ts'
import { SearchBox } from '../ui/list.tsx'
import { useListUrl } from '../ui/list-url.ts'
import { PageHead } from '../ui/shell.tsx'
import { CatalogueForm } from './catalogue-form.tsx'
import { type CatalogueItem, type CatalogueKind, useAddOns, useTicketTypes } from './names.ts'
import type { ConsoleScope } from './scope.ts'

type Edited = { kind: CatalogueKind; item: CatalogueItem | null }

/** What sponsors can buy: ticket types and add-ons. */
export function Catalogue({ scope }: { scope: ConsoleScope }) {
  const url = useListUrl()
  const q = url.get('q')
  const [edited, setEdited] = useState<Edited | null>(null)
  const ticketTypes = useTicketTypes(scope)
  const addOns = useAddOns(scope)
  const mayWrite = scope.may('catalog:write')
  const edit = (kind: CatalogueKind) =>
    mayWrite ? (item: CatalogueItem | null) => setEdited({ kind, item }) : null
  return (
    <>
      <PageHead title="Catalogue" />
      <SearchBox label="Find by name" value={q} onSearch={(text) => url.set('q', text)} />
      <Section
        scope={scope}
        title="Ticket types"
        one="ticket type"
        add="Add a ticket type"
        query={ticketTypes}
        q={q}
        onEdit={edit('ticket_type')}
      />
      <Section
        scope={scope}
        title="Add-ons"
        one="add-on"
        add="Add an add-on"
        query={addOns}
        q={q}
        onEdit={edit('add_on')}
      />
      {edited === null ? null : (
        <CatalogueForm scope={scope} {...edited} onClose={() => setEdited(null)} />
      )}
    </>
  )
}

function Section<Item extends CatalogueItem>({
  scope,
  title,
  one,
  add,
  query,
  q,
  onEdit,
}: {
  scope: ConsoleScope
  title: string
  one: string
  add: string
  query: UseQueryResult<Item[]>
  q: string | undefined
  /** Null as an item: a new one. Null in its place: the person may only read. */
  onEdit: ((item: CatalogueItem | null) => void) | null
}) {
  return (
    <section className="stack">
      <div className="page-head">
        <h2>{title}</h2>
        {onEdit === null ? null : <Button onPress={() => onEdit(null)}>{add}</Button>}
      </div>
      <Loaded query={query}>
        {(rows) => {
          const found = rows.filter(({ name }) => matches(name, q))
          if (found.length > 0) {
            return <Items scope={scope} caption={title} items={found} onEdit={onEdit} />
          }
          return (
            <Empty title={q === undefined ? `There is no ${one} yet.` : `No ${one} is “${q}”.`} />
          )
        }}
      </Loaded>
    </section>
  )
}

const matches = (name: string, q: string | undefined) =>
  q === undefined || name.toLowerCase().includes(q.toLowerCase())

function Items({
  scope,
  caption,
  items,
  onEdit,
}: {
  scope: ConsoleScope
  caption: string
  items: readonly CatalogueItem[]
  onEdit: ((item: CatalogueItem) => void) | null
}) {
  const { currency } = scope
  return (
    <DataTable<CatalogueItem>
      caption={caption}
      rows={items}
      keyOf={({ id }) => id}
      columns={[
        { head: 'Name', cell: ({ name }) => name },
        {
          head: 'Price',
          numeric: true,
          cell: ({ price }) => <Money amount={price} currency={currency} />,
        },
        {
          head: 'Sponsors',
          cell: ({ bulk_enabled: isSold }) =>
            isSold ? <Badge tone="good">Can buy it</Badge> : <Badge>Cannot see it</Badge>,
        },
        { head: 'On sale', cell: (item) => <Sale item={item} /> },
        { head: 'A code gives', cell: (item) => codeGives(item, currency) },
        ...(onEdit === null
          ? []
          : [
              {
                head: 'Actions',
                cell: (item: CatalogueItem) => (
                  <Button small onPress={() => onEdit(item)}>
                    Edit<span className="visually-hidden"> {item.name}</span>
                  </Button>
                ),
              },
            ]),
      ]}
    />
  )
}

function Sale({ item: { active_from: from, active_until: until } }: { item: CatalogueItem }) {
  if (from === null && until === null) return 'Always'
  return (
    <span>
      {from === null ? null : (
        <>
          from <When at={from} />{' '}
        </>
      )}
      {until === null ? null : (
        <>
          until <When at={until} />
        </>
      )}
    </span>
  )
}

/** What a code of a later purchase gives, as it is set now. */
function codeGives({ voucher_defaults: terms }: CatalogueItem, currency: string): string {
  const { voucher_type: type = 'comp', discount_value: value = 0, max_uses: uses = 1 } = terms
  const benefit = {
    comp: 'Free',
    percentage: `${value} % off`,
    fixed_amount: `${formatMoney(value, currency)} off`,
  }[type]
  return uses === 1 ? `${benefit}, once` : `${benefit}, ${uses} times`
}
