import type { Tx } from '../db/connect.ts'
import { addJob } from '../jobs/job-queue.ts'
import { publishEvent } from '../notifications/outbound-events.ts'

/**
 * What refunds and disputes require of a purchase's vouchers. It follows from money, not from events: `targetOf` in
 * purchases/purchase-aggregate.ts.
 */
export type VoucherTarget = {
  /**
   * How many vouchers in all must be inactive, by a refund or by staff. Redeemed ones stay active, unless
   * this is the count of the batch.
   */
  inactive: number
  /**
   * How many in all must be inactive, or frozen because refunds are pending; at least `inactive`. If this
   * is the count of the batch, redeemed ones with uses left are frozen too.
   */
  frozen: number
  /** Whether a dispute is open: then every active voucher with uses left is frozen. */
  disputed: boolean
  /** Ids of the vouchers that complete refunds named: they are inactive before others. */
  namedInactive: readonly number[]
  /** Those that other refunds named: they are frozen before others, and inactive only after them. */
  namedFrozen: readonly number[]
}

/** Nothing was refunded or disputed. */
export const NO_TARGET: VoucherTarget = {
  inactive: 0,
  frozen: 0,
  disputed: false,
  namedInactive: [],
  namedFrozen: [],
}

/** Whether two targets require the same. */
export function isSameTarget(a: VoucherTarget, b: VoucherTarget): boolean {
  return (
    a.inactive === b.inactive &&
    a.frozen === b.frozen &&
    a.disputed === b.disputed &&
    isSameList(a.namedInactive, b.namedInactive) &&
    isSameList(a.namedFrozen, b.namedFrozen)
  )
}

const isSameList = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((id, i) => id === b[i])

// `held_by_refund` and `held_by_dispute` of a voucher mean frozen; a use that a buyer holds is in redemption-holds.ts.
// Everything here runs under the batch's row lock, so changes of state run one after the other.
// Redemptions do not take that lock. They lock one voucher each, or several without waiting for any, so they
// cannot deadlock with the alignment, and `for no key update` re-reads a voucher that was redeemed while the statement waited.

/**
 * Aligns the vouchers of a purchase to what its refunds and disputes require now, and stores that target
 * on the batch, so that staff's changes, releases of redemptions and later issuing keep to it. The same
 * target again is a no-op. Call it under the purchase's lock and after issuing: without a batch there is
 * nothing to align, and nothing is stored.
 *
 * Vouchers that staff deactivated count: if they deactivated 2 and `inactive` is 5, three more become inactive, as far as
 * there are unredeemed ones. More only if refunds named vouchers that staff did not deactivate. A smaller target
 * activates again what a refund deactivated, never what staff deactivated.
 *
 * @returns `missing`: how many of `inactive` could not be deactivated, since all others are redeemed; 0
 * if nothing was issued yet.
 */
export async function alignVouchers(
  trx: Tx,
  { conferenceId, purchaseId }: { conferenceId: string; purchaseId: string },
  target: VoucherTarget,
): Promise<{ missing: number }> {
  const batch = await lockBatch(trx, conferenceId, { purchase_id: purchaseId })
  if (batch === null) return { missing: 0 }
  if (isSameTarget(batch.target, target) && batch.missing !== null)
    return { missing: batch.missing }
  return alignLockedBatch(trx, { ...batch, target })
}

/**
 * Aligns the vouchers of a locked batch to its target after something else changed: staff changed a
 * voucher's state, a use was given back, or vouchers were added.
 */
export async function realignBatch(trx: Tx, batch: LockedBatch): Promise<void> {
  const { inactive, frozen, disputed } = batch.target
  const requiresNothing = inactive === 0 && frozen === 0 && !disputed
  if (requiresNothing && batch.missing === 0) return
  await alignLockedBatch(trx, batch)
}

// Whether refunds and disputes freeze voucher `v`.
const HELD_BY_REFUND = `(not wanted.inactive
  and (wanted.is_ranked or :allFrozen and v.times_used < v.max_uses))`
const HELD_BY_DISPUTE = `(not wanted.inactive and :disputed and v.times_used < v.max_uses)`

/**
 * `ranked` are the vouchers that the target takes, in this order:
 *
 * 1. those that a complete refund named;
 * 2. those that a refund deactivated already, then those that a pending refund froze: no voucher changes without need;
 * 3. those without a hold: a buyer who is checking out keeps the use;
 * 4. the newest: the oldest are the first to be released.
 *
 * Those that a pending refund named are frozen before others, but become inactive only after them. Vouchers that staff
 * deactivated count for the target, but they do not save one that a refund named.
 *
 * A rank decides about unredeemed vouchers only. If the target is the whole batch, all vouchers are
 * taken, and no rank is needed. An update must lock the ranked vouchers, then read each voucher again: so its
 * conditions on `times_used` see a redemption that was committed while it waited.
 */
const wantedOf = (lock: 'for no key update' | '') => `
  staffs as (
    select count(*) as n from vouchers v
    where v.conference_id = :conferenceId and v.batch_id = :batchId and v.deactivated_by = 'staff'),
  named as (
    select count(*) filter (where v.id = any(cast(:namedInactive as bigint[]))) as inactive,
      count(*) filter (where v.id = any(cast(:namedFrozen as bigint[]))) as frozen
    from vouchers v
    where v.conference_id = :conferenceId and v.batch_id = :batchId
      and v.id = any(cast(:namedInactive as bigint[]) || cast(:namedFrozen as bigint[]))
      and v.deactivated_by is distinct from 'staff' and v.times_used = 0),
  off as (
    select greatest(:inactive - s.n, least(:inactive, named.inactive), 0) as inactive
    from staffs s, named),
  counts as (
    select off.inactive, case when :allInactive then 0 when :allFrozen then off.inactive
      else greatest(:frozen - s.n, off.inactive + least(cast(:frozen as bigint) - :inactive, named.frozen)) end as ranked
    from staffs s, named, off),
  chosen as (
    select v.id, v.ordinal, v.deactivated_by is not null as is_inactive, v.held_by_refund,
      v.uses_held > 0 as is_held, v.id = any(cast(:namedInactive as bigint[])) as is_named,
      v.id = any(cast(:namedFrozen as bigint[])) as is_named_frozen
    from vouchers v
    where v.conference_id = :conferenceId and v.batch_id = :batchId
      and v.deactivated_by is distinct from 'staff' and v.times_used = 0
    -- If all are frozen anyway, only those that become inactive are chosen.
    order by v.id = any(cast(:namedInactive as bigint[])) desc,
      (v.id = any(cast(:namedFrozen as bigint[]))) <> :allFrozen desc, v.deactivated_by is not null desc,
      v.held_by_refund desc, v.uses_held > 0, v.ordinal desc
    limit (select ranked + case when :allFrozen then 0 else named.frozen end from counts, named)
    ${lock}),
  decided as (
    select chosen.*, row_number() over (order by is_named desc, is_inactive desc, is_named_frozen,
      held_by_refund desc, is_held, ordinal desc) <= (select inactive from counts) as is_off
    from chosen),
  ranked as (
    select id, rank from (
      select id, row_number() over (order by is_off desc, is_named_frozen desc, is_inactive desc,
        held_by_refund desc, is_held, ordinal desc) as rank
      from decided) as all_chosen
    where rank <= (select ranked from counts)),
  wanted as (
    -- Grouped and not joined: Postgres knows too little about the ranks to avoid a nested loop.
    select id, bool_or(was_inactive) as was_inactive, min(rank) is not null as is_ranked,
      :allInactive or coalesce(min(rank) <= (select inactive from counts), false) as inactive
    from (
      select v.id, v.deactivated_by is not null as was_inactive, cast(null as bigint) as rank
      from vouchers v
      where v.conference_id = :conferenceId and v.batch_id = :batchId
        and v.deactivated_by is distinct from 'staff'
      union all
      select id, cast(null as boolean), rank from ranked) as vouchers_and_ranks
    group by id),
  missing as (
    select case when :allInactive then 0 else greatest(0, :inactive - (select n from staffs)
      - (select count(*) from ranked where rank <= (select inactive from counts))) end as n)`

const ALIGN = `
  with ${wantedOf('for no key update')},
  changed as (
    update vouchers v
    set deactivated_by = case when wanted.inactive then 'refund' end,
      deactivated_at = case when wanted.inactive then coalesce(v.deactivated_at, now()) end,
      held_by_refund = ${HELD_BY_REFUND},
      held_by_dispute = ${HELD_BY_DISPUTE}
    from wanted
    where v.conference_id = :conferenceId and v.id = wanted.id
      and (v.deactivated_by is not null, v.held_by_refund, v.held_by_dispute)
        is distinct from (wanted.inactive, ${HELD_BY_REFUND}, ${HELD_BY_DISPUTE})
    returning wanted.was_inactive, wanted.inactive),
  aligned as (
    update voucher_batches b
    set required_inactive = :inactive, required_frozen = :frozen, disputed = :disputed,
      named_inactive = cast(:namedInactive as bigint[]), named_frozen = cast(:namedFrozen as bigint[]),
      missing_inactive = (select n from missing)
    where b.conference_id = :conferenceId and b.id = :batchId
    returning missing_inactive)
  select aligned.missing_inactive as missing,
    (select count(*) from changed) as changed,
    (select count(*) from changed where inactive and not was_inactive) as deactivated,
    (select count(*) from changed where was_inactive and not inactive) as activated
  from aligned`

const PREVIEW = `
  with ${wantedOf('')}
  select (select n from missing) as missing, (
      select count(*) from wanted where inactive and not was_inactive) as count,
    array(select v.code from vouchers v join wanted on wanted.id = v.id
      where v.conference_id = :conferenceId and wanted.inactive and not wanted.was_inactive
      order by v.ordinal desc limit :max) as codes`

/** The vouchers that a target would deactivate: their number and, up to `max`, their codes. */
export type AlignmentPreview = { missing: number; count: number; codes: string[] }

/** What `alignVouchers` would deactivate now. Writes and locks nothing. */
export async function previewAlignment(
  trx: Tx,
  { conferenceId, purchaseId }: { conferenceId: string; purchaseId: string },
  target: VoucherTarget,
  max: number,
): Promise<AlignmentPreview> {
  const batch = await trx('voucher_batches')
    .where({ conference_id: conferenceId, purchase_id: purchaseId })
    .first<LockedRow | undefined>([...LOCKED_COLUMNS])
  if (batch === undefined) return { missing: 0, count: 0, codes: [] }
  const bindings = targetBindings({ ...toLockedBatch(conferenceId, batch), target })
  const { rows } = await trx.raw<{ rows: AlignmentPreview[] }>(PREVIEW, { ...bindings, max })
  if (rows[0] === undefined) throw new Error('The preview returned no row')
  return rows[0]
}

function targetBindings({ conferenceId, id: batchId, count, target }: LockedBatch) {
  return {
    conferenceId,
    batchId,
    ...target,
    namedInactive: [...target.namedInactive],
    namedFrozen: [...target.namedFrozen],
    allInactive: target.inactive >= count,
    allFrozen: target.frozen >= count,
  }
}

type Alignment = { missing: number; changed: number; deactivated: number; activated: number }

async function alignLockedBatch(trx: Tx, batch: LockedBatch): Promise<{ missing: number }> {
  const { rows } = await trx.raw<{ rows: Alignment[] }>(ALIGN, targetBindings(batch))
  const [done] = rows
  if (done === undefined) throw new Error(`Batch ${batch.id} is locked but was not found`)
  await publishVoucherStateChange(trx, 'vouchers.deactivated', batch, done.deactivated, 'refund')
  await publishVoucherStateChange(trx, 'vouchers.activated', batch, done.activated, 'refund')
  if (done.changed > 0) await enqueuePromotionCodeSync(trx, batch)
  return { missing: done.missing }
}

/** Publishes how many vouchers of a batch were deactivated or activated, and by what. 0: nothing. */
export async function publishVoucherStateChange(
  trx: Tx,
  type: 'vouchers.deactivated' | 'vouchers.activated',
  { conferenceId, id, purchaseId }: LockedBatch,
  count: number,
  by: 'refund' | 'staff',
): Promise<void> {
  if (count === 0) return
  await publishEvent(trx, {
    conferenceId,
    type,
    data: { batch: id, purchase: purchaseId, count, by },
  })
}

/**
 * Call it in every transaction that changes the state of a batch's vouchers. If the batch is published,
 * it adds a job that gives the promotion codes at Stripe the same state.
 */
export async function enqueuePromotionCodeSync(
  trx: Tx,
  { conferenceId, id, isPublished }: LockedBatch,
): Promise<void> {
  if (!isPublished) return
  await addJob(trx, 'align_promotion_codes', { conference_id: conferenceId, batch_id: id })
}

/** A batch whose row this transaction has locked. */
export type LockedBatch = {
  conferenceId: string
  id: string
  purchaseId: string | null
  count: number
  isPublished: boolean
  /** The target to which the vouchers were aligned last. */
  target: VoucherTarget
  /** How many of `target.inactive` are missing. Null: the vouchers were not aligned to the target yet. */
  missing: number | null
}

export type LockedRow = {
  id: string
  purchase_id: string | null
  count: number
  published_at: Date | null
  required_inactive: number
  required_frozen: number
  disputed: boolean
  missing_inactive: number | null
  named_inactive: number[]
  named_frozen: number[]
}

export const LOCKED_COLUMNS = [
  'id',
  'purchase_id',
  'count',
  'published_at',
  'required_inactive',
  'required_frozen',
  'disputed',
  'missing_inactive',
  'named_inactive',
  'named_frozen',
] as const satisfies readonly (keyof LockedRow)[]

export function toLockedBatch(conferenceId: string, row: LockedRow): LockedBatch {
  return {
    conferenceId,
    id: row.id,
    purchaseId: row.purchase_id,
    count: row.count,
    isPublished: row.published_at !== null,
    target: {
      inactive: row.required_inactive,
      frozen: row.required_frozen,
      disputed: row.disputed,
      namedInactive: row.named_inactive,
      namedFrozen: row.named_frozen,
    },
    missing: row.missing_inactive,
  }
}

/**
 * Locks a batch, by its id or by its purchase, until the transaction ends. Null: there is none, or
 * nothing was issued for the purchase.
 */
export async function lockBatch(
  trx: Tx,
  conferenceId: string,
  which: { id: string } | { purchase_id: string },
): Promise<LockedBatch | null> {
  const row = await trx('voucher_batches')
    .where({ conference_id: conferenceId, ...which })
    .forNoKeyUpdate()
    .first<LockedRow | undefined>([...LOCKED_COLUMNS])
  return row === undefined ? null : toLockedBatch(conferenceId, row)
}

/**
 * SQL for what was last required of a purchase's vouchers: a `VoucherTarget`, and whether the vouchers
 * were aligned to it. Null if none were issued.
 *
 * @param purchase - alias of a row with conference_id and id.
 */
export const voucherTargetOf = (purchase: string) => `(
  select json_build_object('inactive', b.required_inactive, 'frozen', b.required_frozen,
    'disputed', b.disputed, 'missing', b.missing_inactive,
    'namedInactive', b.named_inactive, 'namedFrozen', b.named_frozen)
  from voucher_batches b
  where b.conference_id = ${purchase}.conference_id and b.purchase_id = ${purchase}.id)`
