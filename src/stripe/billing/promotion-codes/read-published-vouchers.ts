import type { Tx } from '../../../db/connect.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import { addJob } from '../../../jobs/add-job.ts'
import { AppError } from '../../../shared/errors.ts'
import { askStripe } from '../../stripe-errors.ts'
import { readingTime } from '../../sync/reading-time.ts'
import { StripePromotionCodeAction } from '../../sync/resources/promotion-codes.ts'
import type { DiscountDeps } from '../coupons/mirrored-answer.ts'
import { FROM_PUBLISHED, TO_DO } from './publication-store.ts'

/** A page of Stripe's lists. */
const PAGE = 100

/**
 * Reads the promotion codes of published vouchers that have uses left, a list for each batch: Stripe
 * sends no event when a code is used. Also asks again for what Stripe has not been told, such as to
 * turn codes off, where a job has given up.
 *
 * @throws AppError `stripe_unavailable`, `stripe_failed`, `stripe_key_missing`.
 */
export async function readPublishedVouchers(
  deps: DiscountDeps,
  conferenceId: string,
  signal?: AbortSignal,
): Promise<void> {
  const { db, logger } = deps
  const coupons = await withTenant(db, { conferenceId }, async (trx) => {
    for (const batch_id of await waitingBatches(trx, conferenceId)) {
      await addJob(trx, 'align_promotion_codes', { conference_id: conferenceId, batch_id })
    }
    return couponsInUse(trx, conferenceId)
  })
  for (const coupon of coupons) {
    try {
      await readCodes(deps, conferenceId, coupon, signal)
    } catch (error) {
      // Such as a coupon that the dashboard deleted: its codes are not used any more.
      if (!(error instanceof AppError && error.code === 'stripe_refused')) throw error
      logger.info({ conference: conferenceId, coupon }, 'the codes of a coupon were not read')
    }
  }
}

async function readCodes(
  { db, clients, logger }: DiscountDeps,
  conferenceId: string,
  coupon: string,
  signal?: AbortSignal,
): Promise<void> {
  const connect = () => clients.background(conferenceId, signal)
  const action = new StripePromotionCodeAction({ db, conferenceId, connect, logger })
  const { stripe } = await connect()
  let after: string | undefined
  do {
    const readAt = await readingTime(db)
    const from = after === undefined ? {} : { starting_after: after }
    const page = await askStripe(async () =>
      stripe.promotionCodes.list({ coupon, limit: PAGE, ...from }),
    )
    await action.syncBatch(page.data, readAt)
    after = page.has_more ? page.data.at(-1)?.id : undefined
  } while (after !== undefined)
}

/** Coupons of publications of which a code was not used up when it was last read. */
async function couponsInUse(trx: Tx, conferenceId: string): Promise<string[]> {
  const { rows } = await trx.raw<{ rows: { coupon_id: string }[] }>(
    `select distinct pub.coupon_id from ${FROM_PUBLISHED}
     join voucher_publications pub
       on pub.conference_id = p.conference_id and pub.id = p.publication_id
     where p.conference_id = :conferenceId and p.is_on and v.times_used < v.max_uses
       and (b.valid_until is null or b.valid_until > now() - interval '1 day')
     order by pub.coupon_id`,
    { conferenceId },
  )
  return rows.map(({ coupon_id }) => coupon_id)
}

async function waitingBatches(trx: Tx, conferenceId: string): Promise<string[]> {
  const { rows } = await trx.raw<{ rows: { batch_id: string }[] }>(
    `select distinct v.batch_id from ${FROM_PUBLISHED}
     where p.conference_id = :conferenceId and ${TO_DO}
       and not exists (
         select from graphile_worker.jobs j
         where j.key = 'align_promotion_codes:' || v.batch_id
           and (j.attempts < j.max_attempts or j.locked_at is not null))`,
    { conferenceId },
  )
  return rows.map(({ batch_id }) => batch_id)
}
