import { getConference } from '../../../conferences/conference-store.ts'
import type { Tx } from '../../../db/connect.ts'
import { addJob } from '../../../jobs/add-job.ts'
import { AppError, invalidField } from '../../../shared/errors.ts'
import { newId } from '../../../shared/ids.ts'
import { priceProblem } from '../../../shared/money.ts'
import { lockBatch } from '../../../vouchers/voucher-batch.ts'
import { getBatch, type VoucherBatch } from '../../../vouchers/voucher-batch-store.ts'
import type { CreateCouponInput } from '../coupons/coupon-schemas.ts'
import { beginCreateCoupon, randomCouponId } from '../coupons/create-coupon.ts'
import type { Asker } from '../coupons/discount-change.ts'
import { endProblem } from '../coupons/discount-fields.ts'
import { findPublication } from './publication-store.ts'

/** Each code is a request to Stripe, and a promotion code for good: Stripe deletes none. */
const MOST_CODES = 1_000

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
  asker: Asker,
  batchId: string,
  { products }: PublishInput,
  now: Date,
): Promise<void> {
  const { conferenceId } = asker
  const ref = { conferenceId, batchId }
  await lockBatch(trx, conferenceId, batchId)
  const batch = await getBatch(trx, conferenceId, batchId, null)
  const known = await findPublication(trx, ref)
  if (known !== null && known.state !== 'failed') await tryAgain(trx, conferenceId, known.id)
  else await begin(trx, asker, batch, products, now)
  await addJob(trx, 'align_promotion_codes', { conference_id: conferenceId, batch_id: batchId })
}

async function tryAgain(trx: Tx, conferenceId: string, publicationId: string): Promise<void> {
  // Another attempt is another key: under the old one Stripe would repeat its refusal for a day.
  await trx('published_vouchers')
    .where({ conference_id: conferenceId, publication_id: publicationId })
    .whereNotNull('error')
    .update({ error: null, attempt: trx.raw('attempt + 1'), updated_at: trx.fn.now() })
  await trx('voucher_publications')
    .where({ conference_id: conferenceId, id: publicationId })
    .update({ state: 'running', updated_at: trx.fn.now() })
}

async function begin(
  trx: Tx,
  asker: Asker,
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
  const reason = unpublishable(batch, now)
  if (reason !== null) throw new AppError('wrong_state', reason)
  const isScoped = batch.ticketTypeId !== null || batch.addOnId !== null
  if (isScoped && products === undefined) {
    throw invalidField(
      '/products',
      "is required: the codes are for one ticket type or add-on. Name Stripe's products that it is sold as; an empty list lets the codes be used for everything.",
    )
  }
}

function unpublishable({ count, terms, currency }: VoucherBatch, now: Date): string | null {
  const { voucherType, discountValue, validFrom, validUntil } = terms
  if (count > MOST_CODES) {
    return `The batch has ${count} codes; at most ${MOST_CODES} can be published.`
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
