import type { Db, Tx } from '../db/connect.ts'
import { runInOrder } from '../db/pipeline.ts'
import { withSystem } from '../db/tenant-scope.ts'
import { AppError, notFound } from '../shared/errors.ts'
import {
  invalidVoucherError,
  type Redemption,
  type RedemptionRow,
  redemptions,
  toRedemption,
} from './redemption.ts'
import { type InvalidReason, invalidReason } from './voucher.ts'

// A hold ends at `expires_at`, by the database's clock. Its row is marked later: by a timer, or by a request that
// needs the use. Who marks or confirms a hold has locked its voucher, so that `uses_held` stays exact.

/** The longest hold. A payment page of Stripe is open for 30 minutes or more, and its webhook may be late. */
export const MAX_HOLD_SECONDS = 3_600

/** SQL that marks the ended holds of the voucher with the id `voucher`. It returns the voucher if there were any. */
const endHoldsOf = (voucher: string) => `
  with ended as (
    update redemptions r set is_held = false, released_at = r.expires_at
    where r.conference_id = :conferenceId and r.voucher_id = ${voucher}
      and r.is_held and r.expires_at <= statement_timestamp()
    returning r.voucher_id)
  update vouchers v set uses_held = v.uses_held - ended.holds
  from (select voucher_id, cast(count(*) as integer) as holds from ended group by voucher_id) as ended
  where v.conference_id = :conferenceId and v.id = ended.voucher_id
  returning v.id`

/** Marks the ended holds of a locked voucher: their uses are available again. @returns whether there were any. */
export async function endHolds(trx: Tx, conferenceId: string, voucherId: number): Promise<boolean> {
  const { rows } = await trx.raw<{ rows: unknown[] }>(endHoldsOf(':voucherId'), {
    conferenceId,
    voucherId,
  })
  return rows.length > 0
}

const VOUCHER_OF_HOLD = `(
  select voucher_id from redemptions where conference_id = :conferenceId and id = :id)`

// As a redemption does, so that a publication of the batch comes before or after the whole confirmation.
const LOCK_VOUCHER = `
  select v.id from vouchers v
  join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id
  where v.conference_id = :conferenceId and v.id = ${VOUCHER_OF_HOLD}
  for no key update of v for key share of b`

// A hold that has not ended has its use already, and the dates were checked when it began: it is refused only if the
// voucher was deactivated, frozen or published since then.
// One that has ended competes with everyone, like a new redemption.
const CONFIRM = `
  with target as materialized (
    select r.id, r.voucher_id, r.reference, r.is_held, ${invalidReason('v.uses_held')} as invalid_reason,
      r.expires_at is not null and r.confirmed_at is null and r.released_by is null and not r.is_held
        as has_ended
    from redemptions r
    join vouchers v on v.conference_id = r.conference_id and v.id = r.voucher_id
    join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id
    where r.conference_id = :conferenceId and r.id = :id),
  confirmed as (
    update redemptions r
    set is_held = false, confirmed_at = statement_timestamp(), released_at = null
    from target
    where r.conference_id = :conferenceId and r.id = target.id and case
      when target.is_held
        then coalesce(target.invalid_reason, '') not in ('deactivated', 'frozen', 'published')
      else target.has_ended and target.invalid_reason is null and not exists (
        select from redemptions other
        where other.conference_id = :conferenceId and other.voucher_id = target.voucher_id
          and other.reference = target.reference and other.released_at is null) end
    returning r.voucher_id, target.is_held as was_held),
  used as (
    update vouchers v
    set times_used = v.times_used + 1, uses_held = v.uses_held - cast(confirmed.was_held as integer)
    from confirmed where v.conference_id = :conferenceId and v.id = confirmed.voucher_id)
  select invalid_reason from target`

/**
 * Makes a hold a redemption. A repeat is a no-op. A hold that has ended is confirmed too if a use is still free,
 * because the buyer has paid; but not if the same order took another use meanwhile.
 *
 * @throws AppError `not_found`; `voucher_invalid` with `invalid_reason` or `published` if the voucher was
 * deactivated, frozen or published meanwhile; `hold_expired`; `wrong_state` if the use was given back.
 */
export async function confirmRedemption(
  trx: Tx,
  conferenceId: string,
  id: string,
): Promise<Redemption> {
  const ref = { conferenceId, id }
  // In one round trip. Each statement sees what was committed before its predecessor got its lock.
  const [, , [decided], [row]] = await runInOrder<
    [unknown[], unknown[], { invalid_reason: InvalidReason | null }[], RedemptionRow[]]
  >(trx, [
    trx.raw(LOCK_VOUCHER, ref),
    trx.raw(endHoldsOf(VOUCHER_OF_HOLD), ref),
    trx.raw(CONFIRM, ref),
    redemptions(trx, conferenceId).where('r.id', id),
  ])
  if (row === undefined || decided === undefined) throw notFound('redemption')
  if (row.status === 'redeemed') return toRedemption(row)
  if (row.status === 'released') {
    throw new AppError('wrong_state', 'The use was given back. Redeem the voucher again.', {
      extra: { status_now: row.status },
    })
  }
  const { invalid_reason: reason } = decided
  if (reason === null || reason === 'used_up') throw holdExpiredError(row.expires_at)
  throw invalidVoucherError(reason)
}

const holdExpiredError = (expiresAt: Date | null) =>
  new AppError('hold_expired', 'The hold has ended, and no use is free for it.', {
    extra: { expires_at: expiresAt?.toISOString() ?? null },
  })

const MAX_ENDED = 5_000

const END_DUE_HOLDS = `
  with due as materialized (
    select distinct conference_id, voucher_id from (
      select conference_id, voucher_id from redemptions
      where is_held and expires_at <= statement_timestamp()
      order by expires_at limit :max) as oldest),
  locked as materialized (
    select v.conference_id, v.id from vouchers v
    join due on due.conference_id = v.conference_id and due.voucher_id = v.id
    for no key update of v skip locked),
  ended as (
    update redemptions r set is_held = false, released_at = r.expires_at
    from locked
    where r.conference_id = locked.conference_id and r.voucher_id = locked.id
      and r.is_held and r.expires_at <= statement_timestamp()
    returning r.conference_id, r.voucher_id)
  update vouchers v set uses_held = v.uses_held - ended.holds
  from (
    select conference_id, voucher_id, cast(count(*) as integer) as holds
    from ended group by conference_id, voucher_id) as ended
  where v.conference_id = ended.conference_id and v.id = ended.voucher_id`

/**
 * Marks ended holds of all conferences, so that few rows are looked at when a voucher with holds is read. It
 * skips locked vouchers, so it waits for no one.
 */
export function endDueHolds(db: Db): Promise<void> {
  return withSystem(db, 'end-holds', async (trx) => {
    await trx.raw(END_DUE_HOLDS, { max: MAX_ENDED })
  })
}

/** Whether any conference has ended holds that are not marked. */
export async function hasDueHolds(trx: Tx): Promise<boolean> {
  const held = await trx('redemptions')
    .where({ is_held: true })
    .whereRaw('expires_at <= statement_timestamp()')
    .first<{ id: string } | undefined>('id')
  return held !== undefined
}

// The description of confirmRedemption promises this.
const KEPT_DAYS = 30

/** Deletes holds that ended more than 30 days ago without a confirmation. @returns their number. */
export function deleteOldHolds(db: Db): Promise<number> {
  // Not by ctid as in deleteInBatches: a hold that is confirmed meanwhile must stay.
  return withSystem(db, 'prune', async (trx) =>
    trx('redemptions')
      .where({ is_held: false, confirmed_at: null })
      .whereRaw(`expires_at < now() - interval '${KEPT_DAYS} days'`)
      .delete(),
  )
}
