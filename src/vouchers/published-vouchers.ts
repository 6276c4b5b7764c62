import type { Tx } from '../db/connect.ts'
import { notFound } from '../shared/errors.ts'

type BatchRef = { conferenceId: string; batchId: string }

/**
 * Marks a batch as published, so that its codes cannot be redeemed here any more. A redemption shares
 * the batch's key until it is committed, and `for update` waits for that: its use is subtracted from the
 * result. A later redemption waits for this transaction, and sees that the batch is published.
 *
 * @returns the vouchers with remaining uses.
 */
export async function markBatchPublished(
  trx: Tx,
  { conferenceId, batchId }: BatchRef,
): Promise<{ id: number; remaining: number }[]> {
  const batch = { conference_id: conferenceId, id: batchId }
  await trx('voucher_batches').where(batch).forUpdate().select('id')
  await trx('voucher_batches').where(batch).update({ published_at: trx.fn.now() })
  return trx('vouchers')
    .where({ conference_id: conferenceId, batch_id: batchId })
    .whereRaw('times_used < max_uses')
    .orderBy('ordinal', 'desc')
    .select<{ id: number; remaining: number }[]>(
      'id',
      trx.raw('max_uses - times_used as remaining'),
    )
}

/** Records the vouchers that a publication publishes, with the uses that are allowed at Stripe. */
export async function insertPublishedVouchers(
  trx: Tx,
  conferenceId: string,
  publicationId: string,
  vouchers: readonly { id: number; remaining: number }[],
): Promise<void> {
  await trx.raw(
    `insert into published_vouchers (conference_id, voucher_id, publication_id, max_redemptions)
     select ?, v.id, ?, v.remaining from unnest(?::bigint[], ?::integer[]) as v (id, remaining)`,
    [
      conferenceId,
      publicationId,
      vouchers.map(({ id }) => id),
      vouchers.map(({ remaining }) => remaining),
    ],
  )
}

/** Ends a failed publication: the codes of its batch can be redeemed here again. */
export async function unpublishBatch(
  trx: Tx,
  { conferenceId, batchId }: BatchRef,
  publicationId: string,
): Promise<void> {
  await trx('voucher_batches')
    .where({ conference_id: conferenceId, id: batchId })
    .update({ published_at: null })
  await trx('published_vouchers')
    .where({ conference_id: conferenceId, publication_id: publicationId })
    .delete()
}

/**
 * Makes the refused codes of a publication pending again. A new attempt has a new idempotency key:
 * under the old one, Stripe would replay its refusal for a day.
 */
export async function retryRefusedVouchers(
  trx: Tx,
  conferenceId: string,
  publicationId: string,
): Promise<void> {
  await trx('published_vouchers')
    .where({ conference_id: conferenceId, publication_id: publicationId })
    .whereNotNull('error')
    .update({ error: null, attempt: trx.raw('attempt + 1'), updated_at: trx.fn.now() })
}

/** Notes that a request about a voucher's promotion code is sent now. */
export async function notePublishedVoucher(
  trx: Tx,
  conferenceId: string,
  voucherId: number,
): Promise<{ attempt: number; askedBefore: boolean }> {
  const row = () =>
    trx('published_vouchers').where({ conference_id: conferenceId, voucher_id: voucherId })
  const before = await row()
    .forUpdate()
    .first<{ attempt: number; tried_at: Date | null } | undefined>('attempt', 'tried_at')
  if (before === undefined) throw notFound('published voucher')
  await row().update({ tried_at: trx.fn.now() })
  return { attempt: before.attempt, askedBefore: before.tried_at !== null }
}

/** Stripe stored an error under the key of the attempt: the next request needs another one. */
export async function startNextVoucherAttempt(
  trx: Tx,
  conferenceId: string,
  voucherId: number,
): Promise<void> {
  await trx('published_vouchers')
    .where({ conference_id: conferenceId, voucher_id: voucherId })
    .update({ attempt: trx.raw('attempt + 1'), updated_at: trx.fn.now() })
}

/** Saves a voucher's promotion code and whether it is active, or the reason of Stripe's refusal. */
export async function savePublishedVoucher(
  trx: Tx,
  conferenceId: string,
  voucherId: number,
  values: { promotion_code_id: string; is_on: boolean } | { error: string },
): Promise<void> {
  await trx('published_vouchers')
    .where({ conference_id: conferenceId, voucher_id: voucherId })
    .update({ error: null, ...values, tried_at: null, updated_at: trx.fn.now() })
}

/** SQL: published vouchers `p` with their vouchers `v` and their batches `b`. */
export const FROM_PUBLISHED = `published_vouchers p
  join vouchers v on v.conference_id = p.conference_id and v.id = p.voucher_id
  join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id`

/** SQL: voucher `v` of batch `b` has remaining uses and has not expired. */
const USABLE = `(v.times_used < v.max_uses
  and (b.valid_until is null or b.valid_until > statement_timestamp()))`

/**
 * SQL: the promotion code of published voucher `p` must be created, activated or deactivated. Stripe's
 * refusal ends a creation or an activation. A deactivation is retried until it succeeds, because until
 * then the code stays usable. A request with an unknown outcome is retried too: it may have made or
 * activated a code.
 */
export const HAS_PENDING_CHANGE = `(p.tried_at is not null or case
  when p.is_on then v.state <> 'active'
  else p.error is null and v.state = 'active' and ${USABLE}
end)`

/**
 * SQL that counts the uses of published vouchers: the uses at Stripe plus the redemptions here. These
 * common table expressions follow those of the mirror's statement: `written` has the ids of the written
 * promotion codes, `given` their `times_redeemed`. It locks several vouchers, so it locks their batches
 * first, like a refund: `order by` sorts all rows before the first voucher is locked. Uses that were held before
 * the publication cannot be confirmed and do not count; until their holds end, they limit the number.
 *
 * @param conferenceId - SQL for it.
 */
export const countUsesAtStripe = (conferenceId: string) => `batches as materialized (
    select b.id from voucher_batches b
    where b.conference_id = ${conferenceId} and b.id in (
      select v.batch_id from written
      join published_vouchers p
        on p.conference_id = ${conferenceId} and p.promotion_code_id = written.id
      join vouchers v on v.conference_id = p.conference_id and v.id = p.voucher_id)
    order by b.id
    for share
  ), used as (
    select v.id, given.times_redeemed + (
        select count(*) from redemptions r
        where r.conference_id = v.conference_id and r.voucher_id = v.id and r.released_at is null
          and not r.is_held
      ) as times
    from written
    join given using (id)
    join published_vouchers p
      on p.conference_id = ${conferenceId} and p.promotion_code_id = written.id
    join vouchers v on v.conference_id = p.conference_id and v.id = p.voucher_id
    join batches on batches.id = v.batch_id
    order by v.batch_id, v.ordinal desc
    for no key update of v
  ), counted_uses as (
    update vouchers v set times_used = least(v.max_uses - v.uses_held, used.times) from used
    where v.conference_id = ${conferenceId} and v.id = used.id
      and v.times_used is distinct from least(v.max_uses - v.uses_held, used.times)
  )`
