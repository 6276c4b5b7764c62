import type { Tx } from '../db/connect.ts'
import type { Page, PageQuery } from '../db/pages.ts'
import { containing, fetchSearchPage, searchCandidates } from '../db/text-search.ts'
import { invalidField, notFound } from '../shared/errors.ts'
import {
  type Assignment,
  codeKey,
  INVALID_REASON,
  type InvalidReason,
  USES_HELD,
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
  uses_held: number
  max_uses: number
  valid_from: Date | null
  valid_until: Date | null
  voucher_type: VoucherType
  discount_value: number
  unlocks_hidden_tickets: boolean
  ticket_type_id: string | null
  add_on_id: string | null
  assigned_email: string | null
  assigned_name: string | null
  assigned_at: Date | null
  sent_at: Date | null
  created_at: Date
}

/**
 * SQL that joins the assignments `a` of vouchers `v`. `limit 1` keeps the look-up by voucher in every plan: few
 * vouchers of a page have one.
 */
export const JOIN_ASSIGNMENTS = `
  left join lateral (
    select * from voucher_assignments each
    where each.conference_id = v.conference_id and each.voucher_id = v.id
    limit 1) as a on true`

/** SQL that selects vouchers `v` with batches `b` and assignments `a`, in the columns of `VoucherRow`. */
export const SELECT_VOUCHERS = `
  select v.id, v.ordinal, v.code, v.batch_id, b.purchase_id, v.state,
    ${INVALID_REASON} as invalid_reason,
    v.times_used, ${USES_HELD} as uses_held, v.max_uses, b.valid_from, b.valid_until, b.voucher_type,
    b.discount_value, b.unlocks_hidden_tickets, b.ticket_type_id, b.add_on_id, v.created_at,
    a.email as assigned_email, a.name as assigned_name, a.assigned_at, a.sent_at
  from vouchers v
  join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id
  ${JOIN_ASSIGNMENTS}`

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
    usesHeld: row.uses_held,
    maxUses: row.max_uses,
    validFrom: row.valid_from,
    validUntil: row.valid_until,
    voucherType: row.voucher_type,
    discountValue: row.discount_value,
    unlocksHiddenTickets: row.unlocks_hidden_tickets,
    ticketTypeId: row.ticket_type_id,
    addOnId: row.add_on_id,
    assignedTo: toAssignment(row),
    createdAt: row.created_at,
  }
}

function toAssignment(row: VoucherRow): Assignment | null {
  const { assigned_email: email, assigned_name: name, assigned_at: assignedAt } = row
  if (email === null || assignedAt === null) return null
  return { email, name, assignedAt, sentAt: row.sent_at }
}

/**
 * The voucher with this code. Case, spaces and hyphens do not matter. With `sponsorId`, another sponsor's
 * voucher is not found.
 *
 * @throws AppError `not_found`
 */
export async function getVoucher(
  trx: Tx,
  conferenceId: string,
  code: string,
  sponsorId: string | null = null,
): Promise<Voucher> {
  const { rows } = await trx.raw<{ rows: VoucherRow[] }>(
    `${SELECT_VOUCHERS} where v.conference_id = :conferenceId and v.code_key = :key
       ${sponsorId === null ? '' : 'and b.sponsor_id = :sponsorId'}`,
    { conferenceId, key: codeKey(code), sponsorId },
  )
  if (rows[0] === undefined) throw notFound('voucher')
  return toVoucher(rows[0])
}

export type VoucherFilter = {
  code?: string | undefined
  state?: VoucherState | undefined
  purchaseId?: string | undefined
  batchId?: string | undefined
  /** A person's e-mail address, in any case. */
  assignedTo?: string | undefined
  /** Whether it was redeemed at least once. */
  used?: boolean | undefined
  /** A whole code, or part of the name or address of the person to whom a voucher is assigned. */
  text?: string | undefined
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
  if (filter.text !== undefined) {
    return searchVouchers(trx, conferenceId, { ...filter, batches }, filter.text, page)
  }
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

const ASSIGNED_TO = `and v.id = any(array(
  select p.voucher_id from voucher_assignments p
  where p.conference_id = :conferenceId and p.email_key = lower(:email)))`

type Conditions = Pick<VoucherFilter, 'code' | 'state' | 'assignedTo' | 'used'> & {
  batches: string[] | null
}

function readVouchers(
  trx: Tx,
  conferenceId: string,
  { code, state, assignedTo, used, batches }: Conditions,
  page: PageQuery,
  keyset: Keyset,
): Promise<Page<Voucher>> {
  const conditions = [
    ...(code === undefined ? [] : ['and v.code_key = :key']),
    ...(state === undefined ? [] : ['and v.state = :state']),
    ...(assignedTo === undefined ? [] : [ASSIGNED_TO]),
    ...(used === undefined ? [] : [`and v.times_used ${used ? '>' : '='} 0`]),
    ...(batches === null ? [] : [BATCH_CONDITION[batches.length === 1 ? 'one' : 'several']]),
  ].join(' ')
  const values = {
    key: codeKey(code ?? ''),
    state: state ?? '',
    email: assignedTo ?? '',
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

/**
 * The purchases that bought the code. Only a whole code finds them.
 *
 * @param where - the conferences. In each of them, a code exists once.
 */
export async function findPurchasesOfCode(
  trx: Tx,
  where: readonly string[],
  code: string,
): Promise<{ id: string; conference_id: string }[]> {
  const key = codeKey(code)
  if (key.length < MIN_CODE_LENGTH) return []
  return trx('vouchers as v')
    .join('voucher_batches as b', { 'b.conference_id': 'v.conference_id', 'b.id': 'v.batch_id' })
    .whereIn('v.conference_id', [...where])
    .where({ 'v.code_key': key })
    .whereNotNull('b.purchase_id')
    .select('b.purchase_id as id', 'b.conference_id')
}

/**
 * The voucher whose whole code the text is, else the vouchers of the persons whose name or address contains
 * the text, the newest assignment first. Parts of codes are not found, so codes cannot be guessed step by step.
 */
async function searchVouchers(
  trx: Tx,
  conferenceId: string,
  filter: VoucherFilter & { batches: string[] | null },
  text: string,
  page: PageQuery,
): Promise<Page<Voucher>> {
  if (filter.code === undefined) {
    const byCode = { ...filter, code: text }
    const found = await readVouchers(trx, conferenceId, byCode, { limit: 1 }, NEWEST)
    if (found.data.length > 0) return found
  }
  const list = trx('voucher_assignments as a')
    .join('vouchers as v', (on) =>
      on.on('v.conference_id', 'a.conference_id').on('v.id', 'a.voucher_id'),
    )
    .where('a.conference_id', conferenceId)
  const { sponsorId, batches, state, assignedTo, used, code } = filter
  if (sponsorId !== null) void list.where('a.sponsor_id', sponsorId)
  if (batches !== null) void list.whereRaw('v.batch_id = any(?)', [batches])
  if (state !== undefined) void list.where('v.state', state)
  if (used !== undefined) void list.where('v.times_used', used ? '>' : '=', 0)
  if (code !== undefined) void list.where('v.code_key', codeKey(code))
  if (assignedTo !== undefined) void list.whereRaw('a.email_key = lower(?)', [assignedTo])
  const candidates = searchCandidates(trx, conferenceId, 'assignment', text)
  const found = await fetchSearchPage<{ voucher_id: number }>(
    {
      list,
      alias: 'a',
      columns: ['a.voucher_id'],
      order: { at: 'a.assigned_at', id: 'a.voucher_id' },
      matched: ['a.name', 'a.email'],
      match: (query) =>
        query.whereRaw('(a.name ilike :text or a.email ilike :text)', { text: containing(text) }),
      candidates:
        candidates &&
        trx
          .queryBuilder()
          .from(candidates.as('found'))
          .select(
            trx.raw('cast(found.id as bigint) as id'),
            'found.listed_at',
            'found.conference_id',
          ),
    },
    page,
  )
  const { rows } = await trx.raw<{ rows: VoucherRow[] }>(
    `${SELECT_VOUCHERS} where v.conference_id = ? and v.id = any(?)`,
    [conferenceId, found.data.map(({ voucher_id: id }) => id)],
  )
  const byId = new Map(rows.map((row) => [row.id, toVoucher(row)]))
  return {
    ...found,
    data: found.data.flatMap(({ voucher_id: id }) => byId.get(id) ?? []),
  }
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
