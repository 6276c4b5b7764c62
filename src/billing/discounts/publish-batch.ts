import { getConference } from '../../conferences/conference-store.ts'
import type { Tx } from '../../db/connect.ts'
import { addJob } from '../../jobs/job-queue.ts'
import { AppError, invalidField, notFound } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import { priceProblem } from '../../shared/money.ts'
import { lockBatch } from '../../vouchers/freeze-vouchers.ts'
import {
  FROM_PUBLISHED,
  HAS_PENDING_CHANGE,
  insertPublishedVouchers,
  markBatchPublished,
  retryRefusedVouchers,
} from '../../vouchers/published-vouchers.ts'
import { getBatch, type VoucherBatch } from '../../vouchers/voucher-batch-store.ts'
import type { Requester } from './discount-change.ts'
import type { CreateCouponInput } from './discount-schemas.ts'
import { endProblem } from './stripe-discount-values.ts'
import { beginCreateCoupon, randomCouponId } from './write-coupon.ts'

/** Each code needs a request to Stripe, and Stripe does not delete promotion codes. */
const MAX_CODES = 1_000

export type PublishInput = {
  /** The Stripe products that the codes apply to; undefined: the request names none. */
  products: string[] | undefined
}

/**
 * Publishes a batch at Stripe. From the commit on, its codes cannot be redeemed here, and a job creates
 * a promotion code for each of them. Publishing the batch again retries the codes that Stripe refused.
 *
 * @throws AppError `not_found`; `stripe_key_missing`; `wrong_state` for a batch that promotion codes
 * cannot express; `validation_failed` for missing products.
 */
export async function publishBatch(
  trx: Tx,
  requester: Requester,
  batchId: string,
  { products }: PublishInput,
  now: Date,
): Promise<void> {
  const { conferenceId } = requester
  const ref = { conferenceId, batchId }
  await lockBatch(trx, conferenceId, { id: batchId })
  const batch = await getBatch(trx, conferenceId, batchId, null)
  const existing = await findPublication(trx, ref)
  if (existing !== null && existing.state !== 'failed')
    await restartPublication(trx, conferenceId, existing.id)
  else await startPublication(trx, requester, batch, products, now)
  await addJob(trx, 'align_promotion_codes', { conference_id: conferenceId, batch_id: batchId })
}

async function restartPublication(
  trx: Tx,
  conferenceId: string,
  publicationId: string,
): Promise<void> {
  await retryRefusedVouchers(trx, conferenceId, publicationId)
  await trx('voucher_publications')
    .where({ conference_id: conferenceId, id: publicationId })
    .update({ state: 'running', updated_at: trx.fn.now() })
}

async function startPublication(
  trx: Tx,
  requester: Requester,
  batch: VoucherBatch,
  products: string[] | undefined,
  now: Date,
): Promise<void> {
  const { conferenceId } = requester
  const conference = await getConference(trx, conferenceId)
  if (conference.stripeKeyLast4 === null) {
    throw new AppError(
      'stripe_key_missing',
      'The conference has no Stripe key. An operator must set one.',
    )
  }
  assertPublishable(batch, products, now)
  const vouchers = await markBatchPublished(trx, { conferenceId, batchId: batch.id })
  const couponId = randomCouponId()
  const coupon = couponOf(batch, conference.name, products)
  const changeId = await beginCreateCoupon(trx, requester, { ...coupon, id: couponId }, now)
  const id = newId('publication')
  await trx('voucher_publications').insert({
    conference_id: conferenceId,
    id,
    batch_id: batch.id,
    coupon_id: couponId,
    coupon_change_id: changeId,
    expires_at: batch.terms.validUntil,
    published_by: requester.actor.id,
  })
  await insertPublishedVouchers(trx, conferenceId, id, vouchers)
}

function couponOf(
  batch: VoucherBatch,
  conferenceName: string,
  products: string[] | undefined,
): CreateCouponInput {
  const { voucherType, discountValue } = batch.terms
  return {
    duration: 'once',
    // Shown on the attendees' receipts. Stripe allows 40 characters.
    name: conferenceName.slice(0, 40).trim(),
    metadata: { voucher_batch: batch.id },
    ...(voucherType === 'fixed_amount'
      ? { amount_off: discountValue, currency: batch.currency }
      : { percent_off: voucherType === 'comp' ? 100 : discountValue }),
    ...(products === undefined || products.length === 0 ? {} : { applies_to: { products } }),
  }
}

/** Refuses what promotion codes cannot express, so that no term of the vouchers is lost. */
function assertPublishable(batch: VoucherBatch, products: string[] | undefined, now: Date): void {
  const reason = unpublishableReason(batch, now)
  if (reason !== null) throw new AppError('wrong_state', reason)
  const isScoped = batch.ticketTypeId !== null || batch.addOnId !== null
  if (isScoped && products === undefined) {
    throw invalidField(
      '/products',
      'is required, because the codes are for one ticket type or add-on. Set products to the Stripe products of this item. An empty list means all products.',
    )
  }
}

function unpublishableReason({ count, terms, currency }: VoucherBatch, now: Date): string | null {
  const { voucherType, discountValue, validFrom, validUntil } = terms
  if (count > MAX_CODES) {
    return `The batch has ${count} codes; at most ${MAX_CODES} can be published.`
  }
  if (voucherType !== 'comp' && discountValue <= 0) {
    return 'The codes give no discount. Stripe does not accept a coupon without a discount.'
  }
  if (voucherType === 'fixed_amount') {
    const problem = priceProblem(discountValue, currency)
    if (problem !== null) return problem
  }
  if (validFrom !== null && validFrom > now) {
    return 'The codes are not valid yet, and Stripe promotion codes have no start date. Publish them when they become valid.'
  }
  const problem = validUntil === null ? null : endProblem(validUntil, now)
  return problem === null ? null : `valid_until of the codes ${problem}.`
}

export const PUBLICATION_STATES = ['running', 'done', 'failed'] as const

/** A row of `voucher_publications`: the publication of a batch at Stripe. */
export type Publication = {
  id: string
  batch_id: string
  /** `failed`: no promotion code was created, and the codes can be redeemed here again. */
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

/** The batch's running or done publication, else its last failed one, else null. */
export async function findPublication(trx: Tx, ref: BatchRef): Promise<Publication | null> {
  const row = await trx('voucher_publications')
    .where({ conference_id: ref.conferenceId, batch_id: ref.batchId })
    .orderByRaw(`state = 'failed', created_at desc, id desc`)
    .first<Publication | undefined>([...COLUMNS])
  return row ?? null
}

export type PublicationView = { publication: Publication; progress: PublicationProgress }

/** The batch's publication with its present counts. @throws AppError `not_found` */
export async function getPublication(
  trx: Tx,
  conferenceId: string,
  batchId: string,
): Promise<PublicationView> {
  await getBatch(trx, conferenceId, batchId, null)
  const publication = await findPublication(trx, { conferenceId, batchId })
  if (publication === null) throw notFound('publication: the batch was never published')
  return { publication, progress: await progressOf(trx, conferenceId, publication.id) }
}

/** The progress of a publication. `failed`: codes that Stripe refused; `errors` shows some of them. */
export type PublicationProgress = {
  total: number
  published: number
  pending: number
  failed: number
  off: number
  times_redeemed: number
  errors: { code: string; detail: string }[]
}

const MAX_LISTED_ERRORS = 10

/** The present counts of a publication. */
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
  if (counts === undefined) throw new Error('The count returned no row')
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
