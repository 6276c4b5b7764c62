import type { Db, Tx } from '../db/connect.ts'
import { isDatabaseUnavailable } from '../db/pg-errors.ts'
import { runInOrder } from '../db/pipeline.ts'
import { tenantStatement, withTenant } from '../db/tenant-scope.ts'
import type { Actor } from '../shared/caller.ts'
import { notFound } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { inGroups } from '../shared/in-groups.ts'
import { LOCKED_COLUMNS, type LockedRow, realignBatch, toLockedBatch } from './freeze-vouchers.ts'
import {
  invalidVoucherError,
  type Redemption,
  type RedemptionRow,
  redemptions,
  toRedemption,
} from './redemption.ts'
import { confirmRedemption, endHolds } from './redemption-holds.ts'
import { codeKey, type InvalidReason, invalidReason } from './voucher.ts'

// When a code is refused: voucher.ts (`invalidReason`). Who may redeem: redemption-routes.ts. How a hold is confirmed:
// redemption-holds.ts.

export type RedeemRequest = {
  code: string
  reference: string
  actor: Actor
  /** Holds the use for so long. Absent: takes it. */
  holdSeconds?: number | undefined
}

/**
 * Redeems for several requests in one statement, since the ticket shops wait for it at the door.
 *
 * `target` locks the vouchers and, against a publication, their batches; Postgres reads rows again that were
 * changed while it waited. The other tables are read as they were before the wait. So of two calls at once, the second
 * waits for the lock but does not see the redemption of the first: then the unique index refuses its own, or the voucher
 * is used up, and no redemption comes back. The caller looks again. For the same reason it does not look for holds that have ended: it counts
 * all of `uses_held`, and no redemption comes back for a use that may be free.
 *
 * `used` adds to the numbers of the locked row: Postgres checks the constraints of an update before it finds out that
 * its row was changed, and the row from before the wait may have had no use left.
 *
 * Requests for the same voucher take its uses in their order. `limit 1` keeps the look-up of known redemptions
 * by voucher in every plan, also in one that was made for an empty table. A known hold answers only a request
 * for a hold.
 *
 * @param locked - what to do about rows that another transaction has locked.
 */
const redeemOf = (locked: 'wait' | 'skip locked') => `
  with given as materialized (
    select * from unnest(cast(:keys as text[]), cast(:references as text[]), cast(:ids as text[]),
      cast(:actors as text[]), cast(:holds as integer[]))
      with ordinality as given (code_key, reference, id, actor, hold_seconds, place)),
  target as materialized (
    select v.id, v.code, v.code_key, v.batch_id, b.purchase_id, v.times_used, v.uses_held,
      v.max_uses - v.times_used - v.uses_held as uses_left,
      ${invalidReason('v.uses_held')} as invalid_reason
    from vouchers v
    join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id
    where v.conference_id = :conferenceId and v.code_key = any(cast(:keys as text[]))
    for no key update of v ${locked === 'wait' ? '' : locked}
    for key share of b ${locked === 'wait' ? '' : locked}),
  wanted as materialized (
    select given.id, given.reference, given.actor, given.place, target.id as voucher_id, target.code,
      target.batch_id, target.purchase_id, target.uses_left, target.invalid_reason, target.uses_held,
      statement_timestamp() + make_interval(secs => given.hold_seconds) as hold_until,
      known.id as known_id, known.redeemed_by, known.created_at, known.expires_at, known.confirmed_at,
      not known.is_held or given.hold_seconds is not null and known.expires_at > statement_timestamp()
        as is_known
    from given
    join target on target.code_key = given.code_key
    left join lateral (
      select r.id, r.redeemed_by, r.created_at, r.expires_at, r.confirmed_at, r.is_held
      from redemptions r
      where r.conference_id = :conferenceId and r.voucher_id = target.id
        and r.reference = given.reference and r.released_at is null
      limit 1) as known on true),
  made as (
    insert into redemptions
      (conference_id, id, voucher_id, reference, redeemed_by, created_at, expires_at, is_held)
    select :conferenceId, id, voucher_id, reference, actor, statement_timestamp(), hold_until,
      hold_until is not null
    from (
      select *, row_number() over (partition by voucher_id order by place) as use
      from wanted where known_id is null and invalid_reason is null) as possible
    where use <= uses_left
    on conflict (conference_id, voucher_id, reference) where released_at is null do nothing
    returning id, voucher_id, redeemed_by, created_at, expires_at, is_held),
  used as (
    update vouchers v
    set times_used = target.times_used + made.uses, uses_held = target.uses_held + made.holds
    from target
    join (
      select voucher_id, cast(count(*) filter (where not is_held) as integer) as uses,
        cast(count(*) filter (where is_held) as integer) as holds
      from made group by voucher_id) as made on made.voucher_id = target.id
    where v.conference_id = :conferenceId and v.id = target.id)
  select wanted.place, made.id is not null as created, wanted.voucher_id, wanted.uses_held,
    case when wanted.is_known then wanted.known_id else made.id end as id,
    case when made.is_held or wanted.expires_at is not null and wanted.confirmed_at is null
      then 'held' else 'redeemed' end as status,
    wanted.code, wanted.batch_id, wanted.purchase_id, wanted.invalid_reason, wanted.reference,
    coalesce(made.redeemed_by, wanted.redeemed_by) as redeemed_by,
    coalesce(made.created_at, wanted.created_at) as created_at,
    coalesce(made.expires_at, wanted.expires_at) as expires_at, wanted.confirmed_at,
    cast(null as timestamptz) as released_at, cast(null as text) as released_by
  from wanted left join made on made.id = wanted.id`

type RedeemRow = Omit<RedemptionRow, 'id'> & {
  /** Of its request, from 1. */
  place: number
  /** Null: none was made or known. */
  id: string | null
  created: boolean
  invalid_reason: InvalidReason | null
  voucher_id: number
  /** Uses of the voucher that are held, by holds that may have ended. */
  uses_held: number
}

type Redeemed = { redemption: Redemption; created: boolean }

const redeemBindings = (conferenceId: string, requests: readonly RedeemRequest[]) => ({
  conferenceId,
  keys: requests.map(({ code }) => codeKey(code)),
  references: requests.map(({ reference }) => reference),
  ids: requests.map(() => newId('redemption')),
  actors: requests.map(({ actor }) => actor.id),
  holds: requests.map(({ holdSeconds }) => holdSeconds ?? null),
})

const toRedeemed = ({ id, ...row }: RedeemRow): Redeemed | null =>
  id === null ? null : { redemption: toRedemption({ ...row, id }), created: row.created }

/**
 * Redeems a voucher: takes one use of it for `reference`, or holds it, if no reason of `invalidReason`
 * forbids it. The same reference again returns the same redemption and takes no use, even if the voucher was deactivated since; after a release, it takes
 * a new one. A hold is returned as it is until it ends, and not prolonged; a request without `holdSeconds`
 * confirms it. It locks only one voucher, so it cannot deadlock with another redemption or with a change
 * of state.
 *
 * @returns `created`: whether this call took a use, held it, or confirmed its hold.
 * @throws AppError `not_found`; `voucher_invalid` with `invalid_reason`; `published`.
 */
export async function redeemVoucher(
  trx: Tx,
  conferenceId: string,
  request: RedeemRequest,
): Promise<Redeemed> {
  const { rows } = await trx.raw<{ rows: RedeemRow[] }>(
    redeemOf('wait'),
    redeemBindings(conferenceId, [request]),
  )
  const [row] = rows
  if (row === undefined) throw notFound('voucher')
  const redeemed = toRedeemed(row)
  if (redeemed !== null) return redeemed
  // Separate statements, under the lock of the first: they see what parallel calls committed.
  const hasEnded = row.uses_held > 0 && (await endHolds(trx, conferenceId, row.voucher_id))
  const known = await redemptions(trx, conferenceId)
    .where({ 'r.voucher_id': row.voucher_id, 'r.reference': request.reference })
    .whereNull('r.released_at')
    .first<RedemptionRow | undefined>()
  if (known?.status === 'held' && request.holdSeconds === undefined) {
    return { redemption: await confirmRedemption(trx, conferenceId, known.id), created: true }
  }
  // An `expired` one ended after the statement before.
  if (known !== undefined && known.status !== 'expired') {
    return { redemption: toRedemption(known), created: false }
  }
  const { invalid_reason: reason } = row
  if (reason !== null && known === undefined && !hasEnded) throw invalidVoucherError(reason)
  // A hold or a redemption was in the way that has ended or was released since. It cannot be met again.
  return redeemVoucher(trx, conferenceId, request)
}

/** Maximum number of redemptions in one statement. */
const GROUP_REDEMPTIONS = 100

/** Redeems in a transaction of its own. @throws the errors of `redeemVoucher`. */
export type Redeemer = (conferenceId: string, request: RedeemRequest) => Promise<Redeemed>

/**
 * A `redeemVoucher` for many callers. Requests of a conference that arrive together share one statement and
 * one commit, so a hot code is locked once for all of them. Such a statement never waits for a lock: it skips
 * locked rows. So it cannot deadlock, and one locked voucher delays no other. A request whose voucher it
 * skipped or refused gets a transaction of its own.
 */
export function createRedeemer(db: Db): Redeemer {
  // Conferences are never deleted.
  const groups = new Map<string, (request: RedeemRequest) => Promise<Redeemed | null>>()

  function groupsOf(conferenceId: string) {
    const known = groups.get(conferenceId)
    if (known !== undefined) return known
    const made = inGroups<RedeemRequest, Redeemed | null>({
      run: (requests) => redeemTogether(db, conferenceId, requests),
      // A second group would skip the hot code that the first one has locked.
      inFlight: 1,
      sizeOf: ({ length }) => Math.min(length, GROUP_REDEMPTIONS),
      splits: (error) => !isDatabaseUnavailable(error),
    })
    groups.set(conferenceId, made)
    return made
  }

  return async (conferenceId, request) =>
    (await groupsOf(conferenceId)(request)) ??
    withTenant(db, { conferenceId }, (trx) => redeemVoucher(trx, conferenceId, request))
}

/** Null for each request that was not decided. */
async function redeemTogether(
  db: Db,
  conferenceId: string,
  requests: readonly RedeemRequest[],
): Promise<(Redeemed | null)[]> {
  const bindings: Record<string, string | (string | number | null)[]> = redeemBindings(
    conferenceId,
    requests,
  )
  const rows = await tenantStatement<RedeemRow>(db, { conferenceId }, (bind) =>
    REDEEM_TOGETHER.replaceAll(/:(\w+)/g, (_, name: string) => bind(bindings[name] ?? null)),
  )
  const redeemed = new Map(rows.map((row) => [row.place, toRedeemed(row)]))
  return requests.map((_, index) => redeemed.get(index + 1) ?? null)
}

const REDEEM_TOGETHER = redeemOf('skip locked')

/**
 * Releases a redemption or a hold: its use is available again. Releasing it twice is a no-op. If refunds or
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
  const ref = { conferenceId, id, actor: actor.id }
  // In one round trip. Lock the batch first, as a change of state does, then the voucher, as a redemption
  // does. Each statement sees what was committed before its predecessor got its lock.
  const [batches, , released, rows] = await runInOrder<
    [LockedRow[], unknown[], { was_held: boolean }[], RedemptionRow[]]
  >(trx, [
    trx.raw(
      `select ${LOCKED_COLUMNS.join(', ')} from voucher_batches
       where conference_id = :conferenceId and id = (
         select v.batch_id from redemptions r
         join vouchers v on v.conference_id = r.conference_id and v.id = r.voucher_id
         where r.conference_id = :conferenceId and r.id = :id)
       for no key update`,
      ref,
    ),
    trx.raw(
      `select id from vouchers where conference_id = :conferenceId and id = (
         select voucher_id from redemptions where conference_id = :conferenceId and id = :id)
       for no key update`,
      ref,
    ),
    trx.raw(
      `with released as (
         update redemptions r
         set is_held = false,
           released_at = least(statement_timestamp(), case when r.is_held then r.expires_at end),
           released_by = case when r.is_held and r.expires_at <= statement_timestamp() then null
             else :actor end
         where r.conference_id = :conferenceId and r.id = :id and r.released_at is null
         returning r.voucher_id, r.expires_at is not null and r.confirmed_at is null as was_held)
       update vouchers v
       set times_used = v.times_used - cast(not released.was_held as integer),
         uses_held = v.uses_held - cast(released.was_held as integer)
       from released where v.conference_id = :conferenceId and v.id = released.voucher_id
       returning released.was_held`,
      ref,
    ),
    redemptions(trx, conferenceId).where('r.id', id),
  ])
  const [batch] = batches
  const [row] = rows
  if (batch === undefined || row === undefined) throw notFound('redemption')
  if (released[0]?.was_held === false) await realignBatch(trx, toLockedBatch(conferenceId, batch))
  return toRedemption(row)
}
