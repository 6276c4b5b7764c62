import type { Tx } from '../db/connect.ts'
import { fetchPage, mapPage, type Page, type PageQuery } from '../db/pages.ts'
import { AppError } from '../shared/errors.ts'
import { codeKey, type InvalidReason } from './voucher.ts'

/**
 * `held`: the use counts until the hold ends. `expired`: the hold ended before it was confirmed. `released`: the
 * use was given back.
 */
export const REDEMPTION_STATUSES = ['held', 'redeemed', 'released', 'expired'] as const

export type RedemptionStatus = (typeof REDEMPTION_STATUSES)[number]

/** One use of one voucher, by one order of the ticket shop: taken, or held for it. */
export type Redemption = {
  id: string
  code: string
  batchId: string
  purchaseId: string | null
  /** The shop's own id of the order. */
  reference: string
  status: RedemptionStatus
  /** Id of the API key that took or held the use. */
  redeemedBy: string
  createdAt: Date
  /** When the hold ends or ended. Null: the use was taken at once. */
  expiresAt: Date | null
  /** When the hold became a redemption. */
  confirmedAt: Date | null
  /** When the use became available again. Null: it counts. */
  releasedAt: Date | null
  /** Null: the use counts, or its hold ended by itself. */
  releasedBy: string | null
}

export type RedemptionRow = {
  id: string
  code: string
  batch_id: string
  purchase_id: string | null
  reference: string
  status: RedemptionStatus
  redeemed_by: string
  created_at: Date
  expires_at: Date | null
  confirmed_at: Date | null
  released_at: Date | null
  released_by: string | null
}

/**
 * SQL for whether redemption `r` is a hold that has ended, by the database's clock. Its row says so only after
 * redemption-holds.ts marked it; nothing that a caller sees depends on when that happens.
 */
const HAS_ENDED = '(r.is_held and r.expires_at <= statement_timestamp())'

const STATUS = `case
  when r.released_by is not null then 'released'
  when ${HAS_ENDED} or r.released_at is not null then 'expired'
  when r.is_held then 'held'
  else 'redeemed' end`

/** Redemptions `r` with their vouchers `v` and their batches `b`, in the columns of `RedemptionRow`. */
export function redemptions(trx: Tx, conferenceId: string) {
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
      trx.raw(`${STATUS} as status`),
      'r.redeemed_by',
      'r.created_at',
      'r.expires_at',
      'r.confirmed_at',
      trx.raw(`case when ${HAS_ENDED} then r.expires_at else r.released_at end as released_at`),
      'r.released_by',
    )
}

export function toRedemption(row: RedemptionRow): Redemption {
  return {
    id: row.id,
    code: row.code,
    batchId: row.batch_id,
    purchaseId: row.purchase_id,
    reference: row.reference,
    status: row.status,
    redeemedBy: row.redeemed_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    confirmedAt: row.confirmed_at,
    releasedAt: row.released_at,
    releasedBy: row.released_by,
  }
}

export type RedemptionFilter = {
  /** A code; case, spaces and hyphens do not matter. */
  voucher?: string | undefined
  purchaseId?: string | undefined
  reference?: string | undefined
}

/** A page of redemptions and holds, newest first, with the released ones. */
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

/** The refusal to take a use of a voucher that is not valid. */
export function invalidVoucherError(reason: InvalidReason): AppError {
  const extra = { invalid_reason: reason }
  return reason === 'published'
    ? new AppError(
        'published',
        'The voucher is published as a Stripe promotion code. Use it in a Stripe checkout.',
        { extra },
      )
    : new AppError('voucher_invalid', `The voucher is ${reason.replaceAll('_', ' ')}.`, { extra })
}
