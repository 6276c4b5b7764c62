import { customAlphabet } from 'nanoid'
import type Stripe from 'stripe'
import type { Tx } from '../../db/connect.ts'
import { databaseNow } from '../../mirror/fetch-time.ts'
import { StripeCouponAction } from '../../mirror/resources/coupon-resource.ts'
import { StripeCustomerAction } from '../../mirror/resources/customer-resource.ts'
import {
  resource,
  StripePromotionCodeAction,
} from '../../mirror/resources/promotion-code-resource.ts'
import type { SyncContext } from '../../mirror/stripe-resource.ts'
import { AppError, invalidField, notFound } from '../../shared/errors.ts'
import {
  callStripe,
  isRefusal,
  isStoredError,
  refusalMessage,
  toAppError,
} from '../../stripe/stripe-errors.ts'
import {
  assertMirrored,
  type DiscountDeps,
  fetchForChange,
  interactiveSyncContext,
  mirrorAnswer,
  newChangeId,
  type Requester,
  recordChange,
  runChange,
} from './discount-change.ts'
import {
  type CreatePromotionCodeInput,
  endProblem,
  toStripeMetadata,
  toStripeMoney,
  toUnixSeconds,
  type UpdatePromotionCodeInput,
} from './discount-schemas.ts'

// Without 0, O, 1 and I, which people mistake. We choose it ourselves, so that a code can be found
// again when we do not know whether Stripe made it.
const randomCode = customAlphabet('23456789ABCDEFGHJKLMNPQRSTUVWXYZ', 8)

type CreateParams = Stripe.PromotionCodeCreateParams

/**
 * Writes down the promotion code that is to be made, before Stripe is asked.
 *
 * @returns the change's id.
 * @throws AppError `validation_failed` for an end that is too early or too late.
 */
export async function beginCreatePromotionCode(
  trx: Tx,
  asker: Requester,
  input: CreatePromotionCodeInput,
  now: Date,
): Promise<string> {
  const problem = input.expires_at === undefined ? null : endProblem(input.expires_at, now)
  if (problem !== null) throw invalidField('/expires_at', problem)
  const id = newChangeId()
  const ours = { conference_id: asker.conferenceId, discount_change: id }
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
  return recordChange(trx, asker, {
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

/**
 * Makes the promotion code at Stripe and in the mirror. May be repeated after a crash or an unknown
 * outcome: it makes one.
 *
 * @returns Stripe's id of it.
 * @throws AppError `validation_failed` for a coupon or customer that is not this conference's, and
 * for what reaches further than the coupon; `stripe_…`.
 */
export function finishCreatePromotionCode(
  deps: DiscountDeps,
  conferenceId: string,
  changeId: string,
): Promise<string> {
  return runChange(deps.db, conferenceId, changeId, async (change) => {
    // What `beginCreatePromotionCode` made, by way of the database.
    const params = change.params as unknown as CreateParams
    const context = interactiveSyncContext(deps, conferenceId)
    await assertWithinCoupon(context, params)
    await assertCustomer(context, params)
    const { stripe } = await context.connect()
    const readAt = await databaseNow(deps.db)
    const made = await makePromotionCode(stripe, changeId, params)
    await mirrorAnswer(new StripePromotionCodeAction(context), made, readAt)
    return made.id
  })
}

async function assertWithinCoupon(context: SyncContext, params: CreateParams): Promise<void> {
  const id = params.promotion.coupon ?? ''
  const coupon = await fetchForChange(new StripeCouponAction(context), id)
  if (coupon === null) throw invalidField('/coupon', 'is no coupon of this conference')
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
    throw invalidField('/customer', 'is no customer of this conference at Stripe')
  }
}

async function makePromotionCode(
  stripe: Stripe,
  changeId: string,
  params: CreateParams,
): Promise<Stripe.Response<Stripe.PromotionCode>> {
  try {
    return await stripe.promotionCodes.create(params, { idempotencyKey: changeId })
  } catch (error) {
    if (!isStoredError(error) && !isRefusal(error)) throw toAppError(error)
    // Stripe keeps a key for a day. After that, or behind an error that it repeats, the code may be
    // there all the same: it is what makes Stripe refuse a second one that reads the same.
    const found = await callStripe(() => findMade(stripe, params, changeId))
    if (found !== null) return found
    if (isStoredError(error)) throw new AppError('stripe_refused', refusalMessage(error))
    throw toAppError(error)
  }
}

async function findMade(stripe: Stripe, { code, promotion }: CreateParams, changeId: string) {
  if (code === undefined || promotion.coupon === undefined) return null
  const { data } = await stripe.promotionCodes.list({ code, coupon: promotion.coupon, limit: 100 })
  const found = data.find(({ metadata }) => metadata?.['discount_change'] === changeId)
  return found === undefined ? null : stripe.promotionCodes.retrieve(found.id)
}

/**
 * Writes down what is to be changed, before Stripe is asked.
 *
 * @returns the change's id.
 * @throws AppError `not_found` for what the mirror does not have.
 */
export async function beginUpdatePromotionCode(
  trx: Tx,
  asker: Requester,
  id: string,
  { active, metadata }: UpdatePromotionCodeInput,
): Promise<string> {
  await assertMirrored(trx, asker.conferenceId, resource, id)
  const params: Stripe.PromotionCodeUpdateParams = {
    ...(active === undefined ? {} : { active }),
    ...(metadata === undefined ? {} : { metadata: toStripeMetadata(metadata) }),
  }
  return recordChange(trx, asker, {
    kind: 'promotion_code',
    action: 'update',
    object_id: id,
    params,
  })
}

/**
 * Changes the promotion code at Stripe and in the mirror. May be repeated after an unknown outcome.
 *
 * @returns Stripe's id of it.
 * @throws AppError `not_found`, also for another conference's; `wrong_state` for turning the code of a
 * voucher off or on; `stripe_refused`, such as for turning on what has expired; `stripe_…`.
 */
export function finishUpdatePromotionCode(
  deps: DiscountDeps,
  conferenceId: string,
  changeId: string,
): Promise<string> {
  return runChange(deps.db, conferenceId, changeId, async (change) => {
    const id = change.object_id ?? ''
    const action = new StripePromotionCodeAction(interactiveSyncContext(deps, conferenceId))
    const known = await fetchForChange(action, id)
    if (known === null) throw notFound('promotion code')
    // It follows its voucher: on by itself, a code that was paid back could be used.
    if ('active' in change.params && known.metadata?.['voucher_batch'] !== undefined) {
      throw new AppError(
        'wrong_state',
        'It is the promotion code of a voucher: deactivate or activate the voucher instead.',
      )
    }
    const { stripe } = await deps.clients.connect(conferenceId)
    const readAt = await databaseNow(deps.db)
    const answer = await updateAtStripe(stripe, id, change.params, changeId)
    await mirrorAnswer(action, answer, readAt)
    return id
  })
}

async function updateAtStripe(
  stripe: Stripe,
  id: string,
  params: Stripe.PromotionCodeUpdateParams,
  idempotencyKey: string,
): Promise<Stripe.Response<Stripe.PromotionCode>> {
  try {
    return await stripe.promotionCodes.update(id, params, { idempotencyKey })
  } catch (error) {
    // The same key can never end otherwise; whoever asks again gets a new one.
    if (isStoredError(error)) throw new AppError('stripe_refused', refusalMessage(error))
    throw toAppError(error)
  }
}
