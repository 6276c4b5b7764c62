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
import { fetchOrNull, isMissing } from '../../stripe/stripe-errors.ts'
import { type BillingDeps, mirrorAnswer, mirrorContext } from '../billing-deps.ts'
import { toStripeMetadata } from '../metadata.ts'
import {
  assertMirrored,
  type ChangeOperation,
  type DiscountChange,
  fetchForChange,
  findMirrorRow,
  mirrorDeletion,
  newChangeId,
  type Requester,
  recordChange,
  runChange,
  showsChange,
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

type Work = {
  deps: BillingDeps
  stripe: Stripe
  action: StripeCouponAction
  change: DiscountChange
}

/**
 * Runs a recorded change of a coupon. It may be repeated after a crash or an unknown outcome.
 *
 * @returns the coupon's id.
 * @throws AppError `already_exists` for an id in use; `not_found`, also for another conference's coupon;
 *   `validation_failed`; `wrong_state` for the coupon of published vouchers; `stripe_…`
 */
export async function runCouponChange(
  deps: BillingDeps,
  conferenceId: string,
  change: DiscountChange,
): Promise<string> {
  const { stripe } = await deps.clients.connect(conferenceId)
  const action = new StripeCouponAction(mirrorContext(deps, conferenceId))
  const work = { deps, stripe, action, change }
  switch (change.action) {
    case 'create':
      return runChange(deps, conferenceId, change, creationOf(work))
    case 'update':
      return runChange(deps, conferenceId, change, updateOf(work))
    case 'delete':
      return runChange(deps, conferenceId, change, deletionOf(work))
  }
}

const expand = [...COUPON_EXPANSIONS]

function creationOf({ stripe, action, change }: Work): ChangeOperation<Stripe.Coupon> {
  // From `couponParams`, loaded from the database.
  const params: Stripe.CouponCreateParams = change.params
  const id = params.id ?? ''
  return {
    send: (options) => stripe.coupons.create({ ...params, expand }, options),
    async find() {
      const found = await fetchOrNull(() => stripe.coupons.retrieve(id, { expand }))
      return found?.metadata?.['discount_change'] === change.id ? found : null
    },
    mirror: (coupon, requestedAt) => mirrorAnswer(action, coupon, requestedAt),
    refusal: async ({ code }) => (code === 'resource_already_exists' ? idTaken(id) : null),
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

function updateOf({ deps, stripe, action, change }: Work): ChangeOperation<Stripe.Coupon> {
  const id = change.object_id ?? ''
  // From `beginUpdateCoupon`, loaded from the database.
  const params: Stripe.CouponUpdateParams = change.params
  return {
    async check() {
      const coupon = await fetchForChange(action, id)
      if (coupon === null) throw notFound('coupon')
      assertCurrencies(coupon, params)
    },
    send: (options) => stripe.coupons.update(id, { ...params, expand }, options),
    async find() {
      const found = await fetchOrNull(() => stripe.coupons.retrieve(id, { expand }))
      return found !== null && showsChange(params, found) ? found : null
    },
    mirror: (coupon, requestedAt) => mirrorAnswer(action, coupon, requestedAt),
    async refusal({ code }) {
      if (code !== 'resource_missing') return null
      await action.softDelete(id, await databaseNow(deps.db))
      return notFound('coupon')
    },
  }
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

function deletionOf({ stripe, action, change }: Work): ChangeOperation<Stripe.DeletedCoupon> {
  const id = change.object_id ?? ''
  const deleted: Stripe.DeletedCoupon = { id, object: 'coupon', deleted: true }
  let isGone = false
  return {
    async check() {
      // Another conference may have created a coupon with this id in the meantime.
      const coupon = await fetchForChange(action, id)
      isGone = coupon === null
      if (isGone) {
        const row = await findMirrorRow(action, id)
        if (row === null || row.deleted_at === null) throw notFound('coupon')
      }
      // Stripe cannot undo the deletion, and sponsors may have paid for the codes.
      if (coupon?.metadata?.['voucher_batch'] !== undefined) {
        throw new AppError(
          'wrong_state',
          'Published vouchers use this coupon. Deactivate the vouchers instead.',
        )
      }
    },
    async send(options) {
      if (isGone) return deleted
      try {
        return await stripe.coupons.del(id, {}, options)
      } catch (error) {
        if (isMissing(error)) return deleted
        throw error
      }
    },
    async find() {
      const found = await fetchOrNull(() => stripe.coupons.retrieve(id))
      return found === null ? deleted : null
    },
    mirror: (_deleted, requestedAt) => mirrorDeletion(action, id, requestedAt),
  }
}
