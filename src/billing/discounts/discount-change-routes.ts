import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Tx } from '../../db/connect.ts'
import { fetchPage, mapPage } from '../../db/pages.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../../http/access-control.ts'
import { conferenceParams, pageOf, pageQuery } from '../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import type { MirrorBody } from '../../mirror/mirror-schemas.ts'
import type { SyncContext } from '../../mirror/stripe-resource.ts'
import type { StripeSyncAction } from '../../mirror/stripe-sync-action.ts'
import { timestamp, toTimestamp } from '../../shared/time.ts'
import type { StripeObject } from '../../stripe/stripe-objects.ts'
import {
  CHANGE_ACTIONS,
  CHANGE_COLUMNS,
  CHANGE_STATES,
  DISCOUNT_KINDS,
  type DiscountChange,
  type DiscountDeps,
  interactiveSyncContext,
  type Requester,
  viewMirrorRow,
} from './discount-change.ts'

/** One kind of change: what is written down, and what is done from that. */
export type WriteSteps<T extends StripeObject> = {
  /** @returns the change's id. */
  begin: (trx: Tx, asker: Requester) => Promise<string>
  /** @returns the object's id. */
  finish: (deps: DiscountDeps, conferenceId: string, changeId: string) => Promise<string>
  action: (context: SyncContext) => StripeSyncAction<T>
}

/**
 * A request that changes an object at Stripe, from its body to the mirror's row, which is the
 * answer. A repeat under the same Idempotency-Key goes on with what was written down.
 */
export function writeThrough<T extends StripeObject>(
  deps: RouteDeps & DiscountDeps,
  request: FastifyRequest,
  { begin, finish, action }: WriteSteps<T>,
): Promise<MirrorBody> {
  const caller = callerOf(request)
  const { conferenceId } = caller
  return deps.idempotency.resume(request, {
    begin: (trx) => begin(trx, caller),
    finish: async (changeId) => {
      const id = await finish(deps, conferenceId, changeId)
      return viewMirrorRow(action(interactiveSyncContext(deps, conferenceId)), id)
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
      description: "Stripe's id of what was changed; null when none was made.",
    }),
    params: z.record(z.string(), z.unknown()).meta({ description: 'As Stripe got them.' }),
    state: z.enum(CHANGE_STATES).meta({
      description:
        "requested: Stripe's answer is not known (yet); a repeat under the same Idempotency-Key goes on.",
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
  object_id: z.string().min(1).optional().meta({ description: "Of one coupon's or code's id." }),
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

/** `C/stripe/discount-changes`: who asked Stripe for what, and what came of it. */
export function discountChangeRoutes(app: App, { db }: Pick<RouteDeps, 'db'>): void {
  app.get(
    '/v1/conferences/:conference/stripe/discount-changes',
    {
      config: { access },
      schema: {
        operationId: 'listDiscountChanges',
        summary: 'List who changed coupons and promotion codes',
        description:
          "What was asked through this service; the dashboard's changes are Stripe's events.",
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
