import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { stringify } from 'csv-stringify/sync'
import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Voucher } from './voucher.ts'
import { toVoucherBody } from './voucher.ts'
import { SELECT_VOUCHERS, toVoucher, type VoucherRow } from './voucher-store.ts'

export type ExportFormat = 'csv' | 'ndjson'

const ROWS_PER_PAGE = 1_000

/** If the reader takes nothing for this time, the stream is destroyed. */
const STALL_TIMEOUT_MS = 60_000

const CSV_HEADER = [
  'code',
  'times_used',
  'max_uses',
  'is_active',
  'valid_from',
  'valid_until',
] as const

type Source = {
  db: Db
  conferenceId: string
  batchId: string
  onStalled: () => void
  stalledAfterMs: number
}

/**
 * Each page is a transaction of its own, so a reader that is slow or has stopped holds no connection.
 * Vouchers are never deleted and keep their ordinals, so each of them is on exactly one page.
 */
async function* readBatch(source: Source): AsyncGenerator<Voucher[]> {
  let after = 0
  for (;;) {
    const page = await readPage(source, after)
    const last = page.at(-1)
    if (last === undefined) return
    after = last.ordinal
    const timer = setTimeout(source.onStalled, source.stalledAfterMs)
    try {
      yield page
    } finally {
      clearTimeout(timer)
    }
  }
}

function readPage({ db, conferenceId, batchId }: Source, after: number): Promise<Voucher[]> {
  return withTenant(db, { conferenceId }, async (trx) => {
    const { rows } = await trx.raw<{ rows: VoucherRow[] }>(
      `${SELECT_VOUCHERS} where v.conference_id = ? and v.batch_id = ? and v.ordinal > ?
       order by v.ordinal limit ${ROWS_PER_PAGE}`,
      [conferenceId, batchId, after],
    )
    return rows.map(toVoucher)
  })
}

function toCells(voucher: Voucher): (string | number)[] {
  return [
    voucher.code,
    voucher.timesUsed,
    voucher.maxUses,
    String(voucher.state === 'active'),
    voucher.validFrom?.toISOString() ?? '',
    voucher.validUntil?.toISOString() ?? '',
  ]
}

async function* csvLines(pages: AsyncIterable<Voucher[]>): AsyncGenerator<string> {
  yield stringify([[...CSV_HEADER]])
  // A cell that a spreadsheet would run as a formula gets a leading apostrophe.
  for await (const page of pages) yield stringify(page.map(toCells), { escape_formulas: true })
}

async function* jsonLines(pages: AsyncIterable<Voucher[]>): AsyncGenerator<string> {
  for await (const page of pages) {
    yield page.map((voucher) => `${JSON.stringify(toVoucherBody(voucher))}\n`).join('')
  }
}

/**
 * Streams all vouchers of one batch as text, by ordinal. Memory does not grow with the batch, and rows
 * are read only as fast as the reader takes them. Between two pages it holds no connection; each page
 * shows the vouchers as they are when it is read. An error destroys the stream.
 *
 * @param batchId null: nothing was issued, so only the CSV header is sent.
 */
export function exportVouchers(
  db: Db,
  conferenceId: string,
  batchId: string | null,
  format: ExportFormat,
  stalledAfterMs = STALL_TIMEOUT_MS,
): Readable {
  const lines = format === 'csv' ? csvLines : jsonLines
  if (batchId === null) return Readable.from(lines(noPages()), { objectMode: false })
  const out = new PassThrough()
  const onStalled = () => out.destroy(new Error(`The reader took nothing for ${stalledAfterMs} ms`))
  const source = { db, conferenceId, batchId, onStalled, stalledAfterMs }
  pipeline(lines(readBatch(source)), out).catch((error: unknown) =>
    out.destroy(error instanceof Error ? error : new Error(String(error))),
  )
  return out
}

async function* noPages(): AsyncGenerator<Voucher[]> {}
