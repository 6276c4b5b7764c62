import type Stripe from 'stripe'
import { createdWithin, type FiltersOf, listOperation } from '../api/list-operation.ts'
import { changeMetadata } from '../api/metadata.ts'
import { group, timeRange } from '../api/params.ts'
import {
  type Call,
  existing,
  operation,
  type Resource,
  retrieveOperation,
} from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { invalidParameter } from '../core/stripe-error.ts'
import {
  type CouponExtras,
  couponCurrencies,
  couponExtras,
  couponProducts,
  coupons,
} from '../objects/coupon.ts'
import { createCoupon } from '../pricing/create-coupon.ts'
import { deleteCoupon } from '../pricing/end-coupon.ts'
import { type CouponUpdateInput, couponCreateParams, couponUpdateParams } from './coupon-params.ts'

const PATH = '/v1/coupons'
const kind = coupons.name

const filters = {
  created: timeRange().optional(),
} satisfies FiltersOf<Stripe.CouponListParams>

/** @see https://docs.stripe.com/api/coupons */
export const couponResource: Resource = {
  kind,
  expandable: {
    applies_to: { kind: 'coupon.applies_to', load: couponProducts },
    currency_options: { kind: 'coupon.currency_options', load: couponCurrencies },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: couponCreateParams,
      run: createCoupon,
    }),
    retrieveOperation(`${PATH}/:id`, coupons, 'coupon'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: couponUpdateParams,
      run: updateCoupon,
    }),
    operation({
      method: 'DELETE',
      path: `${PATH}/:id`,
      returns: kind,
      params: group({}),
      run: (call, _params, { id = '' }) =>
        deleteCoupon(call, existing(call, coupons, id, 'coupon', 404)),
    }),
    listOperation({
      path: PATH,
      table: coupons,
      filters,
      where: ({ created }) => createdWithin(created),
    }),
  ],
}

function updateCoupon(
  call: Call,
  params: CouponUpdateInput,
  { id = '' }: Readonly<Record<string, string>>,
): Stripe.Coupon {
  const before = existing(call, coupons, id, 'coupon', 404)
  const { currency_options: options, metadata, name } = params
  if (options !== undefined) {
    if (before.amount_off === null)
      throw invalidParameter(
        'currency_options',
        'You may only specify one of these parameters: currency_options, percent_off.',
      )
    addCurrencies(call, id, options)
  }
  const after = changeRow(call, coupons, id, {
    metadata: changeMetadata(before.metadata ?? {}, metadata),
    ...(name === undefined ? {} : { name }),
  })
  emitEvent(call, 'coupon.updated', after, before)
  return after
}

function addCurrencies(call: Call, id: string, options: CouponExtras['currencyOptions']): void {
  const extras = call.account.rows(couponExtras)
  const known = extras.get(id)
  if (known === undefined) extras.insert({ id, products: null, currencyOptions: options })
  else extras.replace({ ...known, currencyOptions: { ...known.currencyOptions, ...options } })
}
