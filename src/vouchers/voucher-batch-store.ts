import type { Tx } from '../db/connect.ts'
import { fetchPage, mapPage, type Page, type PageQuery } from '../db/pages.ts'
import { PREPARED } from '../db/pipeline.ts'
import { notFound } from '../shared/errors.ts'
import type { BatchSpec } from './issue-vouchers.ts'
import type { VoucherType } from './voucher-terms.ts'

/** A row of voucher_batches. */
export type VoucherBatch = Omit<BatchSpec, 'conferenceId'> & {
  id: string
  createdAt: Date
  /** Since when its codes can be used only at Stripe. Null: they are redeemed here. */
  publishedAt: Date | null
}

type BatchRow = {
  id: string
  source: BatchSpec['source']
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
  { sponsorId, source }: { sponsorId: string | null; source?: VoucherBatch['source'] | undefined },
  page: PageQuery,
): Promise<Page<VoucherBatch>> {
  const query = batches(trx, conferenceId, sponsorId).select([...BATCH_COLUMNS])
  if (source !== undefined) void query.where({ source })
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
    .options(PREPARED)
    .first<{ id: string } | undefined>('id')
  return row?.id ?? null
}
