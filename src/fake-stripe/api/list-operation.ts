import type { z } from 'zod'
import type { Row } from '../core/rows.ts'
import { invalidParameter, noSuch } from '../core/stripe-error.ts'
import type { Table } from '../core/table.ts'
import type { Form } from './form.ts'
import { paramError } from './param-errors.ts'
import { group, integer, type ShapeOf, text } from './params.ts'
import type { Call, Operation, PathParams } from './resource.ts'

const pageSchema = group({
  limit: integer({ min: 1, max: 100 }).optional(),
  starting_after: text().optional(),
  ending_before: text().optional(),
})

/** The part of every list request that says which page is wanted. */
export type PageParams = {
  limit?: number | undefined
  starting_after?: string | undefined
  ending_before?: string | undefined
}

/** A schema for every filter that the SDK's list parameters know, and no other. */
export type FiltersOf<P> = Omit<ShapeOf<P>, keyof PageParams>

type PageSource<T extends Row> = {
  path: string
  table: Table<T>
  /** The objects in the list, when they are not the rows themselves: plans are prices. */
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

/** Reads limit and cursors; `rest` is what remains. @throws StripeError for a broken one. */
export function parsePage(form: Form): { page: PageParams; rest: Form } {
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

/** The bounds of a `created` filter as a test. */
export function createdWithin(
  range: TimeRange | undefined,
): (row: { created?: number }) => boolean {
  const { gt = -1, gte = 0, lt = Infinity, lte = Infinity } = range ?? {}
  return ({ created = 0 }) => created > gt && created >= gte && created < lt && created <= lte
}
