import type { AccessRule } from '../../../http/access-rule.ts'
import { conferenceParams } from '../../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../../http/route-deps.ts'
import type { Clock } from '../../../shared/clock.ts'
import { mirrorSchemasOf } from '../../sync/mirrors.ts'
import { StripePromotionCodeAction } from '../../sync/resources/promotion-codes.ts'
import type { SyncContext } from '../../sync/sync-context.ts'
import type { DiscountDeps } from '../coupons/mirrored-answer.ts'
import { writeThrough } from '../coupons/write-through-routes.ts'
import { beginCreatePromotionCode, finishCreatePromotionCode } from './create-promotion-code.ts'
import {
  createPromotionCodeBody,
  promotionCodeParams,
  updatePromotionCodeBody,
} from './promotion-code-schemas.ts'
import { beginUpdatePromotionCode, finishUpdatePromotionCode } from './update-promotion-code.ts'

const PATH = '/v1/conferences/:conference/stripe/promotion-codes'
const access: AccessRule = { anyOf: ['billing:write'] }
const tags = ['Coupons']

type Deps = RouteDeps & DiscountDeps & { clock: Clock }

const { row: promotionCodeRow } = mirrorSchemasOf('promotion-codes')

const action = (context: SyncContext) => new StripePromotionCodeAction(context)

/** `C/stripe/promotion-codes`: writing the codes of coupons; reading them is the mirror's. */
export function promotionCodeRoutes(app: App, deps: Deps): void {
  app.post(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'createStripePromotionCode',
        summary: 'Create a code for a coupon',
        description:
          'At Stripe and in the mirror at once. What customers type in a Stripe checkout.',
        tags,
        params: conferenceParams,
        body: createPromotionCodeBody,
        response: { 201: promotionCodeRow },
      },
    },
    async (request, reply) => {
      const body = await writeThrough(deps, request, {
        begin: (trx, asker) => beginCreatePromotionCode(trx, asker, request.body, deps.clock.now()),
        finish: finishCreatePromotionCode,
        action,
      })
      return reply.code(201).send(body)
    },
  )

  app.patch(
    `${PATH}/:id`,
    {
      config: { access },
      schema: {
        operationId: 'updateStripePromotionCode',
        summary: 'Turn a code off or on',
        description:
          'Or change its metadata: Stripe keeps the rest fixed. Stripe has no deletion of promotion codes.',
        tags,
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
        action,
      }),
  )
}
