import type { Tx } from '../db/connect.ts'
import { addJob } from '../jobs/job-queue.ts'
import { publishEvent } from '../notifications/outbound-events.ts'
import { AppError } from '../shared/errors.ts'
import type { Voucher } from './voucher.ts'
import { lockBatch, lockPurchaseBatch } from './voucher-batch-store.ts'
import { getVoucher } from './voucher-store.ts'

// All of this runs under the batch's row lock, so changes of state cannot meet halfway. Redemptions
// do not take it; they lock one voucher each and nothing after it, so they cannot deadlock with
// these, and `for no key update` re-reads a voucher that was redeemed while it waited.

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

/** The codes that a refund of `:missing` more codes turns off: never used, newest first. */
const NEWEST_UNREDEEMED = `
  select v.id from vouchers v
  where ${IN_BATCH} and v.deactivated_by is null and v.times_used = 0
  order by v.ordinal desc
  limit :missing
  for no key update`

/** How many codes of the batch are off, whoever turned them off. */
async function countInactive(trx: Tx, target: Target): Promise<{ off: number; all: number }> {
  const { rows } = await trx.raw<{ rows: { off: number; all: number }[] }>(
    `select count(v.deactivated_by) as off, count(*) as all from vouchers v where ${IN_BATCH}`,
    target,
  )
  return rows[0] ?? { off: 0, all: 0 }
}

/**
 * The k rule: `k` codes of the purchase in all are off, whoever turned them off. Turns off as many
 * more as that takes, unredeemed ones first and newest first; redeemed ones never.
 *
 * @returns `missing`: how many could not be turned off, since the rest was redeemed.
 */
export function deactivateForRefund(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  k: number,
): Promise<{ turnedOff: number; missing: number }> {
  return withLockedBatch(
    trx,
    conferenceId,
    purchaseId,
    { turnedOff: 0, missing: k },
    async (target) => {
      const { off } = await countInactive(trx, target)
      const wanted = Math.max(0, k - off)
      if (wanted === 0) return { turnedOff: 0, missing: 0 }
      const turnedOff = await execute(
        trx,
        `with chosen as (${NEWEST_UNREDEEMED})
       update vouchers v
       set deactivated_by = 'refund', deactivated_at = now(), held_by_refund = false
       from chosen where v.conference_id = :conferenceId and v.id = chosen.id`,
        { ...target, missing: wanted },
      )
      await publishVoucherStateChange(
        trx,
        'vouchers.deactivated',
        { ...target, purchaseId },
        turnedOff,
        'refund',
      )
      return { turnedOff, missing: wanted - turnedOff }
    },
  )
}

/**
 * A full refund: every code that is not off yet is turned off. Uses that were made stay counted.
 *
 * @returns how many were turned off.
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
 * A reinstated purchase: turns on what a refund turned off. What staff turned off stays off.
 *
 * @returns how many were turned on.
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
 * Freezes exactly the codes that the refunds under way would turn off and thaws all others: those
 * that `turnOffForRefund` with this `k` would, and where `k` is every code, as after a full refund,
 * redeemed ones with uses left too. `k` = 0 thaws all. Repeating it changes nothing.
 *
 * @returns how many codes changed.
 */
export function freezeForRefund(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  k: number,
): Promise<number> {
  return withLockedBatch(trx, conferenceId, purchaseId, 0, async (target) => {
    const { off, all } = await countInactive(trx, target)
    const chosen =
      k >= all && k > 0
        ? `select v.id from vouchers v
           where ${IN_BATCH} and v.deactivated_by is null and v.times_used < v.max_uses
           order by v.ordinal desc
           for no key update`
        : NEWEST_UNREDEEMED
    return execute(
      trx,
      // Anti joins and not "not in": a list of a million ids would be searched for every row.
      `with chosen as (${chosen}),
       held as (
         update vouchers v set held_by_refund = true from chosen
         where v.conference_id = :conferenceId and v.id = chosen.id and not v.held_by_refund
         returning v.id),
       thawed as (
         update vouchers v set held_by_refund = false
         where ${IN_BATCH} and v.held_by_refund
           and not exists (select from chosen where chosen.id = v.id)
         returning v.id)
       select id from held union all select id from thawed`,
      { ...target, missing: Math.max(0, k - off) },
    )
  })
}

/**
 * While a dispute is open, every code that is not off and has uses left is frozen; afterwards none
 * is by a dispute.
 *
 * @returns how many codes changed.
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
 * How many codes of a purchase must be off, by the money that went back: every one of a refunded
 * purchase. Implemented in purchases/. It must lock the purchase until the transaction ends, so that
 * no refund arrives between the answer and what is decided on it.
 */
export type RequiredInactiveCount = (
  trx: Tx,
  ref: { conferenceId: string; purchaseId: string },
) => Promise<number>

/**
 * Turns one code off by hand. One that is off already stays as it is.
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
 * Turns one code on again. One that is active already stays as it is.
 *
 * @throws AppError `not_found`; `voucher_refunded` when more codes would then be on than are paid
 * for; `wrong_state` for a code that a refund or dispute under way has frozen.
 */
export async function activateVoucher(
  trx: Tx,
  conferenceId: string,
  code: string,
  requiredOff: RequiredInactiveCount,
): Promise<Voucher> {
  const { id, batchId, purchaseId } = await getVoucher(trx, conferenceId, code)
  // The purchase first, then the batch: the order in which a refund locks them.
  const required = purchaseId === null ? 0 : await requiredOff(trx, { conferenceId, purchaseId })
  await lockBatch(trx, conferenceId, batchId)
  const voucher = await getVoucher(trx, conferenceId, code)
  if (voucher.state === 'active') return voucher
  if (voucher.state === 'frozen') throw frozenError()
  const { off } = await countInactive(trx, { conferenceId, batchId })
  if (off - 1 < required) throw refundedError(required, off)
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
    'The voucher is frozen while a refund or dispute of its purchase is under way.',
    { extra: { state: 'frozen', allowed_actions: ['deactivate'] } },
  )
}

function refundedError(required: number, off: number): AppError {
  return new AppError(
    'voucher_refunded',
    `The purchase was paid back so far that ${required} of its codes must be off; ${off} are.`,
    { extra: { required_off: required, off } },
  )
}

/** Tells receivers how many codes of a batch were turned off or on, and by what. Nothing for none. */
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
 * To be called in the transaction that changes the state of a batch's codes: if they are published,
 * their promotion codes are turned off and on like them, by a job that exists when this commits.
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
