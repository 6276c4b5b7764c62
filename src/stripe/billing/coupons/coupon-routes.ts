import type { FastifyRequest } from 'fastify'
import type { Tx } from '../../../db/connect.ts'
import type { AccessRule } from '../../../http/access-rule.ts'
import { callerOf } from '../../../http/caller.ts'
import { conferenceParams } from '../../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../../http/route-deps.ts'
import type { Clock } from '../../../shared/clock.ts'
import type { MirrorBody } from '../../sync/mirror-body.ts'
import { mirrorSchemasOf } from '../../sync/mirrors.ts'
import { StripeCouponAction } from '../../sync/resources/coupons.ts'
import { couponParams, createCouponBody, updateCouponBody } from './coupon-schemas.ts'
import { beginCreateCoupon, finishCreateCoupon } from './create-coupon.ts'
import { beginDeleteCoupon, finishDeleteCoupon } from './delete-coupon.ts'
import { type DiscountDeps, promptContext, viewStored } from './mirrored-answer.ts'
import { beginUpdateCoupon, finishUpdateCoupon } from './update-coupon.ts'

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

type Finish = (deps: Deps, conferenceId: string, changeId: string) => Promise<string>

/** One change of a coupon, from the request to the mirror's row. */
function change(
  deps: Deps,
  request: FastifyRequest,
  begin: (trx: Tx) => Promise<string>,
  finish: Finish,
): Promise<MirrorBody> {
  const { conferenceId } = callerOf(request)
  return deps.answers.resumable(request, {
    begin,
    finish: async (changeId) => {
      const id = await finish(deps, conferenceId, changeId)
      return viewStored(new StripeCouponAction(promptContext(deps, conferenceId)), id)
    },
  })
}

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
      const begin = (trx: Tx) =>
        beginCreateCoupon(trx, callerOf(request), request.body, deps.clock.now())
      return reply.code(201).send(await change(deps, request, begin, finishCreateCoupon))
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
      change(
        deps,
        request,
        (trx) => beginUpdateCoupon(trx, callerOf(request), request.params.id, request.body),
        finishUpdateCoupon,
      ),
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
      change(
        deps,
        request,
        (trx) => beginDeleteCoupon(trx, callerOf(request), request.params.id),
        finishDeleteCoupon,
      ),
  )
}
