import type { Tx } from '../db/connect.ts'
import { fetchPage, mapPage, type Page, type PageQuery } from '../http/pages.ts'
import { notFound } from '../shared/errors.ts'
import type { BatchSource, BatchSpec } from './voucher-batch.ts'
import type { VoucherType } from './voucher-terms.ts'

/** A batch as its row has it. */
export type VoucherBatch = Omit<BatchSpec, 'conferenceId'> & {
  id: string
  createdAt: Date
  /** Since when its codes can be used at Stripe only; null: they are used here. */
  publishedAt: Date | null
}

type BatchRow = {
  id: string
  source: BatchSource
  purchase_id: string | null
  sponsor_id: string | null
  count: number
  prefix: string
  code_length: number
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

const COLUMNS = [
  'id',
  'source',
  'purchase_id',
  'sponsor_id',
  'count',
  'prefix',
  'code_length',
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
    codeLength: row.code_length,
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

/** The batch; with `sponsorId` only when it is that sponsor's. @throws AppError `not_found` */
export async function getBatch(
  trx: Tx,
  conferenceId: string,
  id: string,
  sponsorId: string | null,
): Promise<VoucherBatch> {
  const row = await batches(trx, conferenceId, sponsorId)
    .where({ id })
    .first<BatchRow | undefined>([...COLUMNS])
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
  const query = batches(trx, conferenceId, sponsorId).select([...COLUMNS])
  return mapPage(await fetchPage<BatchRow>(query, page), toBatch)
}

/**
 * The id of a purchase's batch, or null while nothing was issued.
 *
 * @throws AppError `not_found` when there is no such purchase, or it is another sponsor's.
 */
export async function findPurchaseBatch(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  sponsorId: string | null,
): Promise<string | null> {
  const { rows } = await trx.raw<{ rows: { batch_id: string | null }[] }>(
    `select b.id as batch_id
     from bulk_purchases p
     left join voucher_batches b on b.conference_id = p.conference_id and b.purchase_id = p.id
     where p.conference_id = ? and p.id = ? and (?::text is null or p.sponsor_id = ?)`,
    [conferenceId, purchaseId, sponsorId, sponsorId],
  )
  if (rows[0] === undefined) throw notFound('purchase')
  return rows[0].batch_id
}
