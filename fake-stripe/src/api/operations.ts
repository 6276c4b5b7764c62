import type { z } from 'zod'
import type { DeclineCode } from '../core/declines.ts'
import { invalidParameter, noSuch } from '../core/errors.ts'
import { idOf } from '../core/ids.ts'
import { defineTable, type Row, Rows, type Table } from '../core/rows.ts'
import type { Scope } from '../core/scope.ts'
import { type Form, group, integer, paramError, type ShapeOf, text } from './params.ts'

/** An API request that has passed all checks. */
export type Call = Scope & {
  /** An injected fault declines the payment that the request makes; null: the card decides. */
  decline: DeclineCode | null
  /** The paths of `expand`. */
  expand: readonly string[]
}

export type PathParams = Readonly<Record<string, string>>

/** One endpoint of the API. */
export type Operation = {
  method: 'GET' | 'POST' | 'DELETE'
  /** `/v1/refunds/:id` */
  path: string
  /** The kind of object in the response, for `expand`; `list` is true for a page of them. */
  returns: string
  list: boolean
  /** Whether `expand` accepts `total_count`, as for a search. */
  countable?: boolean
  /**
   * Checks the parameters and returns the function that executes the request.
   *
   * @throws StripeError for an invalid parameter, before anything is changed.
   */
  prepare(form: Form, path: PathParams): (call: Call) => unknown
}

/** The fields of a kind of object that `expand` accepts. */
export type Expandable = {
  [field: string]: {
    kind: string
    list?: boolean
    /**
     * Loads a field that is absent unless it is expanded, by the object's id. Without it the field
     * is an id.
     */
    load?: (scope: Scope, id: string) => unknown
    /** The field is always a full object; only the fields below it can be expanded. */
    inline?: boolean
  }
}

/** The endpoints and expandable fields of one kind of object. */
export type Resource = { kind: string; expandable: Expandable; operations: Operation[] }

type OperationSpec<S extends z.ZodType> = {
  method: Operation['method']
  path: string
  returns: string
  params: S
  run: (call: Call, params: z.output<S>, path: PathParams) => unknown
}

export function operation<S extends z.ZodType>(spec: OperationSpec<S>): Operation {
  const { method, path, returns, params, run } = spec
  return {
    method,
    path,
    returns,
    list: false,
    prepare(form, pathParams) {
      const result = params.safeParse(form)
      if (!result.success) throw paramError(result.error.issues)
      return (call) => run(call, result.data, pathParams)
    },
  }
}

/** `GET /v1/things/:id`. @param param the name under which Stripe reports a missing id. */
export function retrieveOperation<T extends Row>(path: string, table: Table<T>, param = 'id') {
  return operation({
    method: 'GET',
    path,
    returns: table.name,
    params: group({}),
    run: (call, _params, { id = '' }) => existing(call, table, id, param, 404),
  })
}

/** The row with this id, or Stripe's `No such …`. */
export function existing<T extends Row>(
  scope: Scope,
  table: Table<T>,
  id: string,
  param: string,
  status: 400 | 404 = 400,
): T {
  const row = scope.account.rows(table).get(id)
  if (row === undefined) throw noSuch(table.label, id, param, status)
  return row
}

const pageSchema = group({
  limit: integer({ min: 1, max: 100 }).optional(),
  starting_after: text().optional(),
  ending_before: text().optional(),
})

/** The parameters of every list request that select the page. */
export type PageParams = {
  limit?: number | undefined
  starting_after?: string | undefined
  ending_before?: string | undefined
}

/** A schema for each filter of the SDK's list parameters, and for no others. */
export type FiltersOf<P> = Omit<ShapeOf<P>, keyof PageParams>

type PageSource<T extends Row> = {
  path: string
  table: Table<T>
  /** How rows are shown, when the list does not show them unchanged: plans are prices. */
  view?: { kind: string; of: (row: T) => object }
}

type ListSpec<T extends Row, S extends z.ZodRawShape> = PageSource<T> & {
  /** The filters beside limit and cursors. */
  filters: S
  where: (
    params: z.output<z.ZodObject<S, z.core.$strict>>,
    call: Call,
    path: PathParams,
  ) => (row: T) => boolean
}

/** `GET /v1/things`: newest first, 10 a page unless `limit` says 1 to 100. */
export function listOperation<T extends Row, S extends z.ZodRawShape>(
  spec: ListSpec<T, S>,
): Operation {
  const { path, table, filters, where, view } = spec
  const filterSchema = group(filters)
  return {
    method: 'GET',
    path,
    returns: view?.kind ?? table.name,
    list: true,
    prepare(form, pathParams) {
      const { page, rest } = parsePage(form)
      const filter = filterSchema.safeParse(rest)
      if (!filter.success) throw paramError(filter.error.issues)
      const url = path.replaceAll(/:(\w+)/g, (_, name: string) => pathParams[name] ?? '')
      return (call) => listPage(call, { ...spec, url }, page, where(filter.data, call, pathParams))
    },
  }
}

/**
 * Reads limit and cursors; `rest` has the other parameters. @throws StripeError for an invalid one.
 */
function parsePage(form: Form): { page: PageParams; rest: Form } {
  const { limit, starting_after, ending_before, ...rest } = form
  const given = Object.entries({ limit, starting_after, ending_before })
  const page = pageSchema.safeParse(
    Object.fromEntries(given.filter(([, value]) => value !== undefined)),
  )
  if (!page.success) throw paramError(page.error.issues)
  checkCursors(page.data)
  return { page: page.data, rest }
}

function checkCursors(page: PageParams): void {
  if (page.starting_after === undefined || page.ending_before === undefined) return
  throw invalidParameter(
    'ending_before',
    'You may only specify one of these parameters: starting_after, ending_before.',
    'parameters_exclusive',
  )
}

function listPage<T extends Row>(
  call: Call,
  { url, table, view }: PageSource<T> & { url: string },
  params: PageParams,
  where: (row: T) => boolean,
) {
  const { limit = 10, starting_after: startingAfter, ending_before: endingBefore } = params
  const page = call.account.rows(table).page({ limit, startingAfter, endingBefore, where })
  const cursor = startingAfter === undefined ? 'ending_before' : 'starting_after'
  if (page === undefined)
    throw noSuch(view?.kind ?? table.label, startingAfter ?? endingBefore ?? '', cursor)
  const data = view === undefined ? page.data : page.data.map(view.of)
  return { object: 'list', url, has_more: page.hasMore, data }
}

type TimeRange = {
  gt?: number | undefined
  gte?: number | undefined
  lt?: number | undefined
  lte?: number | undefined
}

/** Turns a `created` filter into a test. */
export function createdWithin(
  range: TimeRange | undefined,
): (row: { created?: number }) => boolean {
  const { gt = -1, gte = 0, lt = Infinity, lte = Infinity } = range ?? {}
  return ({ created = 0 }) => created > gt && created >= gte && created < lt && created <= lte
}

/** Stripe embeds at most this many items of a list in an object; the list endpoint has the rest. */
const EMBEDDED_LENGTH = 10

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

/** Items in the order that they have in their object, 10 a page unless `limit` says otherwise. */
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

/** The first items of a list, as Stripe embeds them in an object. */
export function embeddedList<T>(items: readonly T[], url: string) {
  const data = items.slice(0, EMBEDDED_LENGTH)
  return { object: 'list' as const, data, has_more: items.length > EMBEDDED_LENGTH, url }
}

/**
 * For `expand`: the newest 10 objects of another kind whose `field` refers to this object. The kind
 * is named by text, so that two kinds can list each other without importing each other.
 */
export function loadRelated(
  kind: string,
  field: string,
  url: (id: string) => string,
  where: (row: Record<string, unknown>) => boolean = () => true,
) {
  return ({ account }: Scope, id: string) => {
    const page = account.rows(defineTable<Row & Record<string, unknown>>(kind)).page({
      limit: EMBEDDED_LENGTH,
      where: (row) => idOf(row[field] as string | { id: string } | null) === id && where(row),
    })
    return {
      object: 'list' as const,
      data: page?.data ?? [],
      has_more: page?.hasMore ?? false,
      url: url(id),
    }
  }
}

/** Rows return the newest first, so the items are inserted from the last one. */
function inOrder<T extends Row>(items: readonly T[]): Rows<T> {
  const rows = new Rows<T>()
  for (const item of items.toReversed()) rows.insert(item)
  return rows
}
