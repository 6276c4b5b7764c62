import type Stripe from 'stripe'
import { createdWithin, type FiltersOf, listOperation } from '../api/list-operation.ts'
import { changeMetadata } from '../api/metadata.ts'
import { flag, text, timeRange, unsupported } from '../api/params.ts'
import {
  type Call,
  existing,
  operation,
  type PathParams,
  type Resource,
  retrieveOperation,
} from '../api/resource.ts'
import { changeRow } from '../core/change-row.ts'
import { emitEvent } from '../core/emit-event.ts'
import { idOf } from '../core/reference.ts'
import { coupons } from '../objects/coupon.ts'
import { customers } from '../objects/customer.ts'
import { couponOf, expandedRestrictions, promotionCodes } from '../objects/promotion-code.ts'
import { checkRedeemable } from '../pricing/check-redeemable.ts'
import { addMinimums, createPromotionCode } from '../pricing/create-promotion-code.ts'
import {
  type PromotionCodeUpdateInput,
  promotionCodeCreateParams,
  promotionCodeUpdateParams,
} from './promotion-code-params.ts'

const PATH = '/v1/promotion_codes'
const kind = promotionCodes.name

const filters = {
  active: flag().optional(),
  code: text().optional(),
  coupon: text().optional(),
  created: timeRange().optional(),
  customer: text().optional(),
  customer_account: unsupported('customer accounts'),
} satisfies FiltersOf<Stripe.PromotionCodeListParams>

/** @see https://docs.stripe.com/api/promotion_codes */
export const promotionCodeResource: Resource = {
  kind,
  expandable: {
    customer: { kind: 'customer' },
    promotion: { kind: 'promotion_code.promotion', inline: true },
    restrictions: { kind: 'promotion_code.restrictions', load: expandedRestrictions },
  },
  operations: [
    operation({
      method: 'POST',
      path: PATH,
      returns: kind,
      params: promotionCodeCreateParams,
      run: createPromotionCode,
    }),
    retrieveOperation(`${PATH}/:id`, promotionCodes, 'promotion_code'),
    operation({
      method: 'POST',
      path: `${PATH}/:id`,
      returns: kind,
      params: promotionCodeUpdateParams,
      run: updateCode,
    }),
    listOperation({
      path: PATH,
      table: promotionCodes,
      filters,
      where({ active, code, coupon, created, customer }, call) {
        if (coupon !== undefined) existing(call, coupons, coupon, 'coupon')
        if (customer !== undefined) existing(call, customers, customer, 'customer')
        const within = createdWithin(created)
        const key = code?.toLowerCase()
        return (row) =>
          within(row) &&
          (active ?? row.active) === row.active &&
          (key === undefined || key === row.code.toLowerCase()) &&
          (coupon === undefined || coupon === couponOf(row)) &&
          (customer ?? idOf(row.customer)) === idOf(row.customer)
      },
    }),
  ],
}

/** Always there in full; what can be expanded is below them. */
export const promotionResource: Resource = {
  kind: 'promotion_code.promotion',
  expandable: { coupon: { kind: 'coupon' } },
  operations: [],
}
export const restrictionsResource: Resource = {
  kind: 'promotion_code.restrictions',
  expandable: { currency_options: { kind: 'promotion_code.currency_options', inline: true } },
  operations: [],
}

function updateCode(
  call: Call,
  { active, metadata, restrictions }: PromotionCodeUpdateInput,
  { id = '' }: PathParams,
): Stripe.PromotionCode {
  const before = existing(call, promotionCodes, id, 'promotion_code', 404)
  if (active === true && !before.active) checkRedeemable(call, before)
  if (restrictions?.currency_options) addMinimums(call, before, restrictions.currency_options)
  const after = changeRow(call, promotionCodes, id, {
    active: active ?? before.active,
    metadata: changeMetadata(before.metadata ?? {}, metadata),
  })
  emitEvent(call, 'promotion_code.updated', after, before)
  return after
}
