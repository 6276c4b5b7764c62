import type Stripe from 'stripe'
import type { Tx } from '../../../db/connect.ts'
import { AppError, invalidField, notFound } from '../../../shared/errors.ts'
import { isStoredError } from '../../checkout.ts'
import { isMissing, refusalMessage, toAppError } from '../../stripe-errors.ts'
import { readingTime } from '../../sync/reading-time.ts'
import { COUPON_EXPANSIONS, resource, StripeCouponAction } from '../../sync/resources/coupons.ts'
import type { UpdateCouponInput } from './coupon-schemas.ts'
import { toStripeOptions } from './create-coupon.ts'
import { type Asker, beginChange, finishChange } from './discount-change.ts'
import { toStripeMetadata } from './discount-fields.ts'
import {
  assertMirrored,
  type DiscountDeps,
  promptContext,
  readForChange,
  storeAnswer,
} from './mirrored-answer.ts'

/**
 * Writes down what is to be changed, before Stripe is asked.
 *
 * @returns the change's id.
 * @throws AppError `not_found` for what the mirror does not have.
 */
export async function beginUpdateCoupon(
  trx: Tx,
  asker: Asker,
  id: string,
  { name, metadata, currency_options: options }: UpdateCouponInput,
): Promise<string> {
  await assertMirrored(trx, asker.conferenceId, resource, id)
  const params: Stripe.CouponUpdateParams = {
    ...(name === undefined ? {} : { name: name ?? '' }),
    ...(metadata === undefined ? {} : { metadata: toStripeMetadata(metadata) }),
    ...(options === undefined ? {} : { currency_options: toStripeOptions(options) }),
  }
  return beginChange(trx, asker, { kind: 'coupon', action: 'update', object_id: id, params })
}

/**
 * Changes the coupon at Stripe and in the mirror. May be repeated after an unknown outcome.
 *
 * @returns the coupon's id.
 * @throws AppError `not_found`, also for another conference's; `validation_failed`, `stripe_…`.
 */
export function finishUpdateCoupon(
  deps: DiscountDeps,
  conferenceId: string,
  changeId: string,
): Promise<string> {
  return finishChange(deps.db, conferenceId, changeId, async (change) => {
    const id = change.object_id ?? ''
    const action = new StripeCouponAction(promptContext(deps, conferenceId))
    const coupon = await readForChange(action, id)
    if (coupon === null) throw notFound('coupon')
    // What `beginUpdateCoupon` made, by way of the database.
    const params: Stripe.CouponUpdateParams = change.params
    assertCurrencies(coupon, params)
    const { stripe } = await deps.clients.connect(conferenceId)
    const readAt = await readingTime(deps.db)
    const answer = await updateAtStripe(stripe, id, params, changeId)
    if (answer === null) {
      await action.softDelete(id, readAt)
      throw notFound('coupon')
    }
    await storeAnswer(action, answer, readAt)
    return id
  })
}

function assertCurrencies(coupon: Stripe.Coupon, params: Stripe.CouponUpdateParams): void {
  const currencies = Object.keys(params.currency_options ?? {})
  if (currencies.length === 0) return
  if (coupon.amount_off === null) {
    throw invalidField('/currency_options', 'is for coupons with amount_off only')
  }
  if (coupon.currency !== null && currencies.includes(coupon.currency)) {
    throw invalidField(
      `/currency_options/${coupon.currency.toUpperCase()}`,
      "is the coupon's own currency, whose amount cannot be changed",
    )
  }
}

/** Null when the coupon is gone. */
async function updateAtStripe(
  stripe: Stripe,
  id: string,
  params: Stripe.CouponUpdateParams,
  idempotencyKey: string,
): Promise<Stripe.Response<Stripe.Coupon> | null> {
  const expand = [...COUPON_EXPANSIONS]
  try {
    return await stripe.coupons.update(id, { ...params, expand }, { idempotencyKey })
  } catch (error) {
    if (isMissing(error)) return null
    // The same key can never end otherwise; whoever asks again gets a new one.
    if (isStoredError(error)) throw new AppError('stripe_refused', refusalMessage(error))
    throw toAppError(error)
  }
}
