import type { AccessRule } from '../../../http/access-rule.ts'
import { conferenceParams } from '../../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../../http/route-deps.ts'
import type { Clock } from '../../../shared/clock.ts'
import { mirrorSchemasOf } from '../../sync/mirrors.ts'
import { StripeCouponAction } from '../../sync/resources/coupons.ts'
import type { SyncContext } from '../../sync/sync-context.ts'
import { couponParams, createCouponBody, updateCouponBody } from './coupon-schemas.ts'
import { beginCreateCoupon, finishCreateCoupon } from './create-coupon.ts'
import { beginDeleteCoupon, finishDeleteCoupon } from './delete-coupon.ts'
import type { DiscountDeps } from './mirrored-answer.ts'
import { beginUpdateCoupon, finishUpdateCoupon } from './update-coupon.ts'
import { writeThrough } from './write-through-routes.ts'

const PATH = '/v1/conferences/:conference/stripe/coupons'
const access: AccessRule = { anyOf: ['billing:write'] }
const tags = ['Coupons']

type Deps = RouteDeps & DiscountDeps & { clock: Clock }

const { row: couponRow } = mirrorSchemasOf('coupons')

/** `C/stripe/coupons`: writing coupons; reading them is the mirror's. */
export function couponRoutes(app: App, deps: Deps): void {
  createRoute(app, deps)
  updateRoute(app, deps)
  deleteRoute(app, deps)
}

const action = (context: SyncContext) => new StripeCouponAction(context)

function createRoute(app: App, deps: Deps): void {
  app.post(
    PATH,
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
        action,
      })
      return reply.code(201).send(body)
    },
  )
}

function updateRoute(app: App, deps: Deps): void {
  app.patch(
    `${PATH}/:id`,
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
        action,
      }),
  )
}

function deleteRoute(app: App, deps: Deps): void {
  app.delete(
    `${PATH}/:id`,
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
        action,
      }),
  )
}
