import type { AccessRule } from '../../http/access-control.ts'
import { conferenceParams } from '../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import { mirrorSchemasOf } from '../../mirror/mirror-schemas.ts'
import { StripeCouponAction } from '../../mirror/resources/coupon-resource.ts'
import { StripePromotionCodeAction } from '../../mirror/resources/promotion-code-resource.ts'
import type { SyncContext } from '../../mirror/stripe-resource.ts'
import type { Clock } from '../../shared/time.ts'
import type { DiscountDeps } from './discount-change.ts'
import { writeThrough } from './discount-change-routes.ts'
import {
  couponParams,
  createCouponBody,
  createPromotionCodeBody,
  promotionCodeParams,
  updateCouponBody,
  updatePromotionCodeBody,
} from './discount-schemas.ts'
import {
  beginCreateCoupon,
  beginDeleteCoupon,
  beginUpdateCoupon,
  finishCreateCoupon,
  finishDeleteCoupon,
  finishUpdateCoupon,
} from './write-coupon.ts'
import {
  beginCreatePromotionCode,
  beginUpdatePromotionCode,
  finishCreatePromotionCode,
  finishUpdatePromotionCode,
} from './write-promotion-code.ts'

const COUPONS = '/v1/conferences/:conference/stripe/coupons'
const access: AccessRule = { anyOf: ['billing:write'] }
const tags = ['Coupons']

type Deps = RouteDeps & DiscountDeps & { clock: Clock }

const { row: couponRow } = mirrorSchemasOf('coupons')

/** `C/stripe/coupons`: writing coupons; reading them is the mirror's. */
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
          "At Stripe and in the mirror at once. Amounts are minor units as everywhere; the answer's are Stripe's own, which differ for ISK and UGX.",
        tags,
        params: conferenceParams,
        body: createCouponBody,
        response: { 201: couponRow },
      },
    },
    async (request, reply) => {
      const body = await writeThrough(deps, request, {
        begin: (trx, asker) => beginCreateCoupon(trx, asker, request.body, deps.clock.now()),
        finish: finishCreateCoupon,
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
        description: 'Only the name, metadata and further currencies: Stripe keeps the rest fixed.',
        tags,
        params: couponParams,
        body: updateCouponBody,
        response: { 200: couponRow },
      },
    },
    (request) =>
      writeThrough(deps, request, {
        begin: (trx, asker) => beginUpdateCoupon(trx, asker, request.params.id, request.body),
        finish: finishUpdateCoupon,
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
          'Its promotion codes end with it; who used it before keeps the discount. The mirror keeps a tombstone; deleting it again changes nothing.',
        tags,
        params: couponParams,
        response: { 200: couponRow },
      },
    },
    (request) =>
      writeThrough(deps, request, {
        begin: (trx, asker) => beginDeleteCoupon(trx, asker, request.params.id),
        finish: finishDeleteCoupon,
        action: couponAction,
      }),
  )
}

const PROMOTION_CODES = '/v1/conferences/:conference/stripe/promotion-codes'
const promotionCodeAccess: AccessRule = { anyOf: ['billing:write'] }
const promotionCodeTags = ['Coupons']

type PromotionCodeDeps = RouteDeps & DiscountDeps & { clock: Clock }

const { row: promotionCodeRow } = mirrorSchemasOf('promotion-codes')

const promotionCodeAction = (context: SyncContext) => new StripePromotionCodeAction(context)

/** `C/stripe/promotion-codes`: writing the codes of coupons; reading them is the mirror's. */
export function promotionCodeRoutes(app: App, deps: PromotionCodeDeps): void {
  app.post(
    PROMOTION_CODES,
    {
      config: { access: promotionCodeAccess },
      schema: {
        operationId: 'createStripePromotionCode',
        summary: 'Create a code for a coupon',
        description:
          'At Stripe and in the mirror at once. What customers type in a Stripe checkout.',
        tags: promotionCodeTags,
        params: conferenceParams,
        body: createPromotionCodeBody,
        response: { 201: promotionCodeRow },
      },
    },
    async (request, reply) => {
      const body = await writeThrough(deps, request, {
        begin: (trx, asker) => beginCreatePromotionCode(trx, asker, request.body, deps.clock.now()),
        finish: finishCreatePromotionCode,
        action: promotionCodeAction,
      })
      return reply.code(201).send(body)
    },
  )

  app.patch(
    `${PROMOTION_CODES}/:id`,
    {
      config: { access: promotionCodeAccess },
      schema: {
        operationId: 'updateStripePromotionCode',
        summary: 'Turn a code off or on',
        description:
          'Or change its metadata: Stripe keeps the rest fixed. Stripe has no deletion of promotion codes.',
        tags: promotionCodeTags,
        params: promotionCodeParams,
        body: updatePromotionCodeBody,
        response: { 200: promotionCodeRow },
      },
    },
    (request) =>
      writeThrough(deps, request, {
        begin: (trx, asker) =>
          beginUpdatePromotionCode(trx, asker, request.params.id, request.body),
        finish: finishUpdatePromotionCode,
        action: promotionCodeAction,
      }),
  )
}
