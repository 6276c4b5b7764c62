import type { Tx } from '../db/connect.ts'
import { announceSwitch } from './announce-switch.ts'
import { followAtStripe } from './follow-at-stripe.ts'
import { lockPurchaseBatch } from './voucher-batch.ts'

// All of this runs under the batch's row lock, so changes of state cannot meet halfway. Redemptions
// do not take it; they lock one voucher each and nothing after it, so they cannot deadlock with
// these, and `for no key update` re-reads a voucher that was redeemed while it waited.

type Target = { conferenceId: string; batchId: string }

async function onBatch<T>(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  none: T,
  work: (target: Target) => Promise<T>,
): Promise<T> {
  const batchId = await lockPurchaseBatch(trx, conferenceId, purchaseId)
  if (batchId === null) return none
  const result = await work({ conferenceId, batchId })
  await followAtStripe(trx, { conferenceId, batchId })
  return result
}

async function run(trx: Tx, sql: string, bindings: Record<string, string | number>) {
  const { rowCount } = await trx.raw<{ rowCount: number }>(sql, bindings)
  return rowCount
}

const IN_BATCH = `v.conference_id = :conferenceId and v.batch_id = :batchId`

/** The codes that a refund of `:missing` more codes turns off: never used, newest first. */
const UNREDEEMED_NEWEST = `
  select v.id from vouchers v
  where ${IN_BATCH} and v.deactivated_by is null and v.times_used = 0
  order by v.ordinal desc
  limit :missing
  for no key update`

/** How many codes of the batch are off, whoever turned them off. */
export async function countOff(trx: Tx, target: Target): Promise<{ off: number; all: number }> {
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
export function turnOffForRefund(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  k: number,
): Promise<{ turnedOff: number; missing: number }> {
  return onBatch(trx, conferenceId, purchaseId, { turnedOff: 0, missing: k }, async (target) => {
    const { off } = await countOff(trx, target)
    const wanted = Math.max(0, k - off)
    if (wanted === 0) return { turnedOff: 0, missing: 0 }
    const turnedOff = await run(
      trx,
      `with chosen as (${UNREDEEMED_NEWEST})
       update vouchers v
       set deactivated_by = 'refund', deactivated_at = now(), held_by_refund = false
       from chosen where v.conference_id = :conferenceId and v.id = chosen.id`,
      { ...target, missing: wanted },
    )
    await announceSwitch(
      trx,
      'vouchers.deactivated',
      { ...target, purchaseId },
      turnedOff,
      'refund',
    )
    return { turnedOff, missing: wanted - turnedOff }
  })
}

/**
 * A full refund: every code that is not off yet is turned off. Uses that were made stay counted.
 *
 * @returns how many were turned off.
 */
export function turnOffAll(trx: Tx, conferenceId: string, purchaseId: string): Promise<number> {
  return onBatch(trx, conferenceId, purchaseId, 0, async (target) => {
    const count = await run(
      trx,
      `update vouchers v
       set deactivated_by = 'refund', deactivated_at = now(), held_by_refund = false
       where ${IN_BATCH} and v.deactivated_by is null`,
      target,
    )
    await announceSwitch(trx, 'vouchers.deactivated', { ...target, purchaseId }, count, 'refund')
    return count
  })
}

/**
 * A reinstated purchase: turns on what a refund turned off. What staff turned off stays off.
 *
 * @returns how many were turned on.
 */
export function turnBackOn(trx: Tx, conferenceId: string, purchaseId: string): Promise<number> {
  return onBatch(trx, conferenceId, purchaseId, 0, async (target) => {
    const count = await run(
      trx,
      `update vouchers v set deactivated_by = null, deactivated_at = null
       where ${IN_BATCH} and v.deactivated_by = 'refund'`,
      target,
    )
    await announceSwitch(trx, 'vouchers.activated', { ...target, purchaseId }, count, 'refund')
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
export function holdForRefund(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  k: number,
): Promise<number> {
  return onBatch(trx, conferenceId, purchaseId, 0, async (target) => {
    const { off, all } = await countOff(trx, target)
    const chosen =
      k >= all && k > 0
        ? `select v.id from vouchers v
           where ${IN_BATCH} and v.deactivated_by is null and v.times_used < v.max_uses
           order by v.ordinal desc
           for no key update`
        : UNREDEEMED_NEWEST
    return run(
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
export function holdForDispute(
  trx: Tx,
  conferenceId: string,
  purchaseId: string,
  held: boolean,
): Promise<number> {
  const which = held
    ? `not v.held_by_dispute and v.deactivated_by is null and v.times_used < v.max_uses`
    : `v.held_by_dispute`
  return onBatch(trx, conferenceId, purchaseId, 0, (target) =>
    run(
      trx,
      `update vouchers v set held_by_dispute = not v.held_by_dispute where ${IN_BATCH} and ${which}`,
      target,
    ),
  )
}
