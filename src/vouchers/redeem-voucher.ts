import type { Db, Tx } from '../db/connect.ts'
import { fetchPage, mapPage, type Page, type PageQuery } from '../db/pages.ts'
import { isDatabaseUnavailable } from '../db/pg-errors.ts'
import { runInOrder } from '../db/pipeline.ts'
import { tenantStatement, withTenant } from '../db/tenant-scope.ts'
import type { Actor } from '../shared/caller.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { inGroups } from '../shared/in-groups.ts'
import { LOCKED_COLUMNS, type LockedRow, realignBatch, toLockedBatch } from './align-vouchers.ts'
import { codeKey, INVALID_REASON, type InvalidReason } from './voucher.ts'

export type RedeemRequest = { code: string; reference: string; actor: Actor }

/**
 * Redeems for several requests in one statement, since the ticket shops wait for it at the door.
 *
 * `target` locks the vouchers and, against a publication, their batches; Postgres reads rows again that were
 * changed while it waited. The other tables are read as they were before. So a parallel call that made
 * a redemption may be invisible: then the unique index refuses this one, or the voucher is used up,
 * and no redemption comes back.
 *
 * Requests for the same voucher take its uses in their order. `limit 1` keeps the look-up of known redemptions
 * by voucher in every plan, also in one that was made for an empty table.
 *
 * @param locked - what to do about rows that another transaction has locked.
 */
const redeemOf = (locked: 'wait' | 'skip locked') => `
  with given as materialized (
    select * from unnest(cast(:keys as text[]), cast(:references as text[]), cast(:ids as text[]),
      cast(:actors as text[])) with ordinality as given (code_key, reference, id, actor, place)),
  target as materialized (
    select v.id, v.code, v.code_key, v.batch_id, b.purchase_id, v.max_uses - v.times_used as uses_left,
      ${INVALID_REASON} as invalid_reason
    from vouchers v
    join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id
    where v.conference_id = :conferenceId and v.code_key = any(cast(:keys as text[]))
    for no key update of v ${locked === 'wait' ? '' : locked}
    for key share of b ${locked === 'wait' ? '' : locked}),
  wanted as materialized (
    select given.id, given.reference, given.actor, given.place, target.id as voucher_id, target.code,
      target.batch_id, target.purchase_id, target.uses_left, target.invalid_reason,
      known.id as known_id, known.redeemed_by, known.created_at
    from given
    join target on target.code_key = given.code_key
    left join lateral (
      select r.id, r.redeemed_by, r.created_at from redemptions r
      where r.conference_id = :conferenceId and r.voucher_id = target.id
        and r.reference = given.reference and r.released_at is null
      limit 1) as known on true),
  made as (
    insert into redemptions (conference_id, id, voucher_id, reference, redeemed_by, created_at)
    select :conferenceId, id, voucher_id, reference, actor, statement_timestamp()
    from (
      select *, row_number() over (partition by voucher_id order by place) as use
      from wanted where known_id is null and invalid_reason is null) as possible
    where use <= uses_left
    on conflict (conference_id, voucher_id, reference) where released_at is null do nothing
    returning id, voucher_id, redeemed_by, created_at),
  used as (
    update vouchers v set times_used = v.times_used + made.uses
    from (select voucher_id, cast(count(*) as integer) as uses from made group by voucher_id) as made
    where v.conference_id = :conferenceId and v.id = made.voucher_id)
  select wanted.place, coalesce(made.id, wanted.known_id) as id, made.id is not null as created,
    wanted.code, wanted.batch_id, wanted.purchase_id, wanted.invalid_reason, wanted.reference,
    coalesce(made.redeemed_by, wanted.redeemed_by) as redeemed_by,
    coalesce(made.created_at, wanted.created_at) as created_at,
    cast(null as timestamptz) as released_at, cast(null as text) as released_by
  from wanted left join made on made.id = wanted.id`

type RedeemRow = Omit<RedemptionRow, 'id'> & {
  /** Of its request, from 1. */
  place: number
  /** Null: none was made or known. */
  id: string | null
  created: boolean
  invalid_reason: InvalidReason | null
}

type Redeemed = { redemption: Redemption; created: boolean }

const redeemBindings = (conferenceId: string, requests: readonly RedeemRequest[]) => ({
  conferenceId,
  keys: requests.map(({ code }) => codeKey(code)),
  references: requests.map(({ reference }) => reference),
  ids: requests.map(() => newId('redemption')),
  actors: requests.map(({ actor }) => actor.id),
})

const toRedeemed = ({ id, ...row }: RedeemRow): Redeemed | null =>
  id === null ? null : { redemption: toRedemption({ ...row, id }), created: row.created }

/**
 * Redeems a voucher: takes one use of it for `reference`, if no reason of `INVALID_REASON` (voucher.ts)
 * forbids it. Who may redeem is declared in redemption-routes.ts. The same reference again returns the
 * same redemption and takes no use, even if the voucher was deactivated since; after a release, it takes
 * a new one. It locks only one voucher, so it cannot deadlock with another redemption or with a change
 * of state.
 *
 * @returns `created`: whether this call took a use.
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
  // A separate statement, under the lock of the first: it sees what parallel calls committed.
  const known = await redemptions(trx, conferenceId)
    .where({ 'v.code_key': codeKey(request.code), 'r.reference': request.reference })
    .whereNull('r.released_at')
    .first<RedemptionRow | undefined>()
  if (known !== undefined) return { redemption: toRedemption(known), created: false }
  throw invalidVoucherError(row.invalid_reason)
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
  const bindings: Record<string, string | string[]> = redeemBindings(conferenceId, requests)
  const rows = await tenantStatement<RedeemRow>(db, { conferenceId }, (bind) =>
    REDEEM_TOGETHER.replaceAll(/:(\w+)/g, (_, name: string) => bind(bindings[name] ?? null)),
  )
  const redeemed = new Map(rows.map((row) => [row.place, toRedeemed(row)]))
  return requests.map((_, index) => redeemed.get(index + 1) ?? null)
}

const REDEEM_TOGETHER = redeemOf('skip locked')

function invalidVoucherError(reason: InvalidReason | null): AppError {
  if (reason === null) throw new Error('A valid voucher was not redeemed')
  const extra = { invalid_reason: reason }
  return reason === 'published'
    ? new AppError(
        'published',
        'The voucher is published as a Stripe promotion code. Use it in a Stripe checkout.',
        { extra },
      )
    : new AppError('voucher_invalid', `The voucher is ${reason.replaceAll('_', ' ')}.`, { extra })
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
  const ref = { conferenceId, id, actor: actor.id }
  // In one round trip. Lock the batch first, as a change of state does, then the voucher, as a redemption
  // does. Each statement sees what was committed before its predecessor got its lock.
  const [batches, , released, rows] = await runInOrder<
    [LockedRow[], unknown[], unknown[], RedemptionRow[]]
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
         update redemptions r set released_at = statement_timestamp(), released_by = :actor
         where r.conference_id = :conferenceId and r.id = :id and r.released_at is null
         returning r.voucher_id)
       update vouchers v set times_used = v.times_used - 1
       from released where v.conference_id = :conferenceId and v.id = released.voucher_id
       returning v.id`,
      ref,
    ),
    redemptions(trx, conferenceId).where('r.id', id),
  ])
  const [batch] = batches
  const [row] = rows
  if (batch === undefined || row === undefined) throw notFound('redemption')
  if (released.length > 0) await realignBatch(trx, toLockedBatch(conferenceId, batch))
  return toRedemption(row)
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
