import { customAlphabet } from 'nanoid'
import Stripe from 'stripe'
import type { Tx } from '../../db/connect.ts'
import { databaseNow } from '../../mirror/fetch-time.ts'
import { findMirroredObject } from '../../mirror/mirror-store.ts'
import {
  COUPON_EXPANSIONS,
  resource,
  StripeCouponAction,
} from '../../mirror/resources/coupon-resource.ts'
import { AppError, invalidField, notFound } from '../../shared/errors.ts'
import {
  fetchOrNull,
  isMissing,
  isStoredError,
  refusalMessage,
  toAppError,
} from '../../stripe/stripe-errors.ts'
import {
  assertMirrored,
  type DiscountDeps,
  fetchForChange,
  findMirrorRow,
  interactiveSyncContext,
  mirrorAnswer,
  mirrorDeletion,
  newChangeId,
  type Requester,
  recordChange,
  runChange,
} from './discount-change.ts'
import {
  type CreateCouponInput,
  endProblem,
  toStripeMetadata,
  toStripeMoney,
  toUnixSeconds,
  type UpdateCouponInput,
} from './discount-schemas.ts'

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
  asker: Requester,
  input: CreateCouponInput,
  now: Date,
): Promise<string> {
  const problem = input.redeem_by === undefined ? null : endProblem(input.redeem_by, now)
  if (problem !== null) throw invalidField('/redeem_by', problem)
  const couponId = input.id ?? randomCouponId()
  const known = await findMirroredObject(trx, resource, asker.conferenceId, couponId)
  if (known?.deleted_at === null) throw idTaken(couponId)
  const id = newChangeId()
  const ours = { conference_id: asker.conferenceId, discount_change: id }
  const params = { ...couponParams(input), id: couponId, metadata: { ...input.metadata, ...ours } }
  return recordChange(trx, asker, {
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
    ...(end === undefined ? {} : { redeem_by: toUnixSeconds(end) }),
    ...(input.name === undefined ? {} : { name: input.name }),
    ...(input.applies_to === undefined ? {} : { applies_to: input.applies_to }),
  }
}

/** Amounts in further currencies as Stripe takes them. */
function toStripeOptions(options: NonNullable<CreateCouponInput['currency_options']>) {
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
  return runChange(deps.db, conferenceId, changeId, async ({ params }) => {
    const { stripe } = await deps.clients.connect(conferenceId)
    const readAt = await databaseNow(deps.db)
    const coupon = await makeCoupon(stripe, changeId, params)
    await mirrorAnswer(
      new StripeCouponAction(interactiveSyncContext(deps, conferenceId)),
      coupon,
      readAt,
    )
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
    const found = await fetchOrNull(() => stripe.coupons.retrieve(id, { expand }))
    if (found?.metadata?.['discount_change'] === changeId) return found
    throw isTaken ? idTaken(id) : new AppError('stripe_refused', refusalMessage(error))
  }
}

function isTakenId(error: unknown): error is Stripe.errors.StripeError {
  return error instanceof Stripe.errors.StripeError && error.code === 'resource_already_exists'
}

/**
 * Writes down what is to be changed, before Stripe is asked.
 *
 * @returns the change's id.
 * @throws AppError `not_found` for what the mirror does not have.
 */
export async function beginUpdateCoupon(
  trx: Tx,
  asker: Requester,
  id: string,
  { name, metadata, currency_options: options }: UpdateCouponInput,
): Promise<string> {
  await assertMirrored(trx, asker.conferenceId, resource, id)
  const params: Stripe.CouponUpdateParams = {
    ...(name === undefined ? {} : { name: name ?? '' }),
    ...(metadata === undefined ? {} : { metadata: toStripeMetadata(metadata) }),
    ...(options === undefined ? {} : { currency_options: toStripeOptions(options) }),
  }
  return recordChange(trx, asker, { kind: 'coupon', action: 'update', object_id: id, params })
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
  return runChange(deps.db, conferenceId, changeId, async (change) => {
    const id = change.object_id ?? ''
    const action = new StripeCouponAction(interactiveSyncContext(deps, conferenceId))
    const coupon = await fetchForChange(action, id)
    if (coupon === null) throw notFound('coupon')
    // What `beginUpdateCoupon` made, by way of the database.
    const params: Stripe.CouponUpdateParams = change.params
    assertCurrencies(coupon, params)
    const { stripe } = await deps.clients.connect(conferenceId)
    const readAt = await databaseNow(deps.db)
    const answer = await updateAtStripe(stripe, id, params, changeId)
    if (answer === null) {
      await action.softDelete(id, readAt)
      throw notFound('coupon')
    }
    await mirrorAnswer(action, answer, readAt)
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

/**
 * Writes down that the coupon is to go, before Stripe is asked.
 *
 * @returns the change's id.
 * @throws AppError `not_found` for what the mirror does not have.
 */
export async function beginDeleteCoupon(trx: Tx, asker: Requester, id: string): Promise<string> {
  await assertMirrored(trx, asker.conferenceId, resource, id)
  return recordChange(trx, asker, { kind: 'coupon', action: 'delete', object_id: id, params: {} })
}

/**
 * Deletes the coupon at Stripe; what stays here is a tombstone. One that is deleted already stays
 * as it is.
 *
 * @returns the coupon's id.
 * @throws AppError `not_found` for one that never was here, and for another conference's; `wrong_state`
 * for that of published vouchers; `stripe_…`.
 */
export function finishDeleteCoupon(
  deps: DiscountDeps,
  conferenceId: string,
  changeId: string,
): Promise<string> {
  return runChange(deps.db, conferenceId, changeId, async (change) => {
    const id = change.object_id ?? ''
    const action = new StripeCouponAction(interactiveSyncContext(deps, conferenceId))
    // Never by its id alone: under it may stand another conference's by now.
    const coupon = await fetchForChange(action, id)
    if (coupon === null) {
      const left = await findMirrorRow(action, id)
      if (left === null || left.deleted_at === null) throw notFound('coupon')
      return id
    }
    // For good: Stripe brings neither back, and the codes may be paid for.
    if (coupon.metadata?.['voucher_batch'] !== undefined) {
      throw new AppError(
        'wrong_state',
        'Published vouchers stand for this coupon: deactivate the vouchers instead.',
      )
    }
    const { stripe } = await deps.clients.connect(conferenceId)
    const readAt = await databaseNow(deps.db)
    await fetchOrNull(() => stripe.coupons.del(id))
    await mirrorDeletion(action, id, readAt)
    return id
  })
}
