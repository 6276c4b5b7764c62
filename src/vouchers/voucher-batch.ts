import type { Tx } from '../db/connect.ts'
import { newId } from '../shared/ids.ts'
import type { VoucherTerms } from './voucher-terms.ts'

/** Where codes come from: a paid purchase, a staff member, or a sponsor's level. */
export type BatchSource = 'purchase' | 'staff' | 'comp'

/** Everything that codes of one kind share. */
export type BatchSpec = {
  conferenceId: string
  source: BatchSource
  purchaseId: string | null
  sponsorId: string | null
  /** 1 to 1,000,000. */
  count: number
  /** Random symbols of a code, 8 to 32. */
  codeLength: number
  /** ISO 4217; what a fixed amount is counted in. */
  currency: string
  ticketTypeId: string | null
  addOnId: string | null
  terms: VoucherTerms
  createdBy: string
}

/** What making codes needs to know of a batch. */
export type IssuableBatch = {
  conferenceId: string
  id: string
  count: number
  prefix: string
  codeLength: number
  maxUses: number
  /** True when this transaction made it, so that it has no codes yet. */
  fresh: boolean
}

type Row = { id: string; count: number; prefix: string; code_length: number; max_uses: number }

const COLUMNS = ['id', 'count', 'prefix', 'code_length', 'max_uses'] as const

async function insertBatch(trx: Tx, spec: BatchSpec): Promise<Row | undefined> {
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
      code_length: spec.codeLength,
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
    .returning<Row[]>([...COLUMNS])
  return row
}

/**
 * The batch of a purchase, or of a sponsor's complimentary codes, made when there is none; a staff
 * batch is always new. The caller's transaction holds its row lock afterwards: whoever makes codes
 * or changes their state takes it first, so none of them can meet halfway.
 */
export async function takeBatch(trx: Tx, spec: BatchSpec): Promise<IssuableBatch> {
  const { conferenceId } = spec
  const made = await insertBatch(trx, spec)
  const row =
    made ??
    (await trx('voucher_batches')
      .where({ conference_id: conferenceId, source: spec.source })
      .where(
        spec.source === 'purchase'
          ? { purchase_id: spec.purchaseId }
          : { sponsor_id: spec.sponsorId },
      )
      .forNoKeyUpdate()
      .first<Row | undefined>([...COLUMNS]))
  if (row === undefined) throw new Error('The batch was neither made nor found')
  return {
    conferenceId,
    id: row.id,
    count: row.count,
    prefix: row.prefix,
    codeLength: row.code_length,
    maxUses: row.max_uses,
    fresh: made !== undefined,
  }
}

/** Locks a batch until the transaction ends. */
export async function lockBatch(trx: Tx, conferenceId: string, id: string): Promise<void> {
  await trx('voucher_batches')
    .where({ conference_id: conferenceId, id })
    .forNoKeyUpdate()
    .select('id')
}

/** Locks the batch of a purchase and returns its id, or null when none was issued. */
export async function lockPurchaseBatch(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
): Promise<string | null> {
  const row = await trx('voucher_batches')
    .where({ conference_id: conferenceId, purchase_id: purchaseId })
    .forNoKeyUpdate()
    .first<{ id: string } | undefined>('id')
  return row?.id ?? null
}
