import { customAlphabet } from 'nanoid'
import type Stripe from 'stripe'
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
  isTakenId,
  refusalMessage,
  toAppError,
} from '../../stripe/stripe-errors.ts'
import { type BillingDeps, mirrorAnswer, mirrorContext } from '../billing-deps.ts'
import { toStripeMetadata } from '../metadata.ts'
import {
  assertMirrored,
  fetchForChange,
  findMirrorRow,
  mirrorDeletion,
  newChangeId,
  type Requester,
  recordChange,
  runChange,
} from './discount-change.ts'
import type { CreateCouponInput, UpdateCouponInput } from './discount-schemas.ts'
import { endProblem, toStripeMoney, toUnixSeconds } from './stripe-discount-values.ts'

// The format of Stripe's own ids. We choose the id, so that we can look the coupon up when the outcome
// of its creation is unknown.
export const randomCouponId = customAlphabet(
  '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz',
  8,
)

/**
 * Records the coupon's creation before the request is sent to Stripe.
 *
 * @returns the change's id.
 * @throws AppError `already_exists` for an id in use; `validation_failed` when `redeem_by` is too early
 * or too late.
 */
export async function beginCreateCoupon(
  trx: Tx,
  requester: Requester,
  input: CreateCouponInput,
  now: Date,
): Promise<string> {
  const problem = input.redeem_by === undefined ? null : endProblem(input.redeem_by, now)
  if (problem !== null) throw invalidField('/redeem_by', problem)
  const couponId = input.id ?? randomCouponId()
  const known = await findMirroredObject(trx, resource, requester.conferenceId, couponId)
  if (known?.deleted_at === null) throw idTaken(couponId)
  const id = newChangeId()
  const ours = { conference_id: requester.conferenceId, discount_change: id }
  const params = { ...couponParams(input), id: couponId, metadata: { ...input.metadata, ...ours } }
  return recordChange(trx, requester, {
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

/** The discount in other currencies, in Stripe's format. */
function toStripeOptions(options: NonNullable<CreateCouponInput['currency_options']>) {
  return Object.fromEntries(
    Object.entries(options).map(([key, { amount_off: off }]) => {
      const { amount, currency } = toStripeMoney(off, key.toUpperCase())
      return [currency, { amount_off: amount }]
    }),
  )
}

function idTaken(id: string): AppError {
  const detail = `The coupon ${id} already exists.`
  return new AppError('already_exists', detail, { errors: [{ pointer: '/id', detail }] })
}

/**
 * Creates the coupon at Stripe and in the mirror. It may be repeated after a crash or an unknown outcome:
 * it creates one coupon.
 *
 * @returns the coupon's id.
 * @throws AppError `already_exists`, `stripe_refused`; `stripe_unavailable`, `stripe_failed` after an
 * unknown outcome.
 */
export function finishCreateCoupon(
  deps: BillingDeps,
  conferenceId: string,
  changeId: string,
): Promise<string> {
  return runChange(deps.db, conferenceId, changeId, async ({ params }) => {
    const { stripe } = await deps.clients.connect(conferenceId)
    const requestedAt = await databaseNow(deps.db)
    const coupon = await makeCoupon(stripe, changeId, params)
    await mirrorAnswer(
      new StripeCouponAction(mirrorContext(deps, conferenceId)),
      coupon,
      requestedAt,
    )
    return coupon.id
  })
}

async function makeCoupon(
  stripe: Stripe,
  changeId: string,
  // From `couponParams`, loaded from the database.
  params: Stripe.CouponCreateParams,
): Promise<Stripe.Response<Stripe.Coupon>> {
  const expand = [...COUPON_EXPANSIONS]
  try {
    return await stripe.coupons.create({ ...params, expand }, { idempotencyKey: changeId })
  } catch (error) {
    const isTaken = isTakenId(error)
    if (!isTaken && !isStoredError(error)) throw toAppError(error)
    // The coupon may exist all the same: Stripe forgets a key after a day, and it may replay an error
    // of an earlier request. The coupon's metadata names the change that created it.
    const id = params.id ?? ''
    const found = await fetchOrNull(() => stripe.coupons.retrieve(id, { expand }))
    if (found?.metadata?.['discount_change'] === changeId) return found
    throw isTaken ? idTaken(id) : new AppError('stripe_refused', refusalMessage(error))
  }
}

/**
 * Records the change before the request is sent to Stripe.
 *
 * @returns the change's id.
 * @throws AppError `not_found` when the mirror does not have the object.
 */
export async function beginUpdateCoupon(
  trx: Tx,
  requester: Requester,
  id: string,
  { name, metadata, currency_options: options }: UpdateCouponInput,
): Promise<string> {
  await assertMirrored(trx, requester.conferenceId, resource, id)
  const params: Stripe.CouponUpdateParams = {
    ...(name === undefined ? {} : { name: name ?? '' }),
    ...(metadata === undefined ? {} : { metadata: toStripeMetadata(metadata) }),
    ...(options === undefined ? {} : { currency_options: toStripeOptions(options) }),
  }
  return recordChange(trx, requester, { kind: 'coupon', action: 'update', object_id: id, params })
}

/**
 * Changes the coupon at Stripe and in the mirror. It may be repeated after an unknown outcome.
 *
 * @returns the coupon's id.
 * @throws AppError `not_found`, also for another conference's coupon; `validation_failed`, `stripe_…`.
 */
export function finishUpdateCoupon(
  deps: BillingDeps,
  conferenceId: string,
  changeId: string,
): Promise<string> {
  return runChange(deps.db, conferenceId, changeId, async (change) => {
    const id = change.object_id ?? ''
    const action = new StripeCouponAction(mirrorContext(deps, conferenceId))
    const coupon = await fetchForChange(action, id)
    if (coupon === null) throw notFound('coupon')
    // From `beginUpdateCoupon`, loaded from the database.
    const params: Stripe.CouponUpdateParams = change.params
    assertCurrencies(coupon, params)
    const { stripe } = await deps.clients.connect(conferenceId)
    const requestedAt = await databaseNow(deps.db)
    const response = await updateAtStripe(stripe, id, params, changeId)
    if (response === null) {
      await action.softDelete(id, requestedAt)
      throw notFound('coupon')
    }
    await mirrorAnswer(action, response, requestedAt)
    return id
  })
}

function assertCurrencies(coupon: Stripe.Coupon, params: Stripe.CouponUpdateParams): void {
  const currencies = Object.keys(params.currency_options ?? {})
  if (currencies.length === 0) return
  if (coupon.amount_off === null) {
    throw invalidField('/currency_options', 'is allowed only for coupons with amount_off')
  }
  if (coupon.currency !== null && currencies.includes(coupon.currency)) {
    throw invalidField(
      `/currency_options/${coupon.currency.toUpperCase()}`,
      "is the coupon's own currency; its amount cannot be changed",
    )
  }
}

/** Null when the coupon does not exist any more. */
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
    // The error is final under this key. A new request of the caller gets a new key.
    if (isStoredError(error)) throw new AppError('stripe_refused', refusalMessage(error))
    throw toAppError(error)
  }
}

/**
 * Records the deletion before the request is sent to Stripe.
 *
 * @returns the change's id.
 * @throws AppError `not_found` when the mirror does not have the coupon.
 */
export async function beginDeleteCoupon(
  trx: Tx,
  requester: Requester,
  id: string,
): Promise<string> {
  await assertMirrored(trx, requester.conferenceId, resource, id)
  return recordChange(trx, requester, {
    kind: 'coupon',
    action: 'delete',
    object_id: id,
    params: {},
  })
}

/**
 * Deletes the coupon at Stripe and keeps a tombstone here. For a deleted coupon it is a no-op.
 *
 * @returns the coupon's id.
 * @throws AppError `not_found` for an unknown coupon and for another conference's; `wrong_state` for the
 * coupon of published vouchers; `stripe_…`.
 */
export function finishDeleteCoupon(
  deps: BillingDeps,
  conferenceId: string,
  changeId: string,
): Promise<string> {
  return runChange(deps.db, conferenceId, changeId, async (change) => {
    const id = change.object_id ?? ''
    const action = new StripeCouponAction(mirrorContext(deps, conferenceId))
    // Fetch it first: another conference may have created a coupon with this id in the meantime.
    const coupon = await fetchForChange(action, id)
    if (coupon === null) {
      const row = await findMirrorRow(action, id)
      if (row === null || row.deleted_at === null) throw notFound('coupon')
      return id
    }
    // Stripe cannot undo the deletion, and sponsors may have paid for the codes.
    if (coupon.metadata?.['voucher_batch'] !== undefined) {
      throw new AppError(
        'wrong_state',
        'Published vouchers use this coupon. Deactivate the vouchers instead.',
      )
    }
    const { stripe } = await deps.clients.connect(conferenceId)
    const requestedAt = await databaseNow(deps.db)
    await fetchOrNull(() => stripe.coupons.del(id))
    await mirrorDeletion(action, id, requestedAt)
    return id
  })
}
