import type { AccessRule } from '../../http/access-control.ts'
import { conferenceParams } from '../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import { mirrorSchemasOf } from '../../mirror/mirror-schemas.ts'
import { StripeCouponAction } from '../../mirror/resources/coupon-resource.ts'
import { StripePromotionCodeAction } from '../../mirror/resources/promotion-code-resource.ts'
import type { SyncContext } from '../../mirror/stripe-resource.ts'
import type { Clock } from '../../shared/time.ts'
import type { BillingDeps } from '../billing-deps.ts'
import { writeThrough } from './discount-change-routes.ts'
import {
  couponParams,
  createCouponBody,
  createPromotionCodeBody,
  promotionCodeParams,
  updateCouponBody,
  updatePromotionCodeBody,
} from './discount-schemas.ts'
import { beginCreateCoupon, beginDeleteCoupon, beginUpdateCoupon } from './write-coupon.ts'
import { beginCreatePromotionCode, beginUpdatePromotionCode } from './write-promotion-code.ts'

const COUPONS = '/v1/conferences/:conference/stripe/coupons'
const access: AccessRule = { anyOf: ['billing:write'] }
const tags = ['Coupons']

type Deps = RouteDeps & BillingDeps & { clock: Clock }

const { row: couponRow } = mirrorSchemasOf('coupons')

/** `C/stripe/coupons`: create, change and delete coupons. The mirror's routes read them. */
export function couponRoutes(app: App, deps: Deps): void {
  createCouponRoute(app, deps)
  updateCouponRoute(app, deps)
  deleteCouponRoute(app, deps)
}

const couponAction = (context: SyncContext) => new StripeCouponAction(context)

function createCouponRoute(app: App, deps: Deps): void {
  app.post(
    COUPONS,
    {
      config: { access },
      schema: {
        operationId: 'createStripeCoupon',
        summary: 'Create a coupon',
        description:
          "Creates the coupon at Stripe and in the mirror. Request amounts are minor units. Response amounts are Stripe's own, which differ for ISK and UGX.",
        tags,
        params: conferenceParams,
        body: createCouponBody,
        response: { 201: couponRow },
      },
    },
    async (request, reply) => {
      const body = await writeThrough(deps, request, {
        begin: (trx, requester) =>
          beginCreateCoupon(trx, requester, request.body, deps.clock.now()),
        action: couponAction,
      })
      return reply.code(201).send(body)
    },
  )
}

function updateCouponRoute(app: App, deps: Deps): void {
  app.patch(
    `${COUPONS}/:id`,
    {
      config: { access },
      schema: {
        operationId: 'updateStripeCoupon',
        summary: 'Change a coupon',
        description:
          'Only the name, the metadata and other currencies can be changed: Stripe does not change the other fields.',
        tags,
        params: couponParams,
        body: updateCouponBody,
        response: { 200: couponRow },
      },
    },
    (request) =>
      writeThrough(deps, request, {
        begin: (trx, requester) =>
          beginUpdateCoupon(trx, requester, request.params.id, request.body),
        action: couponAction,
      }),
  )
}

function deleteCouponRoute(app: App, deps: Deps): void {
  app.delete(
    `${COUPONS}/:id`,
    {
      config: { access },
      schema: {
        operationId: 'deleteStripeCoupon',
        summary: 'Delete a coupon',
        description:
          'Also ends its promotion codes. Customers who already used the coupon keep the discount. The mirror keeps the row with `deleted_at`. Deleting the coupon again is a no-op.',
        tags,
        params: couponParams,
        response: { 200: couponRow },
      },
    },
    (request) =>
      writeThrough(deps, request, {
        begin: (trx, requester) => beginDeleteCoupon(trx, requester, request.params.id),
        action: couponAction,
      }),
  )
}

const PROMOTION_CODES = '/v1/conferences/:conference/stripe/promotion-codes'

const { row: promotionCodeRow } = mirrorSchemasOf('promotion-codes')

const promotionCodeAction = (context: SyncContext) => new StripePromotionCodeAction(context)

/** `C/stripe/promotion-codes`: create and change promotion codes. The mirror's routes read them. */
export function promotionCodeRoutes(app: App, deps: Deps): void {
  app.post(
    PROMOTION_CODES,
    {
      config: { access },
      schema: {
        operationId: 'createStripePromotionCode',
        summary: 'Create a promotion code',
        description:
          'Creates a code for a coupon, at Stripe and in the mirror. Customers type the code in a Stripe checkout.',
        tags,
        params: conferenceParams,
        body: createPromotionCodeBody,
        response: { 201: promotionCodeRow },
      },
    },
    async (request, reply) => {
      const body = await writeThrough(deps, request, {
        begin: (trx, requester) =>
          beginCreatePromotionCode(trx, requester, request.body, deps.clock.now()),
        action: promotionCodeAction,
      })
      return reply.code(201).send(body)
    },
  )

  app.patch(
    `${PROMOTION_CODES}/:id`,
    {
      config: { access },
      schema: {
        operationId: 'updateStripePromotionCode',
        summary: 'Change a promotion code',
        description:
          'Activates or deactivates the code, or changes its metadata. Stripe does not change the other fields and does not delete promotion codes.',
        tags,
        params: promotionCodeParams,
        body: updatePromotionCodeBody,
        response: { 200: promotionCodeRow },
      },
    },
    (request) =>
      writeThrough(deps, request, {
        begin: (trx, requester) =>
          beginUpdatePromotionCode(trx, requester, request.params.id, request.body),
        action: promotionCodeAction,
      }),
  )
}
