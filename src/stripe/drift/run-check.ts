import type { Tx } from '../../db/connect.ts'
import type { DriftCheck, DriftRow, Only } from './drift-check.ts'
import type { DriftLine } from './drift-line.ts'
import { type RepairScope, repairOf } from './repair-of.ts'
import { MIRROR_SIDE, STRIPE_SIDE } from './stripe-side.ts'

/** What is compared: all purchases of a conference or some of them, with one of Stripe's sides. */
export type Comparison = {
  conferenceId: string
  purchases: readonly string[] | null
  /** Objects that were read from Stripe just now, as JSON; null: the mirror. */
  objects: string | null
}

/** Behind which row of a check a page begins. */
export type After = { key1: string; key2: string }

const SOME: Only = (column) => `and ${column} = any(cast(:purchases as text[]))`
const ALL: Only = () => ''

function statement(check: DriftCheck, { purchases, objects }: Comparison): [string, string] {
  const side = objects === null ? MIRROR_SIDE : STRIPE_SIDE
  return [side, check.sql(purchases === null ? ALL : SOME)]
}

function bindings({ conferenceId, purchases, objects }: Comparison) {
  return {
    conference: conferenceId,
    ...(purchases === null ? {} : { purchases: [...purchases] }),
    ...(objects === null ? {} : { objects }),
  }
}

/** The rows of a check in the order of their keys, at most `limit` of them. */
export async function rowsOf(
  trx: Tx,
  check: DriftCheck,
  comparison: Comparison,
  page: { after: After | null; limit: number | null },
): Promise<DriftRow[]> {
  const [side, sql] = statement(check, comparison)
  const { after, limit } = page
  // The first condition alone says less, but an index can answer it.
  const where = after === null ? '' : 'where key1 >= :key1 and (key1, key2) > (:key1, :key2)'
  const cut = limit === null ? '' : 'limit :limit'
  const { rows } = await trx.raw<{ rows: DriftRow[] }>(
    `${side} select * from (${sql}) as line ${where} order by key1, key2 ${cut}`,
    {
      ...bindings(comparison),
      ...(after === null ? {} : { key1: after.key1, key2: after.key2 }),
      ...(limit === null ? {} : { limit }),
    },
  )
  return rows
}

/** How many rows a check has. */
export async function countOf(trx: Tx, check: DriftCheck, comparison: Comparison): Promise<number> {
  const [side, sql] = statement(check, comparison)
  const { rows } = await trx.raw<{ rows: { lines: number }[] }>(
    `${side} select count(*) as lines from (${sql}) as line`,
    bindings(comparison),
  )
  return rows[0]?.lines ?? 0
}

// Told as numbers. Everything else is text.
const AMOUNTS = new Set(['amount', 'amount_received', 'amount_refunded'])

/** A row as a line of the report. */
export function toLine(check: DriftCheck, row: DriftRow, scope: RepairScope): DriftLine {
  const isAmount = row.field !== null && AMOUNTS.has(row.field)
  const value = (text: string | null) => (isAmount && text !== null ? Number(text) : text)
  return {
    kind: check.kind,
    what: check.what,
    purchase: row.purchase,
    stripe_id: row.stripe_id,
    resource: check.resource,
    field: row.field,
    here: value(row.here),
    there: value(row.there),
    source: check.source,
    compared_with: scope.comparedWith,
    repair: repairOf(check, row, scope),
  }
}
