import type { Readable } from 'node:stream'
import { stringify } from 'csv-stringify/sync'
import type { Page, PageQuery } from '../db/pages.ts'
import { streamText } from '../shared/text-stream.ts'
import type { PurchaseBody } from './purchase-view.ts'

/** Purchases of one transaction: 20 ms of work. */
const SLICE = 200

const COLUMNS = [
  'id',
  'conference',
  'status',
  'sponsor',
  'sponsor_name',
  'ticket_type',
  'add_on',
  'ticket_name',
  'description',
  'reference',
  'quantity',
  'unit_amount',
  'total_amount',
  'amount_received',
  'amount_refunded',
  'currency',
  'vouchers_issued',
  'vouchers_active',
  'vouchers_redeemed',
  'flags',
  'failure_code',
  'payment_intent',
  'recorded_method',
  'recorded_reference',
  'requested_by',
  'requested_by_name',
  'approved_by',
  'approved_by_name',
  'created_at',
  'paid_at',
  'refunded_at',
] as const

type Cells = Record<(typeof COLUMNS)[number], string | number | null>

/** The first line of the CSV. */
export const PURCHASE_CSV_HEADER = COLUMNS.join(',')

const toCells = (purchase: PurchaseBody): Cells => ({
  ...purchase,
  vouchers_issued: purchase.vouchers.issued,
  vouchers_active: purchase.vouchers.active,
  vouchers_redeemed: purchase.vouchers.redeemed,
  flags: [...new Set(purchase.flags.map(({ code }) => code))].join(' '),
  failure_code: purchase.failure?.code ?? null,
  recorded_method: purchase.recorded_payment?.method ?? null,
  recorded_reference: purchase.recorded_payment?.reference ?? null,
})

/** A text that a spreadsheet would run as a formula gets a leading apostrophe. */
const toCsv = (purchases: readonly PurchaseBody[]) =>
  stringify(purchases.map(toCells), { columns: [...COLUMNS], escape_formulas: true })

async function* csvLines(readPage: ReadPage): AsyncGenerator<string> {
  yield `${PURCHASE_CSV_HEADER}\n`
  let cursor: string | undefined
  do {
    const { data, next_cursor: next } = await readPage({ limit: SLICE, cursor })
    if (data.length > 0) yield toCsv(data)
    cursor = next ?? undefined
  } while (cursor !== undefined)
}

/** Reads a page of the list in a transaction of its own. */
type ReadPage = (page: PageQuery) => Promise<Page<PurchaseBody>>

/**
 * A list of purchases as CSV. Between two slices, the stream holds no connection. Each purchase is in it once,
 * as it is when its slice is read; one that is created meanwhile is not.
 */
export function exportPurchases(readPage: ReadPage): Readable {
  return streamText(csvLines(readPage))
}
