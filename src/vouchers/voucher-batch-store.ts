import { codeLengthOf } from '../conferences/conference-store.ts'
import type { Tx } from '../db/connect.ts'
import { fetchPage, mapPage, type Page, type PageQuery } from '../db/pages.ts'
import { notFound } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import type { VoucherTerms, VoucherType } from './voucher-terms.ts'

/** Where the vouchers come from: a paid purchase, a staff member, or a sponsor's level. */
type BatchSource = 'purchase' | 'staff' | 'comp'

/** Everything that the vouchers of one batch share. */
export type BatchSpec = {
  conferenceId: string
  source: BatchSource
  purchaseId: string | null
  sponsorId: string | null
  /** 1 to 1,000,000. */
  count: number
  /** ISO 4217: the currency of a fixed discount. */
  currency: string
  ticketTypeId: string | null
  addOnId: string | null
  terms: VoucherTerms
  createdBy: string
}

/** What refunds and disputes require of a purchase's vouchers. It follows from money, not from events. */
export type VoucherTarget = {
  /**
   * How many vouchers in all must be inactive, by a refund or by staff. Redeemed ones stay active, unless
   * this is the count of the batch.
   */
  inactive: number
  /**
   * How many in all must be inactive, or frozen because refunds are pending; at least `inactive`. If this
   * is the count of the batch, redeemed ones with uses left are frozen too.
   */
  frozen: number
  /** Whether a dispute is open: then every active voucher with uses left is frozen. */
  disputed: boolean
}

/** Whether two targets require the same. */
export function isSameTarget(a: VoucherTarget, b: VoucherTarget): boolean {
  return a.inactive === b.inactive && a.frozen === b.frozen && a.disputed === b.disputed
}

/** A batch whose row this transaction has locked. */
export type LockedBatch = {
  conferenceId: string
  id: string
  purchaseId: string | null
  count: number
  isPublished: boolean
  /** The target to which the vouchers were aligned last. */
  target: VoucherTarget
  /** How many of `target.inactive` are missing. Null: the vouchers were not aligned to the target yet. */
  missing: number | null
}

type LockedRow = {
  id: string
  purchase_id: string | null
  count: number
  published_at: Date | null
  required_inactive: number
  required_frozen: number
  disputed: boolean
  missing_inactive: number | null
}

const LOCKED_COLUMNS = [
  'id',
  'purchase_id',
  'count',
  'published_at',
  'required_inactive',
  'required_frozen',
  'disputed',
  'missing_inactive',
] as const satisfies readonly (keyof LockedRow)[]

function toLockedBatch(conferenceId: string, row: LockedRow): LockedBatch {
  return {
    conferenceId,
    id: row.id,
    purchaseId: row.purchase_id,
    count: row.count,
    isPublished: row.published_at !== null,
    target: {
      inactive: row.required_inactive,
      frozen: row.required_frozen,
      disputed: row.disputed,
    },
    missing: row.missing_inactive,
  }
}

/** A locked batch with the columns that issuing needs. */
export type IssuableBatch = LockedBatch & {
  prefix: string
  /** Random symbols of a code, 8 to 32: what the conference had set when the batch was inserted. */
  codeLength: number
  maxUses: number
  /** Whether this transaction inserted the batch, so that it has no vouchers yet. */
  fresh: boolean
}

type IssuableRow = LockedRow & { prefix: string; code_length: number; max_uses: number }

const ISSUABLE_COLUMNS = [...LOCKED_COLUMNS, 'prefix', 'code_length', 'max_uses'] as const

async function insertBatch(trx: Tx, spec: BatchSpec): Promise<IssuableRow | undefined> {
  const { terms } = spec
  const [row] = await trx('voucher_batches')
    .insert({
      conference_id: spec.conferenceId,
      id: newId('voucherBatch'),
      source: spec.source,
      purchase_id: spec.purchaseId,
      sponsor_id: spec.sponsorId,
      count: spec.count,
      prefix: terms.prefix,
      code_length: codeLengthOf(trx, spec.conferenceId),
      voucher_type: terms.voucherType,
      discount_value: terms.discountValue,
      currency: spec.currency,
      max_uses: terms.maxUses,
      valid_from: terms.validFrom,
      valid_until: terms.validUntil,
      unlocks_hidden_tickets: terms.unlocksHiddenTickets,
      ticket_type_id: spec.ticketTypeId,
      add_on_id: spec.addOnId,
      created_by: spec.createdBy,
    })
    .onConflict()
    .ignore()
    .returning<IssuableRow[]>([...ISSUABLE_COLUMNS])
  return row
}

/**
 * Locks the batch of a purchase, or of a sponsor's complimentary vouchers, and inserts it if there is
 * none; a staff batch is always new. Whoever issues vouchers, changes their state or locks more than one
 * of them locks their batches first, so that these transactions run one after the other.
 */
export async function takeBatch(trx: Tx, spec: BatchSpec): Promise<IssuableBatch> {
  const { conferenceId } = spec
  const inserted = await insertBatch(trx, spec)
  const row =
    inserted ??
    (await trx('voucher_batches')
      .where({ conference_id: conferenceId, source: spec.source })
      .where(
        spec.source === 'purchase'
          ? { purchase_id: spec.purchaseId }
          : { sponsor_id: spec.sponsorId },
      )
      .forNoKeyUpdate()
      .first<IssuableRow | undefined>([...ISSUABLE_COLUMNS]))
  if (row === undefined) throw new Error('The batch was neither inserted nor found')
  return {
    ...toLockedBatch(conferenceId, row),
    prefix: row.prefix,
    codeLength: row.code_length,
    maxUses: row.max_uses,
    fresh: inserted !== undefined,
  }
}

/**
 * Locks a batch, by its id or by its purchase, until the transaction ends. Null: there is none, or
 * nothing was issued for the purchase.
 */
export async function lockBatch(
  trx: Tx,
  conferenceId: string,
  which: { id: string } | { purchase_id: string },
): Promise<LockedBatch | null> {
  const row = await trx('voucher_batches')
    .where({ conference_id: conferenceId, ...which })
    .forNoKeyUpdate()
    .first<LockedRow | undefined>([...LOCKED_COLUMNS])
  return row === undefined ? null : toLockedBatch(conferenceId, row)
}

/** A row of voucher_batches. */
export type VoucherBatch = Omit<BatchSpec, 'conferenceId'> & {
  id: string
  createdAt: Date
  /** Since when its codes can be used only at Stripe. Null: they are redeemed here. */
  publishedAt: Date | null
}

type BatchRow = {
  id: string
  source: BatchSource
  purchase_id: string | null
  sponsor_id: string | null
  count: number
  prefix: string
  voucher_type: VoucherType
  discount_value: number
  currency: string
  max_uses: number
  valid_from: Date | null
  valid_until: Date | null
  unlocks_hidden_tickets: boolean
  ticket_type_id: string | null
  add_on_id: string | null
  created_by: string
  created_at: Date
  published_at: Date | null
}

const BATCH_COLUMNS = [
  'id',
  'source',
  'purchase_id',
  'sponsor_id',
  'count',
  'prefix',
  'voucher_type',
  'discount_value',
  'currency',
  'max_uses',
  'valid_from',
  'valid_until',
  'unlocks_hidden_tickets',
  'ticket_type_id',
  'add_on_id',
  'created_by',
  'created_at',
  'published_at',
] as const satisfies readonly (keyof BatchRow)[]

function toBatch(row: BatchRow): VoucherBatch {
  return {
    id: row.id,
    source: row.source,
    purchaseId: row.purchase_id,
    sponsorId: row.sponsor_id,
    count: row.count,
    currency: row.currency,
    ticketTypeId: row.ticket_type_id,
    addOnId: row.add_on_id,
    terms: {
      voucherType: row.voucher_type,
      discountValue: row.discount_value,
      maxUses: row.max_uses,
      validFrom: row.valid_from,
      validUntil: row.valid_until,
      unlocksHiddenTickets: row.unlocks_hidden_tickets,
      prefix: row.prefix,
    },
    createdBy: row.created_by,
    createdAt: row.created_at,
    publishedAt: row.published_at,
  }
}

function batches(trx: Tx, conferenceId: string, sponsorId: string | null) {
  const query = trx('voucher_batches').where({ conference_id: conferenceId })
  if (sponsorId !== null) void query.where({ sponsor_id: sponsorId })
  return query
}

/** The batch. With `sponsorId`, another sponsor's batch is not found. @throws AppError `not_found` */
export async function getBatch(
  trx: Tx,
  conferenceId: string,
  id: string,
  sponsorId: string | null,
): Promise<VoucherBatch> {
  const row = await batches(trx, conferenceId, sponsorId)
    .where({ id })
    .first<BatchRow | undefined>([...BATCH_COLUMNS])
  if (row === undefined) throw notFound('voucher batch')
  return toBatch(row)
}

/** A page of batches, newest first; with `sponsorId` only that sponsor's. */
export async function listBatches(
  trx: Tx,
  conferenceId: string,
  sponsorId: string | null,
  page: PageQuery,
): Promise<Page<VoucherBatch>> {
  const query = batches(trx, conferenceId, sponsorId).select([...BATCH_COLUMNS])
  return mapPage(await fetchPage<BatchRow>(query, page), toBatch)
}

/** The id of a purchase's batch, or null if nothing was issued. */
export async function findPurchaseBatch(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
): Promise<string | null> {
  const row = await trx('voucher_batches')
    .where({ conference_id: conferenceId, purchase_id: purchaseId })
    .first<{ id: string } | undefined>('id')
  return row?.id ?? null
}

/**
 * SQL for what was last required of a purchase's vouchers: a `VoucherTarget`, and whether the vouchers
 * were aligned to it. Null if none were issued.
 *
 * @param purchase - alias of a row with conference_id and id.
 */
export const voucherTargetOf = (purchase: string) => `(
  select json_build_object('inactive', b.required_inactive, 'frozen', b.required_frozen,
    'disputed', b.disputed, 'missing', b.missing_inactive)
  from voucher_batches b
  where b.conference_id = ${purchase}.conference_id and b.purchase_id = ${purchase}.id)`
