import type { Tx } from '../db/connect.ts'
import { columnsOf, PERSONAL_DATA, type Treatment } from './personal-data.ts'
import type { Terms } from './subject.ts'

/** Rows of one transaction. */
const PAGE = 2_000

/** Longer letters or a dot after a term make it another address or name. */
const END = String.raw`(?!\.?\w|-[\w-]*\.)`

/**
 * A regular expression for Postgres and for JavaScript that finds the addresses and names, as whole words and
 * in any case. Null if there is nothing to find.
 */
export function patternOf({ emails, names }: Terms): string | null {
  const escaped = (text: string) =>
    text
      .trim()
      .replaceAll(/[^\p{L}\p{N}\s]/gu, String.raw`\$&`)
      .replaceAll(/\s+/g, String.raw`\s+`)
  const parts = [
    ...emails.map((email) => String.raw`(?<![\w.%+-])${escaped(email)}`),
    ...names.map((name) => String.raw`(?<![\w.@-])${escaped(name)}`),
  ]
  return parts.length === 0 ? null : `(?:${parts.join('|')})${END}`
}

/** Replaces what matches in all texts of a JSON value. */
export function redactJson(value: unknown, pattern: string): unknown {
  const found = new RegExp(pattern, 'gi')
  const redacted = (each: unknown): unknown => {
    if (typeof each === 'string') return each.replaceAll(found, '***')
    if (Array.isArray(each)) return each.map(redacted)
    if (each === null || typeof each !== 'object') return each
    return Object.fromEntries(Object.entries(each).map(([name, of]) => [name, redacted(of)]))
  }
  return redacted(value)
}

/** SQL for the new value of a column that matches. */
const NEW_VALUES: { readonly [T in Treatment]?: (column: string) => string } = {
  text: (column) => `regexp_replace(${column}, :pattern, '***', 'gi')`,
  json: (column) => `redact_texts(${column}, :pattern, 'gi')`,
  jsonText: (column) => `redact_texts(${column}::jsonb, :pattern, 'gi')::text`,
  clear: () => 'null',
  reference: (column) => `'erased-' || left(email_token(:conferenceId, ${column}), 16)`,
}

const TREATMENTS = Object.keys(NEW_VALUES) as Treatment[]

/** The tables whose texts can contain the terms. */
export const TEXT_TABLES: readonly string[] = Object.keys(PERSONAL_DATA).filter(
  (name) => columnsOf(name, ...TREATMENTS).length > 0,
)

/** An SQL condition: the row belongs to the conference. */
export const tenantSql = (table: string, row = table): string =>
  table.startsWith('graphile_worker.')
    ? `${row}.payload ->> 'conference_id' = :conferenceId`
    : `${row}.conference_id = :conferenceId`

/** An SQL condition: a text of the row matches. */
export const matchSql = (table: string): string =>
  columnsOf(table, ...TREATMENTS)
    .map((column) => `t.${column}::text ~* :pattern`)
    .join(' or ')

export type Page = { changed: number; last: Record<string, string> | null }

/**
 * Replaces the terms in one page of a table.
 *
 * @param after the key of the last row of the page before, or null for the first page.
 */
export function redactPage(
  trx: Tx,
  table: string,
  conferenceId: string,
  pattern: string,
  after: Record<string, string> | null,
): Promise<Page> {
  const sets = TREATMENTS.flatMap((treatment) =>
    columnsOf(table, treatment).map((column) => {
      const value = NEW_VALUES[treatment]?.(`t.${column}`)
      return `${column} = case when t.${column}::text ~* :pattern then ${value} else t.${column} end`
    }),
  )
  return changePage(trx, table, { conferenceId, pattern }, after, {
    set: sets.join(', '),
    where: matchSql(table),
  })
}

/** Changes the rows of a page that match. It locks them in the order of their keys, as others who change several of them do. */
export async function changePage(
  trx: Tx,
  table: string,
  values: Record<string, string>,
  after: Record<string, string> | null,
  change: { set: string; where: string },
): Promise<Page> {
  const key = PERSONAL_DATA[table]?.key ?? []
  const keys = key.join(', ')
  const from =
    after === null ? '' : `and (${keys}) > (${key.map((name) => `:after_${name}`).join(', ')})`
  const position = Object.fromEntries(
    Object.entries(after ?? {}).map(([name, value]) => [`after_${name}`, value]),
  )
  const { rows } = await trx.raw<{ rows: (Record<string, string> & { changed: number })[] }>(
    `with page as materialized (
       select ${keys} from ${table} where ${tenantSql(table)} ${from} order by ${keys} limit ${PAGE}
     ), locked as materialized (
       select ${key.map((name) => `t.${name}`).join(', ')} from ${table} as t
       where ${tenantSql(table, 't')} and (${key.map((name) => `t.${name}`).join(', ')}) in (select ${keys} from page)
         and (${change.where})
       order by ${key.map((name) => `t.${name}`).join(', ')} for no key update
     ), changed as (
       update ${table} as t set ${change.set} from locked
       where ${tenantSql(table, 't')} and ${key.map((name) => `t.${name} = locked.${name}`).join(' and ')}
       returning 1
     )
     select ${keys}, (select count(*) from changed)::int as changed from page
     order by ${key.map((name) => `${name} desc`).join(', ')} limit 1`,
    { ...values, ...position },
  )
  const [row] = rows
  if (row === undefined) return { changed: 0, last: null }
  const { changed, ...last } = row
  return { changed, last }
}
