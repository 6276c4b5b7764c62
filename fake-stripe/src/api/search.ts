import { invalidParameter, type StripeError } from '../core/errors.ts'
import type { Row, Table } from '../core/rows.ts'
import type { Operation } from './operations.ts'
import { group, integer, paramError, text } from './params.ts'

/**
 * - `token`: equal text
 * - `string`: `:` finds the words in this order, `~` a substring of at least 3 characters
 * - `numeric`: `:`, `>`, `>=`, `<`, `<=`
 *
 * Text is compared without regard to case.
 */
export type SearchFieldType = 'token' | 'string' | 'numeric'

/** A field's type; `read` is for a field whose name is not its path in the object. */
type SearchField<T> = SearchFieldType | { type: SearchFieldType; read: (row: T) => unknown }

type SearchSpec<T extends Row> = {
  /** `/v1/charges/search` */
  path: string
  table: Table<T>
  /** The fields beside `metadata`, by their names in a query. */
  fields: Record<string, SearchField<T>>
}

type Clause = {
  negated: boolean
  field: string
  /** Only of `metadata["key"]`. */
  key: string | undefined
  operator: string
  /** Null: the field is absent or empty. */
  value: string | null
}

const searchParams = group({
  limit: integer({ min: 1, max: 100 }).optional(),
  page: text().optional(),
  query: text(),
})

/**
 * `GET /v1/things/search`: newest first, 10 a page unless `limit` says otherwise. At Stripe up to a
 * minute passes until a new object is found; here it is found immediately.
 *
 * @see https://docs.stripe.com/search
 */
export function searchOperation<T extends Row>(spec: SearchSpec<T>): Operation {
  const { path, table } = spec
  return {
    method: 'GET',
    path,
    returns: table.name,
    list: true,
    countable: true,
    prepare(form) {
      const params = searchParams.safeParse(form)
      if (!params.success) throw paramError(params.error.issues)
      const { limit = 10, page, query } = params.data
      const where = compileQuery(spec, query)
      const startingAfter = page === undefined ? undefined : readPage(page, query)
      return (call) => {
        const rows = call.account.rows(table)
        const slice = rows.page({ limit, startingAfter, where })
        if (slice === undefined) throw invalidPage()
        const last = slice.data.at(-1)
        return {
          object: 'search_result',
          url: path,
          has_more: slice.hasMore,
          next_page: slice.hasMore && last !== undefined ? writePage(last.id, query) : null,
          ...(call.expand.includes('total_count') ? { total_count: rows.all(where).length } : {}),
          data: slice.data,
        }
      }
    },
  }
}

/** @throws StripeError for a query with invalid syntax or with a field that is not searchable. */
function compileQuery<T extends Row>(spec: SearchSpec<T>, query: string): (row: T) => boolean {
  const { clauses, any } = parseQuery(query)
  const tests = clauses.map((clause) => compileClause(spec, clause))
  return (row) => (any ? tests.some((test) => test(row)) : tests.every((test) => test(row)))
}

const QUOTED = String.raw`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'`
const CLAUSE = new RegExp(
  String.raw`(?<minus>-)?(?<field>[a-z_]\w*(?:\.\w+)*)(?:\[(?<key>${QUOTED})\])?` +
    String.raw`\s*(?<operator>:|~|>=|<=|>|<)\s*(?<value>${QUOTED}|[^\s"']+)`,
  'iy',
)
const CONNECTOR = /\s+(?:(and|or)\s+)?/iy

/** Clauses are joined by `AND`, which is optional, or by `OR`; one query cannot contain both. */
function parseQuery(query: string): { clauses: Clause[]; any: boolean } {
  const source = query.trim()
  const clauses: Clause[] = []
  const connectors = new Set<string>()
  let at = 0
  for (;;) {
    CLAUSE.lastIndex = at
    const match = CLAUSE.exec(source)
    if (match === null) throw unreadable()
    clauses.push(readClause(match.groups ?? {}))
    if (CLAUSE.lastIndex === source.length) break
    CONNECTOR.lastIndex = CLAUSE.lastIndex
    const connector = CONNECTOR.exec(source)
    if (connector === null) throw unreadable()
    connectors.add(connector[1]?.toLowerCase() ?? 'and')
    at = CONNECTOR.lastIndex
  }
  if (connectors.size > 1)
    throw queryError('You cannot combine AND and OR in the same search query.')
  return { clauses, any: connectors.has('or') }
}

function readClause(groups: Record<string, string | undefined>): Clause {
  const { minus, field = '', key, operator = '', value = '' } = groups
  if ((key !== undefined) !== (field === 'metadata')) throw unreadable()
  return {
    negated: minus !== undefined,
    field,
    key: key === undefined ? undefined : unquote(key),
    operator,
    value: readValue(value),
  }
}

/** Only numbers and `null` need no quotes. */
function readValue(value: string): string | null {
  if (/^["']/.test(value)) return unquote(value)
  if (/^null$/i.test(value)) return null
  if (/^-?\d+(\.\d+)?$/.test(value)) return value
  throw unreadable()
}

function unquote(quoted: string): string {
  return quoted.slice(1, -1).replaceAll(/\\(.)/g, '$1')
}

function compileClause<T extends Row>(spec: SearchSpec<T>, clause: Clause): (row: T) => boolean {
  const { type, read } = resolveField(spec, clause)
  const matches = compileComparison(clause, type)
  return (row) => matches(read(row)) !== clause.negated
}

function resolveField<T extends Row>(
  { path, fields }: SearchSpec<T>,
  { field, key }: Clause,
): { type: SearchFieldType; read: (row: T) => unknown } {
  if (key !== undefined) return { type: 'token', read: (row) => valueAt(row, ['metadata', key]) }
  const known = Object.hasOwn(fields, field) ? fields[field] : undefined
  if (known === undefined) {
    const [, , resource = ''] = path.split('/')
    throw queryError(
      `Field \`${field}\` is an unsupported search field for resource \`${resource}\`. See https://docs.stripe.com/search#query-fields-for-${resource.replaceAll('_', '-')} for a list of supported fields.`,
    )
  }
  if (typeof known !== 'string') return known
  return { type: known, read: (row) => valueAt(row, field.split('.')) }
}

function valueAt(row: Row, path: readonly string[]): unknown {
  let value: unknown = row
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<string, unknown>)[key]
  }
  return value
}

function compileComparison(clause: Clause, type: SearchFieldType): (value: unknown) => boolean {
  const { field, operator, value: wanted } = clause
  const allowed = { token: [':'], string: [':', '~'], numeric: [':', '>', '>=', '<', '<='] }[type]
  if (!allowed.includes(operator) || (wanted === null && operator !== ':'))
    throw queryError(`Field \`${field}\` does not support the operator \`${operator}\`.`)
  if (wanted === null) return isEmpty
  if (type === 'numeric') return compareNumbers(clause, wanted)
  const key = wanted.toLowerCase()
  if (type === 'token') return (value) => !isEmpty(value) && String(value).toLowerCase() === key
  if (operator === ':') return (value) => !isEmpty(value) && hasPhrase(String(value), key)
  if (key.length < 3)
    throw queryError('A substring match (`~`) needs a value of at least 3 characters.')
  return (value) => !isEmpty(value) && String(value).toLowerCase().includes(key)
}

function compareNumbers({ field, operator }: Clause, wanted: string): (value: unknown) => boolean {
  const number = Number(wanted)
  if (wanted.trim() === '' || !Number.isFinite(number))
    throw queryError(`Field \`${field}\` needs a numeric value; you passed \`${wanted}\`.`)
  const compare: Record<string, (value: number) => boolean> = {
    ':': (value) => value === number,
    '>': (value) => value > number,
    '>=': (value) => value >= number,
    '<': (value) => value < number,
    '<=': (value) => value <= number,
  }
  return (value) => typeof value === 'number' && (compare[operator]?.(value) ?? false)
}

function isEmpty(value: unknown): boolean {
  return value === null || value === undefined || value === ''
}

/** Whether the text contains these words in this order: `one two` is in `zero one two three`. */
function hasPhrase(value: string, phrase: string): boolean {
  const words = (of: string) => ` ${of.toLowerCase().split(/\s+/).filter(Boolean).join(' ')} `
  return words(value).includes(words(phrase))
}

/** The cursor of the next page; it is bound to its query. */
function writePage(last: string, query: string): string {
  return Buffer.from(JSON.stringify([last, query])).toString('base64url')
}

function readPage(page: string, query: string): string {
  try {
    const read: unknown = JSON.parse(Buffer.from(page, 'base64url').toString('utf8'))
    if (Array.isArray(read) && typeof read[0] === 'string' && read[1] === query) return read[0]
  } catch {
    // It is not a cursor of the fake.
  }
  throw invalidPage()
}

function invalidPage(): StripeError {
  return invalidParameter(
    'page',
    'Invalid page: use the next_page of a search with the same query.',
  )
}

function unreadable(): StripeError {
  return queryError(
    'We were unable to parse your search query. Try using the format "metadata[\'key\']:\'value\'" to query for metadata or key:"value" to query for other fields.',
  )
}

function queryError(message: string): StripeError {
  return invalidParameter('query', message)
}
