import type { Tx } from '../db/connect.ts'
import { addJob } from '../jobs/job-queue.ts'
import { publishEvent } from '../notifications/outbound-events.ts'
import { AppError } from '../shared/errors.ts'
import type { Voucher } from './voucher.ts'
import { lockBatch, lockPurchaseBatch } from './voucher-batch-store.ts'
import { getVoucher } from './voucher-store.ts'

// Everything here runs under the batch's row lock, so changes of state run one after the other.
// Redemptions do not take that lock. They lock only one voucher each, so they cannot deadlock with these
// statements, and `for no key update` re-reads a voucher that was redeemed while the statement waited.

type Target = { conferenceId: string; batchId: string }

async function withLockedBatch<T>(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  none: T,
  work: (target: Target) => Promise<T>,
): Promise<T> {
  const batchId = await lockPurchaseBatch(trx, conferenceId, purchaseId)
  if (batchId === null) return none
  const result = await work({ conferenceId, batchId })
  await enqueuePromotionCodeSync(trx, { conferenceId, batchId })
  return result
}

async function execute(trx: Tx, sql: string, bindings: Record<string, string | number>) {
  const { rowCount } = await trx.raw<{ rowCount: number }>(sql, bindings)
  return rowCount
}

const IN_BATCH = `v.conference_id = :conferenceId and v.batch_id = :batchId`

/** The vouchers that a refund deactivates: `:wanted` of those never used, newest first. */
const NEWEST_UNREDEEMED = `
  select v.id from vouchers v
  where ${IN_BATCH} and v.deactivated_by is null and v.times_used = 0
  order by v.ordinal desc
  limit :wanted
  for no key update`

/** How many vouchers of the batch are inactive, by a refund or by staff. */
async function countInactive(trx: Tx, target: Target): Promise<{ inactive: number; all: number }> {
  const { rows } = await trx.raw<{ rows: { inactive: number; all: number }[] }>(
    `select count(v.deactivated_by) as inactive, count(*) as all from vouchers v where ${IN_BATCH}`,
    target,
  )
  return rows[0] ?? { inactive: 0, all: 0 }
}

/**
 * Deactivates unredeemed vouchers, newest first, until `k` vouchers of the purchase in all are inactive,
 * by a refund or by staff. Redeemed vouchers are never deactivated.
 *
 * @returns `missing`: how many of `k` could not be deactivated, since all others were redeemed.
 */
export function deactivateForRefund(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  k: number,
): Promise<{ deactivated: number; missing: number }> {
  return withLockedBatch(
    trx,
    conferenceId,
    purchaseId,
    { deactivated: 0, missing: k },
    async (target) => {
      const { inactive } = await countInactive(trx, target)
      const wanted = Math.max(0, k - inactive)
      if (wanted === 0) return { deactivated: 0, missing: 0 }
      const deactivated = await execute(
        trx,
        `with chosen as (${NEWEST_UNREDEEMED})
       update vouchers v
       set deactivated_by = 'refund', deactivated_at = now(), held_by_refund = false
       from chosen where v.conference_id = :conferenceId and v.id = chosen.id`,
        { ...target, wanted },
      )
      await publishVoucherStateChange(
        trx,
        'vouchers.deactivated',
        { ...target, purchaseId },
        deactivated,
        'refund',
      )
      return { deactivated, missing: wanted - deactivated }
    },
  )
}

/**
 * After a full refund: deactivates every voucher that is not inactive yet. Uses stay counted.
 *
 * @returns how many it deactivated.
 */
export function deactivateAll(trx: Tx, conferenceId: string, purchaseId: string): Promise<number> {
  return withLockedBatch(trx, conferenceId, purchaseId, 0, async (target) => {
    const count = await execute(
      trx,
      `update vouchers v
       set deactivated_by = 'refund', deactivated_at = now(), held_by_refund = false
       where ${IN_BATCH} and v.deactivated_by is null`,
      target,
    )
    await publishVoucherStateChange(
      trx,
      'vouchers.deactivated',
      { ...target, purchaseId },
      count,
      'refund',
    )
    return count
  })
}

/**
 * For a reinstated purchase: reactivates what a refund deactivated. What staff deactivated stays so.
 *
 * @returns how many it reactivated.
 */
export function reactivateVouchers(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
): Promise<number> {
  return withLockedBatch(trx, conferenceId, purchaseId, 0, async (target) => {
    const count = await execute(
      trx,
      `update vouchers v set deactivated_by = null, deactivated_at = null
       where ${IN_BATCH} and v.deactivated_by = 'refund'`,
      target,
    )
    await publishVoucherStateChange(
      trx,
      'vouchers.activated',
      { ...target, purchaseId },
      count,
      'refund',
    )
    return count
  })
}

/**
 * Freezes the vouchers that `deactivateForRefund` with this `k` would deactivate and releases all
 * others. If `k` covers every voucher (a full refund), it also freezes redeemed ones with uses left.
 * `k` = 0 releases all. Idempotent.
 *
 * @returns how many vouchers changed.
 */
export function freezeForRefund(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  k: number,
): Promise<number> {
  return withLockedBatch(trx, conferenceId, purchaseId, 0, async (target) => {
    const { inactive, all } = await countInactive(trx, target)
    const chosen =
      k >= all && k > 0
        ? `select v.id from vouchers v
           where ${IN_BATCH} and v.deactivated_by is null and v.times_used < v.max_uses
           order by v.ordinal desc
           for no key update`
        : NEWEST_UNREDEEMED
    return execute(
      trx,
      // `not exists` and not `not in`: each row would search a list of up to a million ids.
      `with chosen as (${chosen}),
       held as (
         update vouchers v set held_by_refund = true from chosen
         where v.conference_id = :conferenceId and v.id = chosen.id and not v.held_by_refund
         returning v.id),
       released as (
         update vouchers v set held_by_refund = false
         where ${IN_BATCH} and v.held_by_refund
           and not exists (select from chosen where chosen.id = v.id)
         returning v.id)
       select id from held union all select id from released`,
      { ...target, wanted: Math.max(0, k - inactive) },
    )
  })
}

/**
 * While a dispute is open (`held`), freezes every active voucher that has uses left; afterwards releases
 * them.
 *
 * @returns how many vouchers changed.
 */
export function freezeForDispute(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  held: boolean,
): Promise<number> {
  const which = held
    ? `not v.held_by_dispute and v.deactivated_by is null and v.times_used < v.max_uses`
    : `v.held_by_dispute`
  return withLockedBatch(trx, conferenceId, purchaseId, 0, (target) =>
    execute(
      trx,
      `update vouchers v set held_by_dispute = not v.held_by_dispute where ${IN_BATCH} and ${which}`,
      target,
    ),
  )
}

/**
 * How many vouchers of a purchase must be inactive because of its refunds: all of a REFUNDED one.
 * Implemented in purchases/. It must lock the purchase until the transaction ends, so that no refund
 * changes the number meanwhile.
 */
export type RequiredInactiveCount = (
  trx: Tx,
  ref: { conferenceId: string; purchaseId: string },
) => Promise<number>

/**
 * Deactivates one voucher for staff. Idempotent.
 *
 * @throws AppError `not_found`
 */
export async function deactivateVoucher(
  trx: Tx,
  conferenceId: string,
  code: string,
): Promise<Voucher> {
  const { id, batchId, purchaseId } = await getVoucher(trx, conferenceId, code)
  await lockBatch(trx, conferenceId, batchId)
  const count = await trx('vouchers')
    .where({ conference_id: conferenceId, id, deactivated_by: null })
    .update({ deactivated_by: 'staff', deactivated_at: trx.fn.now() })
  const where = { conferenceId, batchId, purchaseId }
  await publishVoucherStateChange(trx, 'vouchers.deactivated', where, count, 'staff')
  await enqueuePromotionCodeSync(trx, where)
  return getVoucher(trx, conferenceId, code)
}

/**
 * Activates one voucher again. Idempotent.
 *
 * @throws AppError `not_found`; `voucher_refunded` if refunds require it to stay inactive; `wrong_state`
 * while a pending refund or an open dispute freezes it.
 */
export async function activateVoucher(
  trx: Tx,
  conferenceId: string,
  code: string,
  requiredInactiveCount: RequiredInactiveCount,
): Promise<Voucher> {
  const { id, batchId, purchaseId } = await getVoucher(trx, conferenceId, code)
  // Lock the purchase first, then the batch, as a refund does.
  const required =
    purchaseId === null ? 0 : await requiredInactiveCount(trx, { conferenceId, purchaseId })
  await lockBatch(trx, conferenceId, batchId)
  const voucher = await getVoucher(trx, conferenceId, code)
  if (voucher.state === 'active') return voucher
  if (voucher.state === 'frozen') throw frozenError()
  const { inactive } = await countInactive(trx, { conferenceId, batchId })
  if (inactive - 1 < required) throw refundedError(required, inactive)
  await trx('vouchers')
    .where({ conference_id: conferenceId, id })
    .update({ deactivated_by: null, deactivated_at: null })
  await publishVoucherStateChange(
    trx,
    'vouchers.activated',
    { conferenceId, batchId, purchaseId },
    1,
    'staff',
  )
  await enqueuePromotionCodeSync(trx, { conferenceId, batchId })
  return getVoucher(trx, conferenceId, code)
}

function frozenError(): AppError {
  return new AppError(
    'wrong_state',
    'The voucher is frozen until the pending refund or open dispute of its purchase ends.',
    { extra: { state: 'frozen', allowed_actions: ['deactivate'] } },
  )
}

function refundedError(required: number, inactive: number): AppError {
  return new AppError(
    'voucher_refunded',
    `Refunds require ${required} inactive vouchers; ${inactive} ${inactive === 1 ? 'is' : 'are'} inactive.`,
    { extra: { required_off: required, off: inactive } },
  )
}

/** Publishes how many vouchers of a batch were deactivated or activated, and by what. 0: nothing. */
async function publishVoucherStateChange(
  trx: Tx,
  type: 'vouchers.deactivated' | 'vouchers.activated',
  where: { conferenceId: string; batchId: string; purchaseId: string | null },
  count: number,
  by: 'refund' | 'staff',
): Promise<void> {
  if (count === 0) return
  const { conferenceId, batchId, purchaseId } = where
  await publishEvent(trx, {
    conferenceId,
    type,
    data: { batch: batchId, purchase: purchaseId, count, by },
  })
}

/**
 * Call it in every transaction that changes the state of a batch's vouchers. If the batch is published,
 * it adds a job that gives the promotion codes at Stripe the same state.
 */
async function enqueuePromotionCodeSync(
  trx: Tx,
  { conferenceId, batchId }: { conferenceId: string; batchId: string },
): Promise<void> {
  const published = await trx('voucher_batches')
    .where({ conference_id: conferenceId, id: batchId })
    .whereNotNull('published_at')
    .first<{ id: string } | undefined>('id')
  if (published === undefined) return
  await addJob(trx, 'align_promotion_codes', { conference_id: conferenceId, batch_id: batchId })
}
