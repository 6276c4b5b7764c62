import type { Tx } from '../db/connect.ts'
import type { Actor } from '../shared/actor.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import type { Redemption } from './redemption.ts'
import { getRedemption } from './redemption-store.ts'
import { codeKey } from './voucher-code.ts'
import { getVoucher } from './voucher-store.ts'
import { INVALID_REASON } from './voucher-validity.ts'

export type RedeemRequest = { code: string; reference: string; actor: Actor }

// A redemption locks the voucher and nothing else before or after it, so it can neither deadlock
// with another nor with a change of state.
async function lockVoucher(trx: Tx, conferenceId: string, code: string): Promise<number> {
  const row = await trx('vouchers')
    .where({ conference_id: conferenceId, code_key: codeKey(code) })
    .forNoKeyUpdate()
    .first<{ id: number } | undefined>('id')
  if (row === undefined) throw notFound('voucher')
  return row.id
}

/**
 * Takes one use of a code for `reference`. The same reference again gets the same redemption and
 * takes nothing; after its release it may redeem again.
 *
 * @returns `created`: whether this call took the use.
 * @throws AppError `not_found`; `voucher_invalid` with `invalid_reason`; `published`.
 */
export async function redeemVoucher(
  trx: Tx,
  conferenceId: string,
  { code, reference, actor }: RedeemRequest,
): Promise<{ redemption: Redemption; created: boolean }> {
  const voucherId = await lockVoucher(trx, conferenceId, code)
  // Under the lock, in a statement of its own: its snapshot shows what parallel calls committed.
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
  if (found === undefined) throw await refusal(trx, conferenceId, code)
  return {
    redemption: await getRedemption(trx, conferenceId, found.id),
    created: found.created,
  }
}

async function refusal(trx: Tx, conferenceId: string, code: string): Promise<AppError> {
  const { invalidReason } = await getVoucher(trx, conferenceId, code)
  // Under the lock only the clock moves: what is valid by now was too early a moment ago.
  const reason = invalidReason ?? 'not_yet_valid'
  if (reason === 'published') {
    return new AppError('published', 'The voucher is published: it can be used at Stripe only.', {
      extra: { invalid_reason: reason },
    })
  }
  return new AppError('voucher_invalid', `The voucher is ${reason.replaceAll('_', ' ')}.`, {
    extra: { invalid_reason: reason },
  })
}

/**
 * Gives the use of a redemption back, once: releasing it again changes nothing.
 *
 * @throws AppError `not_found`
 */
export async function releaseRedemption(
  trx: Tx,
  conferenceId: string,
  id: string,
  actor: Actor,
): Promise<Redemption> {
  const { code } = await getRedemption(trx, conferenceId, id)
  // The voucher first, as when redeeming.
  await lockVoucher(trx, conferenceId, code)
  await trx.raw(
    `with released as (
       update redemptions r set released_at = statement_timestamp(), released_by = :actor
       where r.conference_id = :conferenceId and r.id = :id and r.released_at is null
       returning r.voucher_id)
     update vouchers v set times_used = v.times_used - 1
     from released where v.conference_id = :conferenceId and v.id = released.voucher_id`,
    { conferenceId, id, actor: actor.id },
  )
  return getRedemption(trx, conferenceId, id)
}
