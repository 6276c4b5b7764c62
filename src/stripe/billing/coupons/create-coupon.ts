import { customAlphabet } from 'nanoid'
import Stripe from 'stripe'
import type { Tx } from '../../../db/connect.ts'
import { AppError, invalidField } from '../../../shared/errors.ts'
import { isStoredError } from '../../checkout.ts'
import { orNull, refusalMessage, toAppError } from '../../stripe-errors.ts'
import { findMirrored } from '../../sync/mirror-store.ts'
import { readingTime } from '../../sync/reading-time.ts'
import { COUPON_EXPANSIONS, resource, StripeCouponAction } from '../../sync/resources/coupons.ts'
import type { CreateCouponInput } from './coupon-schemas.ts'
import { type Asker, beginChange, finishChange, newChangeId } from './discount-change.ts'
import { endProblem, toSeconds, toStripeMoney } from './discount-fields.ts'
import { type DiscountDeps, promptContext, storeAnswer } from './mirrored-answer.ts'

// As Stripe makes them. We choose it ourselves, so that a coupon can be found again when we do not
// know whether Stripe made it.
export const randomCouponId = customAlphabet(
  '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz',
  8,
)

/**
 * Writes down the coupon that is to be made, before Stripe is asked.
 *
 * @returns the change's id.
 * @throws AppError `already_exists` for an id in use, `validation_failed` for an end that is too
 * early or too late.
 */
export async function beginCreateCoupon(
  trx: Tx,
  asker: Asker,
  input: CreateCouponInput,
  now: Date,
): Promise<string> {
  const problem = input.redeem_by === undefined ? null : endProblem(input.redeem_by, now)
  if (problem !== null) throw invalidField('/redeem_by', problem)
  const couponId = input.id ?? randomCouponId()
  const known = await findMirrored(trx, resource, asker.conferenceId, couponId)
  if (known?.deleted_at === null) throw idTaken(couponId)
  const id = newChangeId()
  const ours = { conference_id: asker.conferenceId, discount_change: id }
  const params = { ...couponParams(input), id: couponId, metadata: { ...input.metadata, ...ours } }
  return beginChange(trx, asker, {
    id,
    kind: 'coupon',
    action: 'create',
    object_id: couponId,
    params,
  })
}

function couponParams(input: CreateCouponInput): Stripe.CouponCreateParams {
  const { amount_off: amount, currency, redeem_by: end, currency_options: options } = input
  const money =
    amount === undefined || currency === undefined ? null : toStripeMoney(amount, currency)
  return {
    duration: input.duration,
    ...(money === null ? {} : { amount_off: money.amount, currency: money.currency }),
    ...(options === undefined ? {} : { currency_options: toStripeOptions(options) }),
    ...(input.percent_off === undefined ? {} : { percent_off: input.percent_off }),
    ...(input.duration_in_months === undefined
      ? {}
      : { duration_in_months: input.duration_in_months }),
    ...(input.max_redemptions === undefined ? {} : { max_redemptions: input.max_redemptions }),
    ...(end === undefined ? {} : { redeem_by: toSeconds(end) }),
    ...(input.name === undefined ? {} : { name: input.name }),
    ...(input.applies_to === undefined ? {} : { applies_to: input.applies_to }),
  }
}

/** Amounts in further currencies as Stripe takes them. */
export function toStripeOptions(options: NonNullable<CreateCouponInput['currency_options']>) {
  return Object.fromEntries(
    Object.entries(options).map(([key, { amount_off: off }]) => {
      const { amount, currency } = toStripeMoney(off, key.toUpperCase())
      return [currency, { amount_off: amount }]
    }),
  )
}

function idTaken(id: string): AppError {
  const detail = `There is a coupon ${id} already.`
  return new AppError('already_exists', detail, { errors: [{ pointer: '/id', detail }] })
}

/**
 * Makes the coupon at Stripe and in the mirror. May be repeated after a crash or an unknown outcome:
 * it makes one coupon.
 *
 * @returns the coupon's id.
 * @throws AppError `already_exists`, `stripe_refused`; `stripe_unavailable`, `stripe_failed` after an
 * unknown outcome.
 */
export function finishCreateCoupon(
  deps: DiscountDeps,
  conferenceId: string,
  changeId: string,
): Promise<string> {
  return finishChange(deps.db, conferenceId, changeId, async ({ params }) => {
    const { stripe } = await deps.clients.connect(conferenceId)
    const readAt = await readingTime(deps.db)
    const coupon = await makeCoupon(stripe, changeId, params)
    await storeAnswer(new StripeCouponAction(promptContext(deps, conferenceId)), coupon, readAt)
    return coupon.id
  })
}

async function makeCoupon(
  stripe: Stripe,
  changeId: string,
  // What `couponParams` made, by way of the database.
  params: Stripe.CouponCreateParams,
): Promise<Stripe.Response<Stripe.Coupon>> {
  const expand = [...COUPON_EXPANSIONS]
  try {
    return await stripe.coupons.create({ ...params, expand }, { idempotencyKey: changeId })
  } catch (error) {
    const isTaken = isTakenId(error)
    if (!isTaken && !isStoredError(error)) throw toAppError(error)
    // Stripe keeps a key for a day; after that, or behind an error that it repeats, the coupon may
    // be there all the same, and it says whose it is.
    const id = params.id ?? ''
    const found = await orNull(() => stripe.coupons.retrieve(id, { expand }))
    if (found?.metadata?.['discount_change'] === changeId) return found
    throw isTaken ? idTaken(id) : new AppError('stripe_refused', refusalMessage(error))
  }
}

function isTakenId(error: unknown): error is Stripe.errors.StripeError {
  return error instanceof Stripe.errors.StripeError && error.code === 'resource_already_exists'
}
