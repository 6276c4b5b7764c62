import type { FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { withTenant } from '../../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../../http/access-control.ts'
import { conferenceParams, emptyBody } from '../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import type { BillingDeps } from '../billing-deps.ts'
import {
  cancelSubscription,
  changeSubscription,
  getCreatedSubscription,
} from './change-subscription.ts'
import {
  beginSubscription,
  finishSubscription,
  refreshSubscription,
} from './create-subscription.ts'
import type { Subscription } from './subscription.ts'
import {
  cancelSubscriptionBody,
  createSubscriptionBody,
  listSubscriptionsQuery,
  subscriptionPage,
  subscriptionParams,
  subscriptionSchema,
  updateSubscriptionBody,
  viewSubscription,
  viewSubscriptions,
} from './subscription-schemas.ts'
import {
  assertEndDate,
  getSubscription,
  listSubscriptions,
  recordCancelRequest,
} from './subscription-store.ts'

const SUBSCRIPTIONS = '/v1/conferences/:conference/subscriptions'
const ONE = `${SUBSCRIPTIONS}/:subscription`
const WRITE: AccessRule = { anyOf: ['billing:write'] }
const READ: AccessRule = { anyOf: ['billing:write'], sponsor: true }
const tags = ['Billing']

type Deps = RouteDeps & BillingDeps

/** `C/subscriptions`: recurring payments of sponsors. */
export function subscriptionRoutes(app: App, deps: Deps): void {
  createRoute(app, deps)
  readRoutes(app, deps)
  updateRoute(app, deps)
  refreshRoute(app, deps)
  cancelRoute(app, deps)
}

/** The caller and the subscription of a request. */
function subject(request: FastifyRequest) {
  const caller = callerOf(request)
  // Every route with a subscription validates its parameters with `subscriptionParams`.
  const { subscription } = request.params as z.infer<typeof subscriptionParams>
  return {
    caller,
    ref: { conferenceId: caller.conferenceId, subscriptionId: subscription },
  }
}

const view = ({ db }: Deps, subscription: Subscription) =>
  withTenant(db, subscription, (trx) => viewSubscription(trx, subscription))

function createRoute(app: App, deps: Deps): void {
  app.post(
    SUBSCRIPTIONS,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'createSubscription',
        summary: 'Subscribe a customer to plans',
        description:
          'Creates the subscription here and at Stripe. Idempotent: creates one subscription. When the first payment is declined, it is `incomplete` and its invoice can be paid for 23 hours. When Stripe does not respond, it stays `requested`; a repeat with the same `Idempotency-Key`, `refresh`, or a background job finishes it.',
        tags,
        params: conferenceParams,
        body: createSubscriptionBody,
        response: { 201: subscriptionSchema },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { body: given } = request
      const { conferenceId } = caller
      const body = await deps.idempotency.resume(request, {
        begin: (trx) =>
          beginSubscription(trx, caller, {
            customer: given.customer,
            items: given.items,
            paymentMethod: given.payment_method ?? null,
            coupon: given.coupon ?? null,
            taxRates: given.tax_rates,
            trialPeriodDays: given.trial_period_days ?? null,
            metadata: given.metadata,
            endDate: given.end_date,
          }),
        finish: async (subscriptionId) =>
          view(deps, await finishSubscription(deps, { conferenceId, subscriptionId })),
      })
      return reply.code(201).send(body)
    },
  )
}

function readRoutes(app: App, { db }: Deps): void {
  app.get(
    SUBSCRIPTIONS,
    {
      config: { access: READ },
      schema: {
        operationId: 'listSubscriptions',
        summary: 'List subscriptions',
        tags,
        params: conferenceParams,
        querystring: listSubscriptionsQuery,
        response: { 200: subscriptionPage },
      },
    },
    async (request) => {
      const { conferenceId, sponsorId } = callerOf(request)
      const { status, customer, ...page } = request.query
      return withTenant(db, { conferenceId }, async (trx) => {
        const filter = { sponsorId, status, customer }
        const found = await listSubscriptions(trx, conferenceId, filter, page)
        return { ...found, data: await viewSubscriptions(trx, conferenceId, found.data) }
      })
    },
  )

  app.get(
    ONE,
    {
      config: { access: READ },
      schema: {
        operationId: 'getSubscription',
        summary: 'Get a subscription',
        tags,
        params: subscriptionParams,
        response: { 200: subscriptionSchema },
      },
    },
    async (request) => {
      const { caller, ref } = subject(request)
      return withTenant(db, ref, async (trx) =>
        viewSubscription(trx, await getSubscription(trx, ref, caller.sponsorId)),
      )
    },
  )
}

function updateRoute(app: App, deps: Deps): void {
  app.patch(
    ONE,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'updateSubscription',
        summary: 'Change the end date, the tax rates or the metadata of a subscription',
        tags,
        params: subscriptionParams,
        body: updateSubscriptionBody,
        response: { 200: subscriptionSchema },
      },
    },
    async (request) => {
      const { ref } = subject(request)
      const { metadata, tax_rates: taxRates, end_date: endDate } = request.body
      const isAtStripe = metadata !== undefined || taxRates !== undefined
      return deps.idempotency.resume(request, {
        begin: async (trx) => {
          const get = isAtStripe ? getCreatedSubscription : getSubscription
          const { id } = await get(trx, ref)
          // Check the date before Stripe is changed.
          await assertEndDate(trx, endDate ?? null)
          return id
        },
        finish: async () => {
          const changes = { metadata, taxRates, endDate }
          return view(deps, await changeSubscription(deps, ref, changes))
        },
      })
    },
  )
}

function refreshRoute(app: App, deps: Deps): void {
  app.post(
    `${ONE}/refresh`,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'refreshSubscription',
        summary: 'Refresh a subscription from Stripe',
        description:
          'Fetches the subscription from Stripe. When it is still `requested`, it is created at Stripe unless it already exists there.',
        tags,
        params: subscriptionParams,
        body: emptyBody,
        response: { 200: subscriptionSchema },
      },
    },
    async (request) => {
      const { ref } = subject(request)
      return deps.idempotency.resume(request, {
        begin: async (trx) => (await getSubscription(trx, ref)).id,
        finish: async () => view(deps, await refreshSubscription(deps, ref)),
      })
    },
  )
}

function cancelRoute(app: App, deps: Deps): void {
  app.post(
    `${ONE}/cancel`,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'cancelSubscription',
        summary: 'Cancel a subscription, now or at the end of the period',
        description:
          'Returns the status at Stripe after the cancellation. With `at_period_end`, it stays `active` until the end of the period. Cancelling an ended subscription is a no-op.',
        tags,
        params: subscriptionParams,
        body: cancelSubscriptionBody,
        response: { 200: subscriptionSchema },
      },
    },
    async (request) => {
      const { caller, ref } = subject(request)
      const { at_period_end: atPeriodEnd } = request.body
      return deps.idempotency.resume(request, {
        begin: async (trx) => {
          const { id } = await getCreatedSubscription(trx, ref)
          await recordCancelRequest(trx, ref, caller.actor.id)
          return id
        },
        finish: async () => view(deps, await cancelSubscription(deps, ref, { atPeriodEnd })),
      })
    },
  )
}
