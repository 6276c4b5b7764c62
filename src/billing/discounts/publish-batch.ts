import { getConference } from '../../conferences/conference-store.ts'
import type { Tx } from '../../db/connect.ts'
import { addJob } from '../../jobs/job-queue.ts'
import { AppError, invalidField } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import { priceProblem } from '../../shared/money.ts'
import { getBatch, lockBatch, type VoucherBatch } from '../../vouchers/voucher-batch-store.ts'
import type { Requester } from './discount-change.ts'
import { type CreateCouponInput, endProblem } from './discount-schemas.ts'
import { beginCreateCoupon, randomCouponId } from './write-coupon.ts'

/** Each code is a request to Stripe, and a promotion code for good: Stripe deletes none. */
const MAX_CODES = 1_000

export type PublishInput = {
  /** Stripe's products that the codes are for; undefined: nothing was said. */
  products: string[] | undefined
}

/**
 * Turns a batch into one that is used at Stripe: from the commit on its codes are not redeemed here,
 * and a job makes a promotion code of each. Publishing it again tries what Stripe refused once more.
 *
 * @throws AppError `not_found`; `stripe_key_missing`; `wrong_state` for what a promotion code cannot
 * express; `validation_failed` for products that are missing.
 */
export async function publishBatch(
  trx: Tx,
  asker: Requester,
  batchId: string,
  { products }: PublishInput,
  now: Date,
): Promise<void> {
  const { conferenceId } = asker
  const ref = { conferenceId, batchId }
  await lockBatch(trx, conferenceId, batchId)
  const batch = await getBatch(trx, conferenceId, batchId, null)
  const known = await findPublication(trx, ref)
  if (known !== null && known.state !== 'failed')
    await retryRefusedCodes(trx, conferenceId, known.id)
  else await startPublication(trx, asker, batch, products, now)
  await addJob(trx, 'align_promotion_codes', { conference_id: conferenceId, batch_id: batchId })
}

async function retryRefusedCodes(
  trx: Tx,
  conferenceId: string,
  publicationId: string,
): Promise<void> {
  // Another attempt is another key: under the old one Stripe would repeat its refusal for a day.
  await trx('published_vouchers')
    .where({ conference_id: conferenceId, publication_id: publicationId })
    .whereNotNull('error')
    .update({ error: null, attempt: trx.raw('attempt + 1'), updated_at: trx.fn.now() })
  await trx('voucher_publications')
    .where({ conference_id: conferenceId, id: publicationId })
    .update({ state: 'running', updated_at: trx.fn.now() })
}

async function startPublication(
  trx: Tx,
  asker: Requester,
  batch: VoucherBatch,
  products: string[] | undefined,
  now: Date,
): Promise<void> {
  const { conferenceId } = asker
  const conference = await getConference(trx, conferenceId)
  if (conference.stripeKeyLast4 === null) {
    throw new AppError('stripe_key_missing', 'The conference has no Stripe key yet.')
  }
  assertPublishable(batch, products, now)
  // A redemption holds its voucher's lock: it is counted below, or waits and sees what we did.
  await trx('vouchers')
    .where({ conference_id: conferenceId, batch_id: batch.id })
    .orderBy('ordinal', 'desc')
    .forNoKeyUpdate()
    .select('id')
  await trx('voucher_batches')
    .where({ conference_id: conferenceId, id: batch.id })
    .update({ published_at: trx.fn.now() })
  const couponId = randomCouponId()
  const coupon = couponOf(batch, conference.name, products)
  const changeId = await beginCreateCoupon(trx, asker, { ...coupon, id: couponId }, now)
  const id = newId('publication')
  await trx('voucher_publications').insert({
    conference_id: conferenceId,
    id,
    batch_id: batch.id,
    coupon_id: couponId,
    coupon_change_id: changeId,
    expires_at: batch.terms.validUntil,
    published_by: asker.actor.id,
  })
  await trx.raw(
    `insert into published_vouchers (conference_id, voucher_id, publication_id, max_redemptions)
     select v.conference_id, v.id, :id, v.max_uses - v.times_used from vouchers v
     where v.conference_id = :conferenceId and v.batch_id = :batchId
       and v.times_used < v.max_uses`,
    { conferenceId, batchId: batch.id, id },
  )
}

function couponOf(
  batch: VoucherBatch,
  conferenceName: string,
  products: string[] | undefined,
): CreateCouponInput {
  const { voucherType, discountValue } = batch.terms
  return {
    duration: 'once',
    // What attendees see on their receipt; Stripe takes 40 characters.
    name: conferenceName.slice(0, 40).trim(),
    metadata: { voucher_batch: batch.id },
    ...(voucherType === 'fixed_amount'
      ? { amount_off: discountValue, currency: batch.currency }
      : { percent_off: voucherType === 'comp' ? 100 : discountValue }),
    ...(products === undefined || products.length === 0 ? {} : { applies_to: { products } }),
  }
}

/** Everything that a promotion code cannot say is refused, rather than lost on the way. */
function assertPublishable(batch: VoucherBatch, products: string[] | undefined, now: Date): void {
  const reason = unpublishableReason(batch, now)
  if (reason !== null) throw new AppError('wrong_state', reason)
  const isScoped = batch.ticketTypeId !== null || batch.addOnId !== null
  if (isScoped && products === undefined) {
    throw invalidField(
      '/products',
      "is required: the codes are for one ticket type or add-on. Name Stripe's products that it is sold as; an empty list lets the codes be used for everything.",
    )
  }
}

function unpublishableReason({ count, terms, currency }: VoucherBatch, now: Date): string | null {
  const { voucherType, discountValue, validFrom, validUntil } = terms
  if (count > MAX_CODES) {
    return `The batch has ${count} codes; at most ${MAX_CODES} can be published.`
  }
  if (voucherType !== 'comp' && discountValue <= 0) {
    return 'The codes take nothing off, and Stripe has no such coupon.'
  }
  if (voucherType === 'fixed_amount') {
    const problem = priceProblem(discountValue, currency)
    if (problem !== null) return problem
  }
  if (validFrom !== null && validFrom > now) {
    return 'The codes are not valid yet, and promotion codes have no beginning. Publish them then.'
  }
  const problem = validUntil === null ? null : endProblem(validUntil, now)
  return problem === null ? null : `The end of the codes ${problem}.`
}

export const PUBLICATION_STATES = ['running', 'done', 'failed'] as const

/** A batch that is used at Stripe, as its row has it. */
export type Publication = {
  id: string
  batch_id: string
  /** `failed`: no code was made, and the codes are used here again. */
  state: (typeof PUBLICATION_STATES)[number]
  coupon_id: string
  coupon_change_id: string
  expires_at: Date | null
  error: string | null
  published_by: string
  created_at: Date
  updated_at: Date
}

const COLUMNS = [
  'id',
  'batch_id',
  'state',
  'coupon_id',
  'coupon_change_id',
  'expires_at',
  'error',
  'published_by',
  'created_at',
  'updated_at',
] as const satisfies readonly (keyof Publication)[]

type BatchRef = { conferenceId: string; batchId: string }

/** The batch's latest publication, or null. */
export async function findPublication(trx: Tx, ref: BatchRef): Promise<Publication | null> {
  const row = await trx('voucher_publications')
    .where({ conference_id: ref.conferenceId, batch_id: ref.batchId })
    // The one that lives, else the last one that failed.
    .orderByRaw(`state = 'failed', created_at desc, id desc`)
    .first<Publication | undefined>([...COLUMNS])
  return row ?? null
}

/** How far a publication is. `failed`: what Stripe refused; `errors` has a few of them. */
export type PublicationProgress = {
  total: number
  published: number
  pending: number
  failed: number
  off: number
  times_redeemed: number
  errors: { code: string; detail: string }[]
}

/** SQL: published voucher `p` of voucher `v` and batch `b` could still be used at Stripe. */
const USABLE = `(v.times_used < v.max_uses
  and (b.valid_until is null or b.valid_until > statement_timestamp()))`

/** SQL: Stripe has to be told something about published voucher `p`. */
export const HAS_PENDING_CHANGE = `(p.error is null and case
  when p.promotion_code_id is null then v.state = 'active' and ${USABLE}
  when p.is_on then v.state <> 'active'
  else v.state = 'active' and ${USABLE}
end)`

/** SQL: published vouchers `p` with their vouchers `v` and their batch `b`. */
export const FROM_PUBLISHED = `published_vouchers p
  join vouchers v on v.conference_id = p.conference_id and v.id = p.voucher_id
  join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id`

const MAX_LISTED_ERRORS = 10

/** Counts of a publication, as they stand. */
export async function progressOf(
  trx: Tx,
  conferenceId: string,
  publicationId: string,
): Promise<PublicationProgress> {
  const which = { conferenceId, publicationId }
  const { rows } = await trx.raw<{ rows: Omit<PublicationProgress, 'errors'>[] }>(
    `select count(*) as total,
       count(p.promotion_code_id) as published,
       count(*) filter (where ${HAS_PENDING_CHANGE}) as pending,
       count(p.error) as failed,
       count(*) filter (where p.promotion_code_id is not null and not p.is_on) as off,
       coalesce(sum(m.times_redeemed), 0)::bigint as times_redeemed
     from ${FROM_PUBLISHED}
     left join stripe.promotion_codes m
       on m.conference_id = p.conference_id and m.id = p.promotion_code_id
     where p.conference_id = :conferenceId and p.publication_id = :publicationId`,
    which,
  )
  const [counts] = rows
  if (counts === undefined) throw new Error('A count returned no row')
  const { rows: errors } = await trx.raw<{ rows: { code: string; detail: string }[] }>(
    `select v.code, p.error as detail from ${FROM_PUBLISHED}
     where p.conference_id = :conferenceId and p.publication_id = :publicationId
       and p.error is not null
     order by v.ordinal limit ${MAX_LISTED_ERRORS}`,
    which,
  )
  return { ...counts, errors }
}

/** The ids of the conferences with published vouchers that are usable, or were until yesterday. */
export async function conferencesWithPublishedVouchers(trx: Tx): Promise<string[]> {
  const rows = await trx('voucher_publications')
    .where('state', '<>', 'failed')
    .whereRaw(`(expires_at is null or expires_at > now() - interval '1 day')`)
    .distinct<{ conference_id: string }[]>('conference_id')
  return rows.map((row) => row.conference_id)
}
