import type { Tx } from '../db/connect.ts'
import { fetchPage, mapPage, type Page, type PageQuery } from '../db/pages.ts'
import type { Actor } from '../shared/caller.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { realignBatch } from './align-vouchers.ts'
import { INVALID_REASON } from './voucher.ts'
import { lockBatch } from './voucher-batch-store.ts'
import { codeKey } from './voucher-code.ts'
import { getVoucher } from './voucher-store.ts'

export type RedeemRequest = { code: string; reference: string; actor: Actor }

// A redemption locks only the voucher, so it cannot deadlock with another redemption or with a change of
// state.
async function lockVoucher(trx: Tx, conferenceId: string, code: string): Promise<number> {
  const row = await trx('vouchers')
    .where({ conference_id: conferenceId, code_key: codeKey(code) })
    .forNoKeyUpdate()
    .first<{ id: number } | undefined>('id')
  if (row === undefined) throw notFound('voucher')
  return row.id
}

/**
 * Redeems a voucher: takes one use of it for `reference`, if no reason of `INVALID_REASON` (voucher.ts)
 * forbids it. Who may redeem is declared in redemption-routes.ts. The same reference again returns the
 * same redemption and takes no use, even if the voucher was deactivated since; after a release, it takes
 * a new one.
 *
 * @returns `created`: whether this call took a use.
 * @throws AppError `not_found`; `voucher_invalid` with `invalid_reason`; `published`.
 */
export async function redeemVoucher(
  trx: Tx,
  conferenceId: string,
  { code, reference, actor }: RedeemRequest,
): Promise<{ redemption: Redemption; created: boolean }> {
  const voucherId = await lockVoucher(trx, conferenceId, code)
  // A separate statement under the lock: it sees what parallel calls committed.
  const { rows } = await trx.raw<{ rows: { id: string; created: boolean }[] }>(
    `with known as (
       select r.id from redemptions r
       where r.conference_id = :conferenceId and r.voucher_id = :voucherId
         and r.reference = :reference and r.released_at is null),
     used as (
       update vouchers v set times_used = v.times_used + 1
       from voucher_batches b
       where v.conference_id = :conferenceId and v.id = :voucherId
         and b.conference_id = v.conference_id and b.id = v.batch_id
         and (${INVALID_REASON}) is null and not exists (select from known)
       returning v.id),
     made as (
       insert into redemptions (conference_id, id, voucher_id, reference, redeemed_by, created_at)
       select :conferenceId, :id, used.id, :reference, :actor, statement_timestamp() from used
       returning id)
     select id, false as created from known union all select id, true from made`,
    { conferenceId, voucherId, reference, id: newId('redemption'), actor: actor.id },
  )
  const [found] = rows
  if (found === undefined) throw await invalidVoucherError(trx, conferenceId, code)
  return {
    redemption: await getRedemption(trx, conferenceId, found.id),
    created: found.created,
  }
}

async function invalidVoucherError(trx: Tx, conferenceId: string, code: string): Promise<AppError> {
  const { invalidReason } = await getVoucher(trx, conferenceId, code)
  // The statement refused the voucher, but it is valid now: `valid_from` passed between the two reads.
  const reason = invalidReason ?? 'not_yet_valid'
  if (reason === 'published') {
    return new AppError(
      'published',
      'The voucher is published as a Stripe promotion code. Use it in a Stripe checkout.',
      {
        extra: { invalid_reason: reason },
      },
    )
  }
  return new AppError('voucher_invalid', `The voucher is ${reason.replaceAll('_', ' ')}.`, {
    extra: { invalid_reason: reason },
  })
}

/**
 * Releases a redemption: its use is available again. Releasing it twice is a no-op. If refunds or
 * disputes require it, the voucher is frozen or inactive afterwards.
 *
 * @throws AppError `not_found`
 */
export async function releaseRedemption(
  trx: Tx,
  conferenceId: string,
  id: string,
  actor: Actor,
): Promise<Redemption> {
  const { code, batchId } = await getRedemption(trx, conferenceId, id)
  // Lock the batch first, as a change of state does, then the voucher, as a redemption does.
  const batch = await lockBatch(trx, conferenceId, { id: batchId })
  await lockVoucher(trx, conferenceId, code)
  const { rowCount } = await trx.raw<{ rowCount: number }>(
    `with released as (
       update redemptions r set released_at = statement_timestamp(), released_by = :actor
       where r.conference_id = :conferenceId and r.id = :id and r.released_at is null
       returning r.voucher_id)
     update vouchers v set times_used = v.times_used - 1
     from released where v.conference_id = :conferenceId and v.id = released.voucher_id`,
    { conferenceId, id, actor: actor.id },
  )
  if (batch !== null && rowCount > 0) await realignBatch(trx, batch)
  return getRedemption(trx, conferenceId, id)
}

/** One use of one voucher, by one order of the ticket shop. */
export type Redemption = {
  id: string
  code: string
  batchId: string
  purchaseId: string | null
  /** The shop's own id of the order. */
  reference: string
  /** Id of the API key. */
  redeemedBy: string
  createdAt: Date
  /** When the use was released. Null: it counts. */
  releasedAt: Date | null
  releasedBy: string | null
}

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
async function getRedemption(trx: Tx, conferenceId: string, id: string): Promise<Redemption> {
  const row = await redemptions(trx, conferenceId)
    .where('r.id', id)
    .first<RedemptionRow | undefined>()
  if (row === undefined) throw notFound('redemption')
  return toRedemption(row)
}

export type RedemptionFilter = {
  /** A code; case, spaces and hyphens do not matter. */
  voucher?: string | undefined
  purchaseId?: string | undefined
  reference?: string | undefined
}

/** A page of redemptions, newest first, with the released ones. */
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
