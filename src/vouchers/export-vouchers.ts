import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { stringify } from 'csv-stringify/sync'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { Voucher } from './voucher.ts'
import { toVoucherBody } from './voucher.ts'
import { SELECT_VOUCHERS, toVoucher, type VoucherRow } from './voucher-store.ts'

export type ExportFormat = 'csv' | 'ndjson'

const ROWS_PER_FETCH = 1_000

/** If the reader takes nothing for this time, the stream is destroyed and its connection released. */
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
  conferenceId: string
  batchId: string
  onStalled: () => void
  stalledAfterMs: number
}

/** A cursor sees the database as it was when it was opened, until its end. */
async function* readBatch(trx: Tx, source: Source): AsyncGenerator<Voucher[]> {
  await trx.raw(
    `declare exported no scroll cursor for
     ${SELECT_VOUCHERS} where v.conference_id = ? and v.batch_id = ? order by v.ordinal`,
    [source.conferenceId, source.batchId],
  )
  for (;;) {
    const { rows } = await trx.raw<{ rows: VoucherRow[] }>(`fetch ${ROWS_PER_FETCH} from exported`)
    if (rows.length === 0) return
    const timer = setTimeout(source.onStalled, source.stalledAfterMs)
    try {
      yield rows.map(toVoucher)
    } finally {
      clearTimeout(timer)
    }
  }
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
 * Streams all vouchers of one batch as text, by ordinal, from one snapshot of the database. Memory does
 * not grow with the batch, and rows are read only as fast as the reader takes them. The stream holds one
 * connection until it ends or is destroyed; an error destroys it.
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
  const source = { conferenceId, batchId, onStalled, stalledAfterMs }
  withTenant(db, { conferenceId }, (trx) => pipeline(lines(readBatch(trx, source)), out)).catch(
    (error: unknown) => out.destroy(error instanceof Error ? error : new Error(String(error))),
  )
  return out
}

async function* noPages(): AsyncGenerator<Voucher[]> {}
