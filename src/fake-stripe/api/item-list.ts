import { type Row, Rows } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { noSuch } from '../core/stripe-error.ts'
import type { Table } from '../core/table.ts'
import { parsePage } from './list-operation.ts'
import { paramError } from './param-errors.ts'
import { group } from './params.ts'
import { type Call, existing, type Operation } from './resource.ts'

/** As many as Stripe shows of a list inside an object; the rest must be listed. */
const EMBEDDED = 10

type ItemListSpec<P extends Row, T extends Row> = {
  /** `/v1/invoices/:id/lines` */
  path: string
  /** The kind of the items. */
  kind: string
  parents: Table<P>
  /** The name under which Stripe reports a missing parent. */
  param: string
  itemsOf: (scope: Scope, id: string) => readonly T[]
}

/** Items in the order of their object, 10 a page unless `limit` says otherwise. */
export function itemListOperation<P extends Row, T extends Row>(
  spec: ItemListSpec<P, T>,
): Operation {
  const { path, kind, parents, param, itemsOf } = spec
  return {
    method: 'GET',
    path,
    returns: kind,
    list: true,
    prepare(form, { id = '' }) {
      const { page, rest } = parsePage(form)
      const none = group({}).safeParse(rest)
      if (!none.success) throw paramError(none.error.issues)
      const { limit = 10, starting_after: startingAfter, ending_before: endingBefore } = page
      return (call: Call) => {
        existing(call, parents, id, param, 404)
        const rows = inOrder(itemsOf(call, id))
        const slice = rows.page({ limit, startingAfter, endingBefore })
        if (slice === undefined)
          throw noSuch(kind, startingAfter ?? endingBefore ?? '', 'starting_after')
        const url = path.replace(':id', id)
        return { object: 'list', url, has_more: slice.hasMore, data: slice.data }
      }
    },
  }
}

/** The first items as they are shown inside their object. */
export function embeddedList<T>(items: readonly T[], url: string) {
  const data = items.slice(0, EMBEDDED)
  return { object: 'list' as const, data, has_more: items.length > EMBEDDED, url }
}

/** Rows give the newest first, so the items go in from the last one. */
function inOrder<T extends Row>(items: readonly T[]): Rows<T> {
  const rows = new Rows<T>()
  for (const item of items.toReversed()) rows.insert(item)
  return rows
}
