import type { Db, Tx } from '../db/connect.ts'
import { fetchPage, mapPage, type Page, type PageQuery } from '../db/pages.ts'
import { tenantStatement, withTenant } from '../db/tenant-scope.ts'
import type { Actor } from '../shared/caller.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { lockBatch, realignBatch } from './align-vouchers.ts'
import { codeKey, INVALID_REASON, type InvalidReason } from './voucher.ts'

export type RedeemRequest = { code: string; reference: string; actor: Actor }

/**
 * One statement, since the ticket shop waits for it at the door.
 *
 * `target` locks the voucher and, against a publication, its batch; Postgres reads rows again that were
 * changed while it waited. The other tables are read as they were before. So a parallel call that made
 * the redemption may be invisible: then the unique index refuses this one, or the voucher is used up,
 * and no redemption comes back.
 */
const REDEEM = `
  with target as materialized (
    select v.id, v.code, v.batch_id, b.purchase_id, ${INVALID_REASON} as invalid_reason
    from vouchers v
    join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id
    where v.conference_id = :conferenceId and v.code_key = :key
    for no key update of v for key share of b),
  known as (
    select r.* from target cross join lateral (
      select r.id, r.redeemed_by, r.created_at from redemptions r
      where r.conference_id = :conferenceId and r.voucher_id = target.id
        and r.reference = :reference and r.released_at is null
      limit 1) r),
  made as (
    insert into redemptions (conference_id, id, voucher_id, reference, redeemed_by, created_at)
    select :conferenceId, :id, target.id, :reference, :actor, statement_timestamp()
    from target where target.invalid_reason is null and not exists (select from known)
    on conflict (conference_id, voucher_id, reference) where released_at is null do nothing
    returning id, voucher_id, redeemed_by, created_at),
  used as (
    update vouchers v set times_used = v.times_used + 1
    from made where v.conference_id = :conferenceId and v.id = made.voucher_id)
  select coalesce(made.id, known.id) as id, made.id is not null as created,
    target.code, target.batch_id, target.purchase_id, target.invalid_reason,
    cast(:reference as text) as reference,
    coalesce(made.redeemed_by, known.redeemed_by) as redeemed_by,
    coalesce(made.created_at, known.created_at) as created_at,
    cast(null as timestamptz) as released_at, cast(null as text) as released_by
  from target left join known on true left join made on true`

type RedeemRow = Omit<RedemptionRow, 'id'> & {
  /** Null: none was made or known. */
  id: string | null
  created: boolean
  invalid_reason: InvalidReason | null
}

type Redeemed = { redemption: Redemption; created: boolean }

const redeemBindings = (conferenceId: string, { code, reference, actor }: RedeemRequest) => ({
  conferenceId,
  key: codeKey(code),
  reference,
  id: newId('redemption'),
  actor: actor.id,
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
    REDEEM,
    redeemBindings(conferenceId, request),
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

/**
 * `redeemVoucher` in a transaction of its own, and in one round trip if it succeeds.
 *
 * @throws the errors of `redeemVoucher`.
 */
export async function redeemVoucherAtOnce(
  db: Db,
  conferenceId: string,
  request: RedeemRequest,
): Promise<Redeemed> {
  const bindings: Record<string, string> = redeemBindings(conferenceId, request)
  const [row] = await tenantStatement<RedeemRow>(db, { conferenceId }, (bind) =>
    REDEEM.replaceAll(/:(\w+)/g, (_, name: string) => bind(bindings[name] ?? null)),
  )
  const redeemed = row === undefined ? null : toRedeemed(row)
  return (
    redeemed ?? withTenant(db, { conferenceId }, (trx) => redeemVoucher(trx, conferenceId, request))
  )
}

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
  const { code, batchId } = await getRedemption(trx, conferenceId, id)
  // Lock the batch first, as a change of state does, then the voucher, as a redemption does.
  const batch = await lockBatch(trx, conferenceId, { id: batchId })
  await trx('vouchers')
    .where({ conference_id: conferenceId, code_key: codeKey(code) })
    .forNoKeyUpdate()
    .select('id')
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
