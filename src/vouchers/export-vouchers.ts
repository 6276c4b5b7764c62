import { Readable } from 'node:stream'
import type { Db } from '../db/connect.ts'
import { tenantStatement, withTenant } from '../db/tenant-scope.ts'
import { streamText } from '../shared/text-stream.ts'
import { toVoucherBody, type Voucher } from './voucher.ts'
import { getBatch } from './voucher-batch-store.ts'
import { SELECT_VOUCHERS, toVoucher, type VoucherRow } from './voucher-store.ts'

export type ExportFormat = 'csv' | 'ndjson'

/** Ordinals of one statement. A line has at most 160 characters. */
const CSV_SLICE = 5_000
const JSON_PAGE = 1_000

const CSV_HEADER = 'code,times_used,max_uses,is_active,valid_from,valid_until\n'

// A cell that a spreadsheet would run as a formula gets a leading apostrophe. Apple Numbers also runs the
// full-width characters.
const APOSTROPHE = `case when v.code ~ '^[-=+@\\t\\r\\uFF1D\\uFF0B\\uFF0D\\uFF20]' then '''' else '' end`
const QUOTE = `case when v.code ~ '[",\\r\\n]' then '"' else '' end`
// The first case is that of generated codes and saves the others.
const CSV_CODE = `case when v.code ~ '^[A-Z0-9][A-Z0-9-]*$' then v.code
  else ${QUOTE} || ${APOSTROPHE} || replace(v.code, '"', '""') || ${QUOTE} end`

type Source = { db: Db; conferenceId: string; batchId: string }

/**
 * Postgres writes the lines, nearly as fast as COPY. Each slice is a transaction of its own, so a reader
 * that is slow or has stopped holds no connection. Vouchers are never deleted and keep their ordinals, so
 * each of them is in exactly one slice.
 */
async function* csvLines(source: Source): AsyncGenerator<string> {
  yield CSV_HEADER
  const { count, terms } = await withTenant(source.db, source, (trx) =>
    getBatch(trx, source.conferenceId, source.batchId, null),
  )
  const [from, until] = [terms.validFrom, terms.validUntil].map((date) => date?.toISOString() ?? '')
  const end = `${from},${until}\n`
  for (let after = 0; after < count; after += CSV_SLICE) {
    yield await readSlice(source, after, end)
  }
}

/** Lines of the vouchers whose ordinals follow `after`. Empty: they do not exist. */
async function readSlice(source: Source, after: number, end: string): Promise<string> {
  // With a range of ordinals, every plan reads only the rows of the slice. With `limit`, some plans read all.
  const [slice] = await tenantStatement<{ lines: string }>(
    source.db,
    source,
    (bind) => `
      select coalesce(string_agg(concat(${CSV_CODE}, ',', v.times_used, ',', v.max_uses,
          case when v.state = 'active' then ${bind(`,true,${end}`)} else ${bind(`,false,${end}`)} end),
        '' order by v.ordinal), '') as lines
      from vouchers v
      where v.conference_id = ${bind(source.conferenceId)} and v.batch_id = ${bind(source.batchId)}
        and v.ordinal > ${bind(after)} and v.ordinal <= ${bind(after + CSV_SLICE)}`,
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
function readPage({ db, conferenceId, batchId }: Source, after: number): Promise<Voucher[]> {
  return withTenant(db, { conferenceId }, async (trx) => {
    const { rows } = await trx.raw<{ rows: VoucherRow[] }>(
      `${SELECT_VOUCHERS} where v.conference_id = ? and v.batch_id = ? and v.ordinal > ?
       order by v.ordinal limit ${JSON_PAGE}`,
      [conferenceId, batchId, after],
    )
    return rows.map(toVoucher)
  })
}

/**
 * Streams all vouchers of one batch as text, by ordinal. Memory does not grow with the batch, and rows
 * are read only as fast as the reader takes them. Between two parts it holds no connection; each part
 * shows the vouchers as they are when it is read. An error destroys the stream.
 *
 * @param batchId null: nothing was issued, so only the CSV header is sent.
 */
export function exportVouchers(
  db: Db,
  conferenceId: string,
  batchId: string | null,
  format: ExportFormat,
  stalledAfterMs?: number,
): Readable {
  if (batchId === null) {
    return Readable.from(format === 'csv' ? [CSV_HEADER] : [], { objectMode: false })
  }
  const lines = format === 'csv' ? csvLines : jsonLines
  return streamText(lines({ db, conferenceId, batchId }), stalledAfterMs)
}
