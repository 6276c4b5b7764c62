import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Tx } from '../../db/connect.ts'
import { fetchPage, mapPage } from '../../db/pages.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../../http/access-control.ts'
import { conferenceParams, pageOf, pageQuery, stripeId } from '../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import type { MirrorBody } from '../../mirror/mirror-schemas.ts'
import type { SyncContext } from '../../mirror/stripe-resource.ts'
import type { StripeSyncAction } from '../../mirror/stripe-sync-action.ts'
import { timestamp, toTimestamp } from '../../shared/time.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import { type BillingDeps, mirrorContext } from '../billing-deps.ts'
import {
  CHANGE_ACTIONS,
  CHANGE_COLUMNS,
  CHANGE_STATES,
  DISCOUNT_KINDS,
  type DiscountChange,
  type Requester,
  viewMirrorRow,
} from './discount-change.ts'
import { finishDiscountChange } from './finish-discount-change.ts'

/** One kind of change: how it is recorded, and the mirror that shows its result. */
export type WriteSteps<T extends StripeObject> = {
  /** @returns the change's id. */
  begin: (trx: Tx, requester: Requester) => Promise<string>
  action: (context: SyncContext) => StripeSyncAction<T>
}

/**
 * Handles a request that changes an object at Stripe: records the change, runs it and returns the
 * mirror's row of the object. A repeat under the same Idempotency-Key resumes the recorded change.
 */
export function writeThrough<T extends StripeObject>(
  deps: RouteDeps & BillingDeps,
  request: FastifyRequest,
  { begin, action }: WriteSteps<T>,
): Promise<MirrorBody> {
  const caller = callerOf(request)
  const { conferenceId } = caller
  return deps.idempotency.resume(request, {
    begin: (trx) => begin(trx, caller),
    finish: async (changeId) => {
      const id = await finishDiscountChange(deps, conferenceId, changeId)
      return viewMirrorRow(action(mirrorContext(deps, conferenceId)), id)
    },
  })
}

const access: AccessRule = { anyOf: ['billing:write'] }

const changeSchema = z
  .object({
    id: z.string(),
    object: z.literal('discount_change'),
    kind: z.enum(DISCOUNT_KINDS),
    action: z.enum(CHANGE_ACTIONS),
    object_id: z.string().nullable().meta({
      description: "Stripe's id of the changed object; null when none was created.",
    }),
    params: z
      .record(z.string(), z.unknown())
      .meta({ description: 'The parameters that were sent to Stripe.' }),
    state: z.enum(CHANGE_STATES).meta({
      description:
        "requested: Stripe's response is not known (yet); a repeat under the same Idempotency-Key, or a background job, resumes the change.",
    }),
    refusal: z.string().nullable(),
    actor: z.object({ kind: z.string(), id: z.string() }),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: 'DiscountChange' })

const changePage = pageOf(changeSchema).meta({ id: 'DiscountChangePage' })

const changeQuery = z.strictObject({
  ...pageQuery,
  object_id: stripeId
    .optional()
    .meta({ description: 'Only the changes of the coupon or promotion code with this Stripe id.' }),
})

function toChangeBody(change: DiscountChange): z.infer<typeof changeSchema> {
  const { actor_kind: kind, actor_id: id, created_at: at, updated_at: updated, ...rest } = change
  return {
    ...rest,
    object: 'discount_change',
    actor: { kind, id },
    created_at: toTimestamp(at),
    updated_at: toTimestamp(updated),
  }
}

/** `C/stripe/discount-changes`: who requested which change, and its outcome. */
export function discountChangeRoutes(app: App, { db }: Pick<RouteDeps, 'db'>): void {
  app.get(
    '/v1/conferences/:conference/stripe/discount-changes',
    {
      config: { access },
      schema: {
        operationId: 'listDiscountChanges',
        summary: 'List changes of coupons and promotion codes',
        description:
          "Shows who requested which change through this service. Changes in Stripe's dashboard are not listed; they arrive as Stripe events.",
        tags: ['Coupons'],
        params: conferenceParams,
        querystring: changeQuery,
        response: { 200: changePage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { object_id: objectId, ...page } = request.query
      const rows = await withTenant(db, { conferenceId }, (trx) => {
        const query = trx('discount_changes').where({ conference_id: conferenceId })
        if (objectId !== undefined) void query.where({ object_id: objectId })
        return fetchPage<DiscountChange>(query.select([...CHANGE_COLUMNS]), page)
      })
      return mapPage(rows, toChangeBody)
    },
  )
}
