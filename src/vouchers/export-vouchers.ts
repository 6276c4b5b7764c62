import { Readable } from 'node:stream'
import type { Tx } from '../db/connect.ts'
import type { Read } from '../db/read-replica.ts'
import { tenantStatement, withTenant } from '../db/tenant-scope.ts'
import { streamText } from '../shared/text-stream.ts'
import { toVoucherBody, type Voucher } from './voucher.ts'
import { getBatch } from './voucher-batch-store.ts'
import { JOIN_ASSIGNMENTS, SELECT_VOUCHERS, toVoucher, type VoucherRow } from './voucher-store.ts'

export type ExportFormat = 'csv' | 'ndjson'

export type ExportOptions = {
  /** Whether the CSV has the columns of assignments. NDJSON always has them. */
  withAssignments?: boolean
  stalledAfterMs?: number
}

/** Ordinals of one statement. A line has at most 160 characters. */
const CSV_SLICE = 5_000
const JSON_PAGE = 1_000

const CSV_HEADER = 'code,times_used,max_uses,is_active,valid_from,valid_until'
const ASSIGNMENT_HEADER = 'email,name,assigned_at,sent_at'

const headerOf = (withAssignments: boolean) =>
  `${CSV_HEADER}${withAssignments ? `,${ASSIGNMENT_HEADER}` : ''}\n`

// A cell that a spreadsheet would run as a formula gets a leading apostrophe. Apple Numbers also runs the
// full-width characters.
const apostropheOf = (column: string) =>
  `case when ${column} ~ '^[-=+@\\t\\r\\uFF1D\\uFF0B\\uFF0D\\uFF20]' then '''' else '' end`
const quoteOf = (column: string) => `case when ${column} ~ '[",\\r\\n]' then '"' else '' end`
const cellOf = (column: string) =>
  `${quoteOf(column)} || ${apostropheOf(column)} || replace(${column}, '"', '""') || ${quoteOf(column)}`
// The first case is that of generated codes and saves the others.
const CSV_CODE = `case when v.code ~ '^[A-Z0-9][A-Z0-9-]*$' then v.code
  else ${cellOf('v.code')} end`

const momentOf = (column: string) =>
  `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
// `concat` takes null for an empty text.
const CSV_ASSIGNMENT = `, ',', ${cellOf('a.email')}, ',', ${cellOf('a.name')}, ',',
  ${momentOf('a.assigned_at')}, ',', ${momentOf('a.sent_at')}`

type Source = {
  read: Read
  conferenceId: string
  batchId: string
  /** Whether the CSV has the columns of assignments. */
  withAssignments: boolean
}

/**
 * Postgres writes the lines, nearly as fast as COPY. Each slice is a transaction of its own, so a reader
 * that is slow or has stopped holds no connection. Vouchers are never deleted and keep their ordinals, so
 * each of them is in exactly one slice.
 */
async function* csvLines(source: Source): AsyncGenerator<string> {
  yield headerOf(source.withAssignments)
  const { count, terms } = await source.read((db) =>
    withTenant(db, source, (trx) => getBatch(trx, source.conferenceId, source.batchId, null)),
  )
  const [from, until] = [terms.validFrom, terms.validUntil].map((date) => date?.toISOString() ?? '')
  const end = `${from},${until}`
  for (let after = 0; after < count; after += CSV_SLICE) {
    yield await readSlice(source, after, end)
  }
}

/** Lines of the vouchers whose ordinals follow `after`. Empty: they do not exist. */
async function readSlice(source: Source, after: number, end: string): Promise<string> {
  // With a range of ordinals, every plan reads only the rows of the slice. With `limit`, some plans read all.
  const [slice] = await source.read((db) =>
    tenantStatement<{ lines: string }>(
      db,
      source,
      (bind) => `
      select coalesce(string_agg(concat(${CSV_CODE}, ',', v.times_used, ',', v.max_uses,
          case when v.state = 'active' then ${bind(`,true,${end}`)} else ${bind(`,false,${end}`)} end
          ${source.withAssignments ? CSV_ASSIGNMENT : ''}, e'\\n'),
        '' order by v.ordinal), '') as lines
      from vouchers v ${source.withAssignments ? JOIN_ASSIGNMENTS : ''}
      where v.conference_id = ${bind(source.conferenceId)} and v.batch_id = ${bind(source.batchId)}
        and v.ordinal > ${bind(after)} and v.ordinal <= ${bind(after + CSV_SLICE)}`,
    ),
  )
  return slice?.lines ?? ''
}

async function* jsonLines(source: Source): AsyncGenerator<string> {
  let page = await readPage(source, 0)
  for (let last = page.at(-1); last !== undefined; last = page.at(-1)) {
    yield page.map((voucher) => `${JSON.stringify(toVoucherBody(voucher))}\n`).join('')
    page = await readPage(source, last.ordinal)
  }
}

/** Each page is a transaction of its own, like a slice of the CSV. */
function readPage({ read, conferenceId, batchId }: Source, after: number): Promise<Voucher[]> {
  const readRows = async (trx: Tx) => {
    const { rows } = await trx.raw<{ rows: VoucherRow[] }>(
      `${SELECT_VOUCHERS} where v.conference_id = ? and v.batch_id = ? and v.ordinal > ?
       order by v.ordinal limit ${JSON_PAGE}`,
      [conferenceId, batchId, after],
    )
    return rows.map(toVoucher)
  }
  return read((db) => withTenant(db, { conferenceId }, readRows))
}

/**
 * Streams all vouchers of one batch as text, by ordinal. Memory does not grow with the batch, and rows
 * are read only as fast as the reader takes them. Between two parts it holds no connection; each part
 * shows the vouchers as they are when it is read. An error destroys the stream.
 *
 * @param batchId null: nothing was issued, so only the CSV header is sent.
 */
export function exportVouchers(
  read: Read,
  conferenceId: string,
  batchId: string | null,
  format: ExportFormat,
  { withAssignments = false, stalledAfterMs }: ExportOptions = {},
): Readable {
  if (batchId === null) {
    return Readable.from(format === 'csv' ? [headerOf(withAssignments)] : [], { objectMode: false })
  }
  const lines = format === 'csv' ? csvLines : jsonLines
  return streamText(lines({ read, conferenceId, batchId, withAssignments }), stalledAfterMs)
}
