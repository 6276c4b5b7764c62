import type Stripe from 'stripe'
import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { addJob } from '../../jobs/job-queue.ts'
import { databaseNow } from '../../mirror/fetch-time.ts'
import { StripePromotionCodeAction } from '../../mirror/resources/promotion-code-resource.ts'
import type { SyncContext } from '../../mirror/stripe-resource.ts'
import { AppError, isFinalRefusal } from '../../shared/errors.ts'
import { inParallel } from '../../shared/in-parallel.ts'
import { callStripe, fetchOrNull } from '../../stripe/stripe-errors.ts'
import { rateLimitWaitOf } from '../../stripe/wait-for-rate-limit.ts'
import {
  FROM_PUBLISHED,
  HAS_PENDING_CHANGE,
  notePublishedVoucher,
  savePublishedVoucher,
  startNextVoucherAttempt,
  unpublishBatch,
} from '../../vouchers/published-vouchers.ts'
import { type BillingDeps, mirrorAnswer } from '../billing-deps.ts'
import { makeRecorded } from '../make-recorded.ts'
import { newChangeId } from './discount-change.ts'
import { finishDiscountChange } from './finish-discount-change.ts'
import { findPublication, type Publication, progressOf } from './publish-batch.ts'
import { toUnixSeconds } from './stripe-discount-values.ts'

/** Codes of one run of the job. A run takes some seconds, so that other jobs run in between. */
const CODES_PER_RUN = 60
const CONCURRENCY = 6

type BatchRef = { conferenceId: string; batchId: string }

/** A published voucher whose promotion code must be created, activated or deactivated. */
type PendingVoucher = {
  voucher_id: number
  code: string
  max_redemptions: number
  promotion_code_id: string | null
  should_be_active: boolean
}

/**
 * Aligns the promotion codes of a published batch with its vouchers: creates missing ones, deactivates
 * those of frozen or deactivated vouchers, and activates those of vouchers that are active again.
 * Each voucher gets exactly one promotion code, even when a process dies. A deactivation is retried until
 * Stripe carries it out, also after a refusal.
 *
 * @throws AppError `stripe_…`; then the job is retried.
 */
export async function alignPromotionCodes(
  deps: BillingDeps,
  ref: BatchRef,
  signal?: AbortSignal,
): Promise<void> {
  const { db, logger } = deps
  const { conferenceId } = ref
  const publication = await withTenant(db, ref, (trx) => findPublication(trx, ref))
  if (publication === null || publication.state === 'failed') return
  if (!(await ensureCoupon(deps, ref, publication))) return
  const pending = await withTenant(db, ref, async (trx) => {
    const { rows } = await trx.raw<{ rows: PendingVoucher[] }>(
      `select p.voucher_id, v.code, p.max_redemptions, p.promotion_code_id,
         v.state = 'active' as should_be_active
       from ${FROM_PUBLISHED}
       where p.conference_id = :conferenceId and p.publication_id = :id and ${HAS_PENDING_CHANGE}
       -- Deactivate first: a refunded code must stop working soon. What Stripe refuses to deactivate
       -- must not keep the others waiting.
       order by p.error is not null, v.state = 'active', v.ordinal
       limit :chunk`,
      { conferenceId, id: publication.id, chunk: CODES_PER_RUN },
    )
    return rows
  })
  const connect = () => deps.clients.background(conferenceId, signal)
  const context: SyncContext = { db, conferenceId, logger, connect }
  const { stripe } = await connect()
  const work: Work = { context, stripe, ref, publication, wait: null }
  const failures = await inParallel(pending, CONCURRENCY, (voucher) => alignOne(work, voucher))
  // Throw after all requests have ended: the retry must not run beside one of them.
  const failure = work.wait ?? failures.find((each) => each !== null)
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

/**
 * Creates the coupon if needed. When Stripe refuses it, the publication fails, the batch can be redeemed
 * here again, and the result is false.
 */
async function ensureCoupon(
  deps: BillingDeps,
  ref: BatchRef,
  { id, coupon_change_id: changeId }: Publication,
): Promise<boolean> {
  const { conferenceId, batchId } = ref
  try {
    await finishDiscountChange(deps, conferenceId, changeId)
    return true
  } catch (error) {
    if (!isFinalRefusal(error)) throw error
    await withTenant(deps.db, ref, async (trx) => {
      await unpublishBatch(trx, ref, id)
      await trx('voucher_publications')
        .where({ conference_id: conferenceId, id })
        .update({ state: 'failed', error: error.message, updated_at: trx.fn.now() })
    })
    deps.logger.warn(
      { conference: conferenceId, batch: batchId },
      'a batch was not published: Stripe refused the coupon',
    )
    return false
  }
}

type Failure = { reason: unknown }

type Work = {
  context: SyncContext
  stripe: Stripe
  ref: BatchRef
  publication: Publication
  /** Set when the account's rate limit asks for a long wait, which all other codes would meet too. */
  wait: Failure | null
}

/** Null when the code was aligned, or Stripe's refusal was saved; else why it must be retried. */
async function alignOne(work: Work, voucher: PendingVoucher): Promise<Failure | null> {
  if (work.wait !== null) return work.wait
  try {
    const { promotion_code_id: known, should_be_active: active } = voucher
    // An earlier request may have created the code of a voucher that has been deactivated since then. It
    // is repeated under its key, until the code is known and can be deactivated.
    const id = known ?? (await createPromotionCode(work, voucher))
    if (id !== null && (known !== null || !active)) await switchPromotionCode(work, voucher, id)
    return null
  } catch (error) {
    const failure = { reason: error }
    if (rateLimitWaitOf(error) !== null) work.wait = failure
    return failure
  }
}

/** @returns the promotion code's id, or null when Stripe refused it. @throws AppError `stripe_…` */
async function createPromotionCode(work: Work, voucher: PendingVoucher): Promise<string | null> {
  const { context, stripe, ref, publication } = work
  const { voucher_id: id, code } = voucher
  const { coupon_id: coupon } = publication
  const params = createParams(work, voucher)
  const requestedAt = await databaseNow(context.db)
  const outcome = await makeRecorded<Stripe.PromotionCode>(context.db, ref, {
    async noteRequest(trx) {
      const { attempt, askedBefore } = await notePublishedVoucher(trx, ref.conferenceId, id)
      return { idempotencyKey: `${publication.id}:${id}:${attempt}`, askedBefore }
    },
    send: (options) => stripe.promotionCodes.create(params, options),
    async find() {
      const page = await fetchOrNull(() => stripe.promotionCodes.list({ code, coupon }))
      const found = page?.data.find(({ metadata }) => metadata?.['voucher'] === String(id))
      return found === undefined ? null : stripe.promotionCodes.retrieve(found.id)
    },
    // Save our row first: the mirror counts the uses of saved ids only.
    saveMade: (trx, made) =>
      savePublishedVoucher(trx, ref.conferenceId, id, {
        promotion_code_id: made.id,
        is_on: made.active,
      }),
    saveRefusal: (trx, error) => savePublishedVoucher(trx, ref.conferenceId, id, { error }),
    renewKey: (trx) => startNextVoucherAttempt(trx, ref.conferenceId, id),
  })
  if (outcome.kind === 'refused') return null
  await mirrorAnswer(new StripePromotionCodeAction(context), outcome.object, requestedAt)
  return outcome.object.id
}

function createParams(
  { ref, publication }: Work,
  { voucher_id: id, code, max_redemptions }: PendingVoucher,
): Stripe.PromotionCodeCreateParams {
  return {
    promotion: { type: 'coupon', coupon: publication.coupon_id },
    code,
    max_redemptions,
    ...(publication.expires_at === null
      ? {}
      : { expires_at: toUnixSeconds(publication.expires_at) }),
    metadata: {
      conference_id: ref.conferenceId,
      voucher_batch: ref.batchId,
      voucher: String(id),
    },
  }
}

/**
 * Activates or deactivates a promotion code as its voucher demands.
 *
 * @throws AppError `stripe_…`, also when Stripe refuses a deactivation: it must be retried.
 */
async function switchPromotionCode(
  { context, stripe, ref }: Work,
  { voucher_id: voucher, should_be_active: active }: PendingVoucher,
  id: string,
): Promise<void> {
  // `is_on` is what we requested, not what Stripe shows: otherwise a code that Stripe does not activate
  // would be retried forever.
  const save = (trx: Tx) =>
    savePublishedVoucher(trx, ref.conferenceId, voucher, { promotion_code_id: id, is_on: active })
  const requestedAt = await databaseNow(context.db)
  // Not a key of the row: Stripe would replay the response to an earlier change.
  let idempotencyKey = newChangeId()
  const outcome = await makeRecorded<Stripe.PromotionCode>(context.db, ref, {
    async noteRequest(trx) {
      const { askedBefore } = await notePublishedVoucher(trx, ref.conferenceId, voucher)
      return { idempotencyKey, askedBefore }
    },
    send: (options) => stripe.promotionCodes.update(id, { active }, options),
    async find() {
      const found = await fetchOrNull(() => stripe.promotionCodes.retrieve(id))
      return found?.active === active ? found : null
    },
    saveMade: save,
    saveRefusal: (trx, error) => savePublishedVoucher(trx, ref.conferenceId, voucher, { error }),
    renewKey: async () => {
      idempotencyKey = newChangeId()
    },
  })
  if (outcome.kind === 'made') {
    await mirrorAnswer(new StripePromotionCodeAction(context), outcome.object, requestedAt)
  } else if (!active && outcome.code === 'resource_missing') {
    // Deleted in the dashboard, together with its coupon: it cannot be used any more.
    await withTenant(context.db, ref, save)
  } else if (!active) {
    throw new AppError(
      'stripe_refused',
      `Stripe refused to deactivate a promotion code: ${outcome.message}`,
    )
  }
}

const PAGE_SIZE = 100

/**
 * Fetches the promotion codes of published vouchers with remaining uses, one list per batch, because
 * Stripe sends no event when a code is used. It also adds the align job again for batches whose job
 * failed for good.
 *
 * @throws AppError `stripe_unavailable`, `stripe_failed`, `stripe_key_missing`.
 */
export async function refreshPublishedVouchers(
  deps: BillingDeps,
  conferenceId: string,
  signal?: AbortSignal,
): Promise<void> {
  const { db, logger } = deps
  const coupons = await withTenant(db, { conferenceId }, async (trx) => {
    for (const batch_id of await batchesWithPendingChanges(trx, conferenceId)) {
      await addJob(trx, 'align_promotion_codes', { conference_id: conferenceId, batch_id })
    }
    return couponsInUse(trx, conferenceId)
  })
  for (const coupon of coupons) {
    try {
      await refreshCodes(deps, conferenceId, coupon, signal)
    } catch (error) {
      // For example, the coupon was deleted in the dashboard; its codes cannot be used any more.
      if (!(error instanceof AppError && error.code === 'stripe_refused')) throw error
      logger.info(
        { conference: conferenceId, coupon },
        'Stripe refused to list the promotion codes of a coupon',
      )
    }
  }
}

async function refreshCodes(
  { db, clients, logger }: BillingDeps,
  conferenceId: string,
  coupon: string,
  signal?: AbortSignal,
): Promise<void> {
  const connect = () => clients.background(conferenceId, signal)
  const action = new StripePromotionCodeAction({ db, conferenceId, connect, logger })
  const { stripe } = await connect()
  let after: string | undefined
  do {
    const requestedAt = await databaseNow(db)
    const from = after === undefined ? {} : { starting_after: after }
    const page = await callStripe(async () =>
      stripe.promotionCodes.list({ coupon, limit: PAGE_SIZE, ...from }),
    )
    await action.syncBatch(page.data, requestedAt)
    after = page.has_more ? page.data.at(-1)?.id : undefined
  } while (after !== undefined)
}

/** Coupons of publications in which a code has remaining uses. */
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

async function batchesWithPendingChanges(trx: Tx, conferenceId: string): Promise<string[]> {
  const { rows } = await trx.raw<{ rows: { batch_id: string }[] }>(
    `select distinct v.batch_id from ${FROM_PUBLISHED}
     where p.conference_id = :conferenceId and ${HAS_PENDING_CHANGE}
       and not exists (
         select from graphile_worker.jobs j
         where j.key = 'align_promotion_codes:' || v.batch_id
           and (j.attempts < j.max_attempts or j.locked_at is not null))`,
    { conferenceId },
  )
  return rows.map(({ batch_id }) => batch_id)
}
