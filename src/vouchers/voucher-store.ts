import type { Tx } from '../db/connect.ts'
import type { Page, PageQuery } from '../db/pages.ts'
import { PREPARED } from '../db/pipeline.ts'
import { invalidField, notFound } from '../shared/errors.ts'
import {
  codeKey,
  INVALID_REASON,
  type InvalidReason,
  type Voucher,
  type VoucherState,
} from './voucher.ts'
import type { VoucherType } from './voucher-terms.ts'

export type VoucherRow = {
  id: number
  ordinal: number
  code: string
  batch_id: string
  purchase_id: string | null
  state: VoucherState
  invalid_reason: InvalidReason | null
  times_used: number
  max_uses: number
  valid_from: Date | null
  valid_until: Date | null
  voucher_type: VoucherType
  discount_value: number
  unlocks_hidden_tickets: boolean
  ticket_type_id: string | null
  add_on_id: string | null
  assigned_to: string | null
  created_at: Date
}

/** SQL that selects vouchers `v` with their batches `b`, in the columns of `VoucherRow`. */
export const SELECT_VOUCHERS = `
  select v.id, v.ordinal, v.code, v.batch_id, b.purchase_id, v.state,
    ${INVALID_REASON} as invalid_reason,
    v.times_used, v.max_uses, b.valid_from, b.valid_until, b.voucher_type, b.discount_value,
    b.unlocks_hidden_tickets, b.ticket_type_id, b.add_on_id, v.assigned_to, v.created_at
  from vouchers v
  join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id`

export function toVoucher(row: VoucherRow): Voucher {
  return {
    id: row.id,
    ordinal: row.ordinal,
    code: row.code,
    batchId: row.batch_id,
    purchaseId: row.purchase_id,
    state: row.state,
    invalidReason: row.invalid_reason,
    timesUsed: row.times_used,
    maxUses: row.max_uses,
    validFrom: row.valid_from,
    validUntil: row.valid_until,
    voucherType: row.voucher_type,
    discountValue: row.discount_value,
    unlocksHiddenTickets: row.unlocks_hidden_tickets,
    ticketTypeId: row.ticket_type_id,
    addOnId: row.add_on_id,
    assignedTo: row.assigned_to,
    createdAt: row.created_at,
  }
}

/**
 * The voucher with this code. Case, spaces and hyphens do not matter.
 *
 * @throws AppError `not_found`
 */
export async function getVoucher(trx: Tx, conferenceId: string, code: string): Promise<Voucher> {
  const { rows } = await trx.raw<{ rows: VoucherRow[] }>(
    `${SELECT_VOUCHERS} where v.conference_id = ? and v.code_key = ?`,
    [conferenceId, codeKey(code)],
  )
  if (rows[0] === undefined) throw notFound('voucher')
  return toVoucher(rows[0])
}

export type VoucherFilter = {
  code?: string | undefined
  state?: VoucherState | undefined
  purchaseId?: string | undefined
  batchId?: string | undefined
  /** Set for a sponsor's key, which sees only the vouchers of its own batches. */
  sponsorId: string | null
}

/** The batches that the filter selects, or null for all. */
async function batchesOf(
  trx: Tx,
  conferenceId: string,
  { batchId, purchaseId, sponsorId }: VoucherFilter,
): Promise<string[] | null> {
  if (batchId === undefined && purchaseId === undefined && sponsorId === null) return null
  const query = trx('voucher_batches').where({ conference_id: conferenceId })
  if (batchId !== undefined) void query.where({ id: batchId })
  if (purchaseId !== undefined) void query.where({ purchase_id: purchaseId })
  if (sponsorId !== null) void query.where({ sponsor_id: sponsorId })
  return query.pluck<string[]>('id')
}

// Each order has its index: the primary key for all vouchers, the ordinals within one batch.
const NEWEST: Keyset = { column: 'v.id', direction: 'desc' }
const NEWEST_OF_BATCH: Keyset = { column: 'v.ordinal', direction: 'desc' }
const AS_ISSUED: Keyset = { column: 'v.ordinal', direction: 'asc' }

/** A page of vouchers, newest first. */
export async function listVouchers(
  trx: Tx,
  conferenceId: string,
  filter: VoucherFilter,
  page: PageQuery,
): Promise<Page<Voucher>> {
  const batches = await batchesOf(trx, conferenceId, filter)
  if (batches?.length === 0) return { data: [], has_more: false, next_cursor: null }
  const isOneBatch = filter.batchId !== undefined || filter.purchaseId !== undefined
  const keyset = isOneBatch ? NEWEST_OF_BATCH : NEWEST
  return readVouchers(trx, conferenceId, { ...filter, batches }, page, keyset)
}

/** A page of one batch's vouchers in the order of the export: by ordinal, ascending. */
export function listBatchVouchers(
  trx: Tx,
  conferenceId: string,
  batchId: string,
  page: PageQuery,
): Promise<Page<Voucher>> {
  return readVouchers(trx, conferenceId, { batches: [batchId] }, page, AS_ISSUED)
}

// The batch ids are values and not a join, so that Postgres can estimate the rows and choose the right
// index. A single id gets its own condition, since `any` would lose the order of the ordinals: 10 ms
// instead of 2 s in a conference with a million codes.
const BATCH_CONDITION = {
  one: 'and v.batch_id = :batch',
  several: 'and v.batch_id = any(:batches)',
}

type Conditions = Pick<VoucherFilter, 'code' | 'state'> & { batches: string[] | null }

function readVouchers(
  trx: Tx,
  conferenceId: string,
  { code, state, batches }: Conditions,
  page: PageQuery,
  keyset: Keyset,
): Promise<Page<Voucher>> {
  const conditions = [
    ...(code === undefined ? [] : ['and v.code_key = :key']),
    ...(state === undefined ? [] : ['and v.state = :state']),
    ...(batches === null ? [] : [BATCH_CONDITION[batches.length === 1 ? 'one' : 'several']]),
  ].join(' ')
  const values = {
    key: codeKey(code ?? ''),
    state: state ?? '',
    batch: batches?.[0] ?? '',
    batches: batches ?? [],
  }
  return readNumberPage(
    page,
    keyset,
    async (end, more) => {
      const { rows } = await trx.raw<{ rows: VoucherRow[] }>(
        `${SELECT_VOUCHERS} where v.conference_id = :conferenceId ${conditions} ${end}`,
        { conferenceId, ...values, ...more },
      )
      return rows.map(toVoucher)
    },
    (voucher) => (keyset.column === 'v.id' ? voucher.id : voucher.ordinal),
  )
}

// A random part has at least eight symbols.
const MIN_CODE_LENGTH = 8

/** The purchase that bought the code, or null. Only a whole code finds it. */
export async function findPurchaseOfCode(
  trx: Tx,
  conferenceId: string,
  code: string,
): Promise<string | null> {
  const key = codeKey(code)
  if (key.length < MIN_CODE_LENGTH) return null
  const row = await trx('vouchers as v')
    .join('voucher_batches as b', { 'b.conference_id': 'v.conference_id', 'b.id': 'v.batch_id' })
    .where({ 'v.conference_id': conferenceId, 'v.code_key': key })
    .options(PREPARED)
    .first<{ purchase: string | null } | undefined>('b.purchase_id as purchase')
  return row?.purchase ?? null
}

/** Stores who holds the voucher; null: no one. @throws AppError `not_found` */
export async function assignVoucher(
  trx: Tx,
  conferenceId: string,
  code: string,
  assignedTo: string | null,
): Promise<Voucher> {
  await trx('vouchers')
    .where({ conference_id: conferenceId, code_key: codeKey(code) })
    .update({ assigned_to: assignedTo })
  return getVoucher(trx, conferenceId, code)
}

/** The unique integer column by which a list is ordered. */
type Keyset = { column: string; direction: 'asc' | 'desc' }

function positionOf(cursor: string): number {
  const text = Buffer.from(cursor, 'base64url').toString('latin1')
  if (!/^\d{1,15}$/.test(text)) {
    throw invalidField('query/cursor', 'Invalid cursor for this list.')
  }
  return Number(text)
}

/**
 * One page of a list that is ordered by a unique integer. It reads one extra row to find out whether
 * there is another page.
 *
 * @param read gets the end of the SQL, from `and` to `limit`, with its named bindings.
 * @param numberOf returns the value of the keyset's column.
 */
async function readNumberPage<T>(
  page: PageQuery,
  { column, direction }: Keyset,
  read: (sql: string, bindings: Record<string, number>) => Promise<T[]>,
  numberOf: (item: T) => number,
): Promise<Page<T>> {
  const { cursor, limit } = page
  const after =
    cursor === undefined ? '' : `and ${column} ${direction === 'asc' ? '>' : '<'} :after`
  const found = await read(`${after} order by ${column} ${direction} limit :rows`, {
    rows: limit + 1,
    ...(cursor === undefined ? {} : { after: positionOf(cursor) }),
  })
  const data = found.slice(0, limit)
  const last = found.length > limit ? data.at(-1) : undefined
  return {
    data,
    has_more: last !== undefined,
    next_cursor:
      last === undefined ? null : Buffer.from(String(numberOf(last))).toString('base64url'),
  }
}
