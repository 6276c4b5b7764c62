import { mapPage } from '../../db/pages.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../../http/access-control.ts'
import { conferenceParams } from '../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import type { BillingDeps } from '../billing-deps.ts'
import {
  createPlanBody,
  listPlansQuery,
  planPage,
  planParams,
  planSchema,
  toPlanBody,
  toPlanInput,
  updatePlanBody,
} from './plan-schemas.ts'
import { getPlan, listPlans } from './plan-store.ts'
import { beginPlan, changePlan, finishPlan, getChangeablePlan } from './write-plan.ts'

const access: AccessRule = { anyOf: ['billing:write'] }
const tags = ['Billing']
const PLANS = '/v1/conferences/:conference/plans'

type Deps = RouteDeps & BillingDeps

/** `C/plans`: the products with recurring prices that subscriptions use. */
export function planRoutes(app: App, deps: Deps): void {
  createRoute(app, deps)
  updateRoute(app, deps)
  readRoutes(app, deps)
}

function createRoute(app: App, deps: Deps): void {
  app.post(
    PLANS,
    {
      config: { access },
      schema: {
        operationId: 'createPlan',
        summary: 'Create a plan',
        description:
          'Creates the plan here and at Stripe, as a product with a recurring price. Idempotent: creates one plan. When Stripe does not respond, the plan stays `requested`; a repeat with the same `Idempotency-Key`, or a background job, finishes it.',
        tags,
        params: conferenceParams,
        body: createPlanBody,
        response: { 201: planSchema },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { conferenceId } = caller
      const body = await deps.idempotency.resume(request, {
        begin: (trx) => beginPlan(trx, caller, toPlanInput(request.body)),
        finish: async (planId) => toPlanBody(await finishPlan(deps, { conferenceId, planId })),
      })
      return reply.code(201).send(body)
    },
  )
}

function updateRoute(app: App, deps: Deps): void {
  app.patch(
    `${PLANS}/:plan`,
    {
      config: { access },
      schema: {
        operationId: 'updatePlan',
        summary: 'Change or archive a plan',
        description:
          'Changes the name, statement descriptor, metadata or `active` at Stripe. Amount and interval never change. Existing subscribers keep an archived plan; new subscriptions cannot use it.',
        tags,
        params: planParams,
        body: updatePlanBody,
        response: { 200: planSchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const ref = { conferenceId, planId: request.params.plan }
      return deps.idempotency.resume(request, {
        begin: async (trx) => (await getChangeablePlan(trx, ref)).id,
        finish: async () => {
          const { statement_descriptor: statementDescriptor, ...changes } = request.body
          return toPlanBody(await changePlan(deps, ref, { ...changes, statementDescriptor }))
        },
      })
    },
  )
}

function readRoutes(app: App, { db }: Deps): void {
  app.get(
    PLANS,
    {
      config: { access },
      schema: {
        operationId: 'listPlans',
        summary: 'List plans',
        tags,
        params: conferenceParams,
        querystring: listPlansQuery,
        response: { 200: planPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { active, ...page } = request.query
      return mapPage(
        await withTenant(db, { conferenceId }, (trx) =>
          listPlans(trx, conferenceId, { active }, page),
        ),
        toPlanBody,
      )
    },
  )

  app.get(
    `${PLANS}/:plan`,
    {
      config: { access },
      schema: {
        operationId: 'getPlan',
        summary: 'Get a plan',
        tags,
        params: planParams,
        response: { 200: planSchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const ref = { conferenceId, planId: request.params.plan }
      return toPlanBody(await withTenant(db, ref, (trx) => getPlan(trx, ref)))
    },
  )
}
