import type { Tx } from '../db/connect.ts'
import { fetchPage, mapPage, type Page, type PageQuery } from '../http/pages.ts'
import { notFound } from '../shared/errors.ts'
import type { Redemption } from './redemption.ts'
import { codeKey } from './voucher-code.ts'

type RedemptionRow = {
  id: string
  code: string
  batch_id: string
  purchase_id: string | null
  reference: string
  redeemed_by: string
  created_at: Date
  released_at: Date | null
  released_by: string | null
}

function redemptions(trx: Tx, conferenceId: string) {
  return trx('redemptions as r')
    .join('vouchers as v', (on) =>
      on.on('v.conference_id', 'r.conference_id').on('v.id', 'r.voucher_id'),
    )
    .join('voucher_batches as b', (on) =>
      on.on('b.conference_id', 'v.conference_id').on('b.id', 'v.batch_id'),
    )
    .where('r.conference_id', conferenceId)
    .select(
      'r.id',
      'v.code',
      'v.batch_id',
      'b.purchase_id',
      'r.reference',
      'r.redeemed_by',
      'r.created_at',
      'r.released_at',
      'r.released_by',
    )
}

function toRedemption(row: RedemptionRow): Redemption {
  return {
    id: row.id,
    code: row.code,
    batchId: row.batch_id,
    purchaseId: row.purchase_id,
    reference: row.reference,
    redeemedBy: row.redeemed_by,
    createdAt: row.created_at,
    releasedAt: row.released_at,
    releasedBy: row.released_by,
  }
}

/** @throws AppError `not_found` */
export async function getRedemption(
  trx: Tx,
  conferenceId: string,
  id: string,
): Promise<Redemption> {
  const row = await redemptions(trx, conferenceId)
    .where('r.id', id)
    .first<RedemptionRow | undefined>()
  if (row === undefined) throw notFound('redemption')
  return toRedemption(row)
}

export type RedemptionFilter = {
  /** A code, however spelt. */
  voucher?: string | undefined
  purchaseId?: string | undefined
  reference?: string | undefined
}

/** A page of redemptions, newest first; released ones are among them. */
export async function listRedemptions(
  trx: Tx,
  conferenceId: string,
  filter: RedemptionFilter,
  page: PageQuery,
): Promise<Page<Redemption>> {
  const query = redemptions(trx, conferenceId)
  if (filter.voucher !== undefined) void query.where('v.code_key', codeKey(filter.voucher))
  if (filter.purchaseId !== undefined) void query.where('b.purchase_id', filter.purchaseId)
  if (filter.reference !== undefined) void query.where('r.reference', filter.reference)
  const found = await fetchPage<RedemptionRow>(query, page, { at: 'r.created_at', id: 'r.id' })
  return mapPage(found, toRedemption)
}
