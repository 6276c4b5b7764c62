import { customAlphabet } from 'nanoid'
import type Stripe from 'stripe'
import type { Tx } from '../../db/connect.ts'
import { StripeCouponAction } from '../../mirror/resources/coupon-resource.ts'
import { StripeCustomerAction } from '../../mirror/resources/customer-resource.ts'
import {
  resource,
  StripePromotionCodeAction,
} from '../../mirror/resources/promotion-code-resource.ts'
import type { SyncContext } from '../../mirror/stripe-resource.ts'
import { AppError, invalidField, notFound } from '../../shared/errors.ts'
import { fetchOrNull } from '../../stripe/stripe-errors.ts'
import { type BillingDeps, mirrorAnswer, mirrorContext } from '../billing-deps.ts'
import { toStripeMetadata } from '../metadata.ts'
import {
  assertMirrored,
  type ChangeOperation,
  type DiscountChange,
  fetchForChange,
  newChangeId,
  type Requester,
  recordChange,
  runChange,
  showsChange,
} from './discount-change.ts'
import type { CreatePromotionCodeInput, UpdatePromotionCodeInput } from './discount-schemas.ts'
import { endProblem, toStripeMoney, toUnixSeconds } from './stripe-discount-values.ts'

// Without 0, O, 1 and I, which people confuse. We choose the code, so that we can look it up when the
// outcome of its creation is unknown.
const randomCode = customAlphabet('23456789ABCDEFGHJKLMNPQRSTUVWXYZ', 8)

type CreateParams = Stripe.PromotionCodeCreateParams

/**
 * Records the promotion code's creation before the request is sent to Stripe.
 *
 * @returns the change's id.
 * @throws AppError `validation_failed` when `expires_at` is too early or too late.
 */
export async function beginCreatePromotionCode(
  trx: Tx,
  requester: Requester,
  input: CreatePromotionCodeInput,
  now: Date,
): Promise<string> {
  const problem = input.expires_at === undefined ? null : endProblem(input.expires_at, now)
  if (problem !== null) throw invalidField('/expires_at', problem)
  const id = newChangeId()
  const ours = { conference_id: requester.conferenceId, discount_change: id }
  const params: CreateParams = {
    promotion: { type: 'coupon', coupon: input.coupon },
    code: input.code ?? randomCode(),
    active: input.active,
    ...(input.customer === undefined ? {} : { customer: input.customer }),
    ...(input.expires_at === undefined ? {} : { expires_at: toUnixSeconds(input.expires_at) }),
    ...(input.max_redemptions === undefined ? {} : { max_redemptions: input.max_redemptions }),
    ...restrictionsOf(input),
    metadata: { ...input.metadata, ...ours },
  }
  return recordChange(trx, requester, {
    id,
    kind: 'promotion_code',
    action: 'create',
    object_id: null,
    params,
  })
}

function restrictionsOf({ restrictions }: CreatePromotionCodeInput): Partial<CreateParams> {
  if (restrictions === undefined) return {}
  const { minimum_amount: minimum, minimum_amount_currency: currency, ...rest } = restrictions
  const money =
    minimum === undefined || currency === undefined ? null : toStripeMoney(minimum, currency)
  return {
    restrictions: {
      ...(rest.first_time_transaction === undefined
        ? {}
        : { first_time_transaction: rest.first_time_transaction }),
      ...(money === null
        ? {}
        : { minimum_amount: money.amount, minimum_amount_currency: money.currency }),
    },
  }
}

type Work = {
  context: SyncContext
  stripe: Stripe
  action: StripePromotionCodeAction
  change: DiscountChange
}

/**
 * Runs a recorded change of a promotion code. It may be repeated after a crash or an unknown outcome.
 *
 * @returns Stripe's id of the promotion code.
 * @throws AppError `validation_failed` for a coupon or customer of another conference, and for limits
 *   beyond those of the coupon; `not_found`, also for another conference's code; `wrong_state` for
 *   activating or deactivating the code of a voucher; `stripe_refused`, for example for activating an
 *   expired code; `stripe_…`
 */
export async function runPromotionCodeChange(
  deps: BillingDeps,
  conferenceId: string,
  change: DiscountChange,
): Promise<string> {
  const context = mirrorContext(deps, conferenceId)
  const { stripe } = await context.connect()
  const work = { context, stripe, action: new StripePromotionCodeAction(context), change }
  const operation = change.action === 'create' ? creationOf(work) : updateOf(work)
  return runChange(deps, conferenceId, change, operation)
}

function creationOf({
  context,
  stripe,
  action,
  change,
}: Work): ChangeOperation<Stripe.PromotionCode> {
  // From `beginCreatePromotionCode`, loaded from the database.
  const params = change.params as unknown as CreateParams
  return {
    async check() {
      await assertWithinCoupon(context, params)
      await assertCustomer(context, params)
    },
    send: (options) => stripe.promotionCodes.create(params, options),
    find: () => findCreated(stripe, params, change.id),
    mirror: (code, requestedAt) => mirrorAnswer(action, code, requestedAt),
  }
}

async function assertWithinCoupon(context: SyncContext, params: CreateParams): Promise<void> {
  const id = params.promotion.coupon ?? ''
  const coupon = await fetchForChange(new StripeCouponAction(context), id)
  if (coupon === null) throw invalidField('/coupon', 'is not a coupon of this conference')
  const { redeem_by: end, max_redemptions: most } = coupon
  if (end !== null && (params.expires_at ?? 0) > end) {
    throw invalidField('/expires_at', "must not be after the coupon's redeem_by")
  }
  if (most !== null && (params.max_redemptions ?? 0) > most) {
    throw invalidField('/max_redemptions', `must be at most the coupon's ${most}`)
  }
}

async function assertCustomer(context: SyncContext, { customer }: CreateParams): Promise<void> {
  if (customer === undefined) return
  if ((await fetchForChange(new StripeCustomerAction(context), customer)) === null) {
    throw invalidField('/customer', 'is not a Stripe customer of this conference')
  }
}

async function findCreated(stripe: Stripe, { code, promotion }: CreateParams, changeId: string) {
  const { coupon } = promotion
  if (code === undefined || coupon === undefined) return null
  const page = await fetchOrNull(() => stripe.promotionCodes.list({ code, coupon, limit: 100 }))
  const found = page?.data.find(({ metadata }) => metadata?.['discount_change'] === changeId)
  return found === undefined ? null : stripe.promotionCodes.retrieve(found.id)
}

/**
 * Records the change before the request is sent to Stripe.
 *
 * @returns the change's id.
 * @throws AppError `not_found` when the mirror does not have the object.
 */
export async function beginUpdatePromotionCode(
  trx: Tx,
  requester: Requester,
  id: string,
  { active, metadata }: UpdatePromotionCodeInput,
): Promise<string> {
  await assertMirrored(trx, requester.conferenceId, resource, id)
  const params: Stripe.PromotionCodeUpdateParams = {
    ...(active === undefined ? {} : { active }),
    ...(metadata === undefined ? {} : { metadata: toStripeMetadata(metadata) }),
  }
  return recordChange(trx, requester, {
    kind: 'promotion_code',
    action: 'update',
    object_id: id,
    params,
  })
}

function updateOf({ stripe, action, change }: Work): ChangeOperation<Stripe.PromotionCode> {
  const id = change.object_id ?? ''
  const { params } = change
  return {
    async check() {
      const promotionCode = await fetchForChange(action, id)
      if (promotionCode === null) throw notFound('promotion code')
      // It follows its voucher. Otherwise a code that was refunded could be activated here.
      if ('active' in params && promotionCode.metadata?.['voucher_batch'] !== undefined) {
        throw new AppError(
          'wrong_state',
          'This promotion code belongs to a voucher. Deactivate or activate the voucher instead.',
        )
      }
    },
    send: (options) => stripe.promotionCodes.update(id, params, options),
    async find() {
      const found = await fetchOrNull(() => stripe.promotionCodes.retrieve(id))
      return found !== null && showsChange(params, found) ? found : null
    },
    mirror: (code, requestedAt) => mirrorAnswer(action, code, requestedAt),
  }
}
