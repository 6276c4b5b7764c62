import type { z } from 'zod'
import type { Row } from '../core/rows.ts'
import { invalidParameter, noSuch } from '../core/stripe-error.ts'
import type { Table } from '../core/table.ts'
import type { Form } from './form.ts'
import { paramError } from './param-errors.ts'
import { group, integer, text } from './params.ts'
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

type ListSpec<T extends Row, S extends z.ZodRawShape> = {
  path: string
  table: Table<T>
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
  const { path, table, filters, where } = spec
  const filterSchema = group(filters)
  return {
    method: 'GET',
    path,
    returns: table.name,
    list: true,
    prepare(form, pathParams) {
      const { page, rest } = parsePage(form)
      const filter = filterSchema.safeParse(rest)
      if (!filter.success) throw paramError(filter.error.issues)
      return (call) => listPage(call, spec, page, where(filter.data, call, pathParams))
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
  { path, table }: { path: string; table: Table<T> },
  params: PageParams,
  where: (row: T) => boolean,
) {
  const { limit = 10, starting_after: startingAfter, ending_before: endingBefore } = params
  const page = call.account.rows(table).page({ limit, startingAfter, endingBefore, where })
  const cursor = startingAfter === undefined ? 'ending_before' : 'starting_after'
  if (page === undefined) throw noSuch(table.name, startingAfter ?? endingBefore ?? '', cursor)
  return { object: 'list', url: path, has_more: page.hasMore, data: page.data }
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
