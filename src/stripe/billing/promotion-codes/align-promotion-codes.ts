import type Stripe from 'stripe'
import { withTenant } from '../../../db/tenant-scope.ts'
import { addJob } from '../../../jobs/add-job.ts'
import { AppError } from '../../../shared/errors.ts'
import { isStoredError } from '../../checkout.ts'
import { inParallel } from '../../in-parallel.ts'
import { askStripe, isRefusal, refusalMessage, toAppError } from '../../stripe-errors.ts'
import { readingTime } from '../../sync/reading-time.ts'
import { StripePromotionCodeAction } from '../../sync/resources/promotion-codes.ts'
import type { SyncContext } from '../../sync/sync-context.ts'
import { finishCreateCoupon } from '../coupons/create-coupon.ts'
import { toSeconds } from '../coupons/discount-fields.ts'
import { type DiscountDeps, storeAnswer } from '../coupons/mirrored-answer.ts'
import {
  FROM_PUBLISHED,
  findPublication,
  type Publication,
  progressOf,
  TO_DO,
} from './publication-store.ts'

/** Codes of one run of the job: some seconds, so that other work gets its turn in between. */
const CHUNK = 60
const AT_ONCE = 6

type BatchRef = { conferenceId: string; batchId: string }

/** A published voucher about which Stripe has to be told something. */
type Todo = {
  voucher_id: number
  code: string
  max_redemptions: number
  promotion_code_id: string | null
  wanted_on: boolean
  attempt: number
}

/**
 * Makes the promotion codes of a published batch what its vouchers say: creates those that are
 * missing, turns off those of vouchers that are frozen or off, and on those that are active again.
 * Each voucher becomes one promotion code, whatever dies in between: the row is written after Stripe
 * has answered, and a repeat asks under the same key.
 *
 * @throws AppError `stripe_unavailable`, `stripe_failed`: again later.
 */
export async function alignPromotionCodes(
  deps: DiscountDeps,
  ref: BatchRef,
  signal?: AbortSignal,
): Promise<void> {
  const { db, logger } = deps
  const { conferenceId } = ref
  const publication = await withTenant(db, ref, (trx) => findPublication(trx, ref))
  if (publication === null || publication.state === 'failed') return
  if (!(await madeCoupon(deps, ref, publication))) return
  const todo = await withTenant(db, ref, async (trx) => {
    const { rows } = await trx.raw<{ rows: Todo[] }>(
      `select p.voucher_id, v.code, p.max_redemptions, p.promotion_code_id, p.attempt,
         v.state = 'active' as wanted_on
       from ${FROM_PUBLISHED}
       where p.conference_id = :conferenceId and p.publication_id = :id and ${TO_DO}
       -- Off first: whoever was paid back must not use the code meanwhile.
       order by v.state = 'active', v.ordinal
       limit :chunk`,
      { conferenceId, id: publication.id, chunk: CHUNK },
    )
    return rows
  })
  const connect = () => deps.clients.background(conferenceId, signal)
  const context: SyncContext = { db, conferenceId, logger, connect }
  const { stripe } = await connect()
  const work = { context, stripe, ref, publication }
  const failures = await inParallel(todo, AT_ONCE, (voucher) => alignOne(work, voucher))
  // Not before all have ended: the next try must not meet a straggler.
  const failure = failures.find((each) => each !== null)
  if (failure) throw failure.reason
  await withTenant(db, ref, async (trx) => {
    const progress = await progressOf(trx, conferenceId, publication.id)
    if (progress.pending > 0) {
      return addJob(trx, 'align_promotion_codes', {
        conference_id: conferenceId,
        batch_id: ref.batchId,
      })
    }
    await trx('voucher_publications')
      .where({ conference_id: conferenceId, id: publication.id, state: 'running' })
      .update({ state: 'done', updated_at: trx.fn.now() })
  })
}

/** False when Stripe refuses the coupon: then no code was made, and the batch is used here again. */
async function madeCoupon(
  deps: DiscountDeps,
  ref: BatchRef,
  { id, coupon_change_id: changeId }: Publication,
): Promise<boolean> {
  const { conferenceId, batchId } = ref
  try {
    await finishCreateCoupon(deps, conferenceId, changeId)
    return true
  } catch (error) {
    if (!(error instanceof AppError && error.status < 500)) throw error
    await withTenant(deps.db, ref, async (trx) => {
      await trx('voucher_batches')
        .where({ conference_id: conferenceId, id: batchId })
        .update({ published_at: null })
      await trx('published_vouchers')
        .where({ conference_id: conferenceId, publication_id: id })
        .delete()
      await trx('voucher_publications')
        .where({ conference_id: conferenceId, id })
        .update({ state: 'failed', error: error.message, updated_at: trx.fn.now() })
    })
    deps.logger.warn({ conference: conferenceId, batch: batchId }, 'a batch was not published')
    return false
  }
}

type Work = { context: SyncContext; stripe: Stripe; ref: BatchRef; publication: Publication }

/** Null when it is done, or refused and noted; else why it has to be tried again. */
async function alignOne(work: Work, voucher: Todo): Promise<{ reason: unknown } | null> {
  try {
    await askForOne(work, voucher)
    return null
  } catch (error) {
    if (!isStoredError(error) && !isRefusal(error)) return { reason: toAppError(error) }
    await note(work, voucher, { error: refusalMessage(error) })
    return null
  }
}

async function askForOne(work: Work, voucher: Todo): Promise<void> {
  const { context, stripe } = work
  const { promotion_code_id: id, wanted_on: active } = voucher
  const readAt = await readingTime(context.db)
  const answer =
    id === null ? await makeCode(work, voucher) : await stripe.promotionCodes.update(id, { active })
  // The row first: only a known id lets the mirror count the uses. What was turned on or off is so
  // without another look, or a code that Stripe will not have on would be asked for again and again.
  const isOn = id === null ? answer.active : active
  await note(work, voucher, { promotion_code_id: answer.id, is_on: isOn })
  await storeAnswer(new StripePromotionCodeAction(context), answer, readAt)
}

function note(
  { context: { db }, ref }: Work,
  { voucher_id: id }: Todo,
  values: { promotion_code_id: string; is_on: boolean } | { error: string },
): Promise<unknown> {
  return withTenant(db, ref, (trx) =>
    trx('published_vouchers')
      .where({ conference_id: ref.conferenceId, voucher_id: id })
      .update({ ...values, updated_at: trx.fn.now() }),
  )
}

async function makeCode(
  { stripe, ref, publication }: Work,
  voucher: Todo,
): Promise<Stripe.Response<Stripe.PromotionCode>> {
  const { voucher_id: id, code, max_redemptions, attempt } = voucher
  const params: Stripe.PromotionCodeCreateParams = {
    promotion: { type: 'coupon', coupon: publication.coupon_id },
    code,
    max_redemptions,
    ...(publication.expires_at === null ? {} : { expires_at: toSeconds(publication.expires_at) }),
    metadata: {
      conference_id: ref.conferenceId,
      voucher_batch: ref.batchId,
      voucher: String(id),
    },
  }
  const idempotencyKey = `${publication.id}:${id}:${attempt}`
  try {
    return await stripe.promotionCodes.create(params, { idempotencyKey })
  } catch (error) {
    if (!isStoredError(error) && !isRefusal(error)) throw error
    // It may be there all the same, behind an answer that was lost more than a day ago: Stripe
    // refuses a second active code that reads the same.
    const { coupon_id: coupon } = publication
    const { data } = await askStripe(async () => stripe.promotionCodes.list({ code, coupon }))
    const found = data.find(({ metadata }) => metadata?.['voucher'] === String(id))
    if (found === undefined) throw error
    return stripe.promotionCodes.retrieve(found.id)
  }
}
