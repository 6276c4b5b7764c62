import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { getConference } from '../../conferences/conference-store.ts'
import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../../http/access-control.ts'
import { conferenceParams, emptyBody } from '../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import { checkoutAnswer, checkoutBody } from '../../payments/checkout-schemas.ts'
import { assertReturnUrls } from '../../payments/payable.ts'
import type { Caller } from '../../shared/caller.ts'
import { invalidField } from '../../shared/errors.ts'
import { newId } from '../../shared/ids.ts'
import { toTimestamp } from '../../shared/time.ts'
import { findSponsor } from '../../sponsors/sponsor-store.ts'
import type { BillingDeps } from '../billing-deps.ts'
import { changeCustomer } from './change-customer.ts'
import {
  attachPaymentMethodBody,
  createCustomerBody,
  customerPage,
  customerParams,
  customerQuery,
  customerSchema,
  paymentMethodPage,
  paymentMethodParams,
  paymentMethodQuery,
  paymentMethodSchema,
  updateCustomerBody,
  viewCustomer,
  viewCustomers,
  viewPaymentMethod,
  viewPaymentMethods,
} from './customer-schemas.ts'
import { getCustomer, listCustomers, obtainCustomerRow, toCustomer } from './customer-store.ts'
import { ensureCustomer } from './ensure-customer.ts'
import {
  attachCard,
  detachCard,
  openCardSetup,
  refreshCustomer,
  setDefaultCard,
} from './saved-cards.ts'

const CUSTOMERS = '/v1/conferences/:conference/customers'
const CARDS = `${CUSTOMERS}/:customer/payment-methods`
const access: AccessRule = { anyOf: ['billing:write'], sponsor: true }
const tags = ['Billing']

type Deps = RouteDeps & BillingDeps

/** `C/customers`: sponsors that pay with a saved card, and their cards. */
export function customerRoutes(app: App, deps: Deps): void {
  createRoute(app, deps)
  readRoutes(app, deps)
  updateRoute(app, deps)
  refreshRoute(app, deps)
  listCardsRoute(app, deps)
  attachRoute(app, deps)
  setupRoute(app, deps)
  defaultRoute(app, deps)
  detachRoute(app, deps)
}

/** The caller and the customer in the path. */
function customerOf(request: FastifyRequest) {
  const caller = callerOf(request)
  // Validated by `customerParams`, which every route with a customer has.
  const { customer } = request.params as z.infer<typeof customerParams>
  return { caller, customer, ref: { conferenceId: caller.conferenceId, customerId: customer } }
}

async function requestedSponsor(trx: Tx, caller: Caller, named: string | undefined) {
  const { conferenceId, sponsorId } = caller
  const reference = sponsorId ?? named
  if (reference === undefined) throw invalidField('/sponsor', 'is required')
  const sponsor = await findSponsor(trx, conferenceId, reference)
  const isOwn = sponsorId === null || named === undefined
  if (sponsor !== null && (isOwn || [sponsor.id, sponsor.slug, sponsor.externalId].includes(named)))
    return sponsor
  const detail = `This conference has no sponsor "${named ?? reference}" that this key may use.`
  throw invalidField('/sponsor', detail)
}

const viewOf = (deps: Deps, caller: Caller, customerId: string) =>
  withTenant(deps.db, caller, async (trx) =>
    viewCustomer(trx, await getCustomer(trx, { ...caller, customerId }, caller.sponsorId)),
  )

function createRoute(app: App, deps: Deps): void {
  app.post(
    CUSTOMERS,
    {
      config: { access },
      schema: {
        operationId: 'createCustomer',
        summary: "Create a sponsor's customer at Stripe",
        description:
          'A sponsor has one customer. If it already exists, the response is that customer, also for concurrent requests.',
        tags,
        params: conferenceParams,
        body: createCustomerBody.nullish(),
        response: { 201: customerSchema },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const body = await deps.idempotency.resume(request, {
        begin: async (trx) => {
          const sponsor = await requestedSponsor(trx, caller, request.body?.sponsor)
          return obtainCustomerRow(trx, caller.conferenceId, sponsor, caller.actor.id)
        },
        finish: async (id) => {
          await ensureCustomer(deps, { conferenceId: caller.conferenceId, customerId: id })
          return viewOf(deps, caller, id)
        },
      })
      return reply.code(201).send(body)
    },
  )
}

function readRoutes(app: App, deps: Deps): void {
  app.get(
    CUSTOMERS,
    {
      config: { access },
      schema: {
        operationId: 'listCustomers',
        summary: 'List customers',
        tags,
        params: conferenceParams,
        querystring: customerQuery,
        response: { 200: customerPage },
      },
    },
    (request) => {
      const caller = callerOf(request)
      const { conferenceId } = caller
      const { sponsor: named } = request.query
      return withTenant(deps.db, caller, async (trx) => {
        const filter = named === undefined ? null : await findSponsor(trx, conferenceId, named)
        if (named !== undefined && filter === null) {
          throw invalidField('query/sponsor', `This conference has no sponsor "${named}".`)
        }
        const wanted = caller.sponsorId ?? filter?.id ?? null
        const page = await listCustomers(trx, conferenceId, wanted, request.query)
        return { ...page, data: await viewCustomers(trx, conferenceId, page.data.map(toCustomer)) }
      })
    },
  )
  app.get(
    `${CUSTOMERS}/:customer`,
    {
      config: { access },
      schema: {
        operationId: 'getCustomer',
        summary: 'Get a customer',
        tags,
        params: customerParams,
        response: { 200: customerSchema },
      },
    },
    (request) => {
      const { caller, customer } = customerOf(request)
      return viewOf(deps, caller, customer)
    },
  )
}

function updateRoute(app: App, deps: Deps): void {
  app.patch(
    `${CUSTOMERS}/:customer`,
    {
      config: { access },
      schema: {
        operationId: 'updateCustomer',
        summary: "Change a customer's name or e-mail address",
        description:
          "Changes it here and at Stripe. Without values of its own, a customer has its sponsor's name and contact address, and follows their changes.",
        tags,
        params: customerParams,
        body: updateCustomerBody,
        response: { 200: customerSchema },
      },
    },
    (request) => {
      const { caller, customer, ref } = customerOf(request)
      return deps.idempotency.resume(request, {
        begin: async (trx) => (await getCustomer(trx, ref, caller.sponsorId)).id,
        finish: async () => {
          await changeCustomer(deps, ref, request.body)
          return viewOf(deps, caller, customer)
        },
      })
    },
  )
}

function refreshRoute(app: App, deps: Deps): void {
  app.post(
    `${CUSTOMERS}/:customer/refresh`,
    {
      config: { access },
      schema: {
        operationId: 'refreshCustomer',
        summary: 'Refresh a customer and its payment methods from Stripe',
        description:
          'Webhooks do this automatically. Call it after a payer has saved a card, to see the card without waiting for the webhook.',
        tags,
        params: customerParams,
        body: emptyBody,
        response: { 200: customerSchema },
      },
    },
    (request) => {
      const { caller, customer, ref } = customerOf(request)
      return deps.idempotency.resume(request, {
        begin: async (trx) => (await getCustomer(trx, ref, caller.sponsorId)).id,
        finish: async () => {
          await refreshCustomer(deps, ref)
          return viewOf(deps, caller, customer)
        },
      })
    },
  )
}

function listCardsRoute(app: App, deps: Deps): void {
  app.get(
    CARDS,
    {
      config: { access },
      schema: {
        operationId: 'listPaymentMethods',
        summary: 'List the saved payment methods',
        tags,
        params: customerParams,
        querystring: paymentMethodQuery,
        response: { 200: paymentMethodPage },
      },
    },
    (request) => {
      const { caller, ref } = customerOf(request)
      return withTenant(deps.db, caller, async (trx) =>
        viewPaymentMethods(trx, await getCustomer(trx, ref, caller.sponsorId), request.query),
      )
    },
  )
}

function attachRoute(app: App, deps: Deps): void {
  app.post(
    CARDS,
    {
      config: { access },
      schema: {
        operationId: 'attachPaymentMethod',
        summary: 'Save a card that Stripe.js collected',
        description:
          'Attaches a payment method to the customer. The first one becomes the default. To authenticate the cardholder now, use `setup`, which opens a page of Stripe.',
        tags,
        params: customerParams,
        body: attachPaymentMethodBody,
        response: { 201: paymentMethodSchema },
      },
    },
    async (request, reply) => {
      const { caller, ref } = customerOf(request)
      const body = await deps.idempotency.resume(request, {
        begin: async (trx) => {
          await getCustomer(trx, ref, caller.sponsorId)
          return newId('cardSetup')
        },
        finish: async (id, isRepeat) => {
          const method = request.body.payment_method
          const saved = await attachCard(deps, ref, { id, isRepeat }, method)
          return withTenant(deps.db, caller, async (trx) =>
            viewPaymentMethod(trx, await getCustomer(trx, ref), saved),
          )
        },
      })
      return reply.code(201).send(body)
    },
  )
}

function setupRoute(app: App, deps: Deps): void {
  app.post(
    `${CARDS}/setup`,
    {
      config: { access },
      schema: {
        operationId: 'setupPaymentMethod',
        summary: 'Open a Checkout page to save a card',
        description:
          'The first saved card becomes the default. Cards saved later, and declined cards, do not change the default.',
        tags,
        params: customerParams,
        body: checkoutBody,
        response: { 200: checkoutAnswer },
      },
    },
    (request) => {
      const { caller, ref } = customerOf(request)
      const urls = { successUrl: request.body.success_url, cancelUrl: request.body.cancel_url }
      return deps.idempotency.resume(request, {
        begin: async (trx) => {
          await getCustomer(trx, ref, caller.sponsorId)
          const conference = await getConference(trx, caller.conferenceId)
          assertReturnUrls(urls, conference, deps.ownOrigin)
          return newId('cardSetup')
        },
        finish: async (id, isRepeat) => {
          const session = await openCardSetup(deps, ref, { id, isRepeat }, urls)
          return {
            url: session.url,
            session_id: session.sessionId,
            expires_at: toTimestamp(session.expiresAt),
          }
        },
      })
    },
  )
}

function defaultRoute(app: App, deps: Deps): void {
  app.post(
    `${CARDS}/:payment_method/default`,
    {
      config: { access },
      schema: {
        operationId: 'setDefaultPaymentMethod',
        summary: 'Set the default payment method',
        tags,
        params: paymentMethodParams,
        body: emptyBody,
        response: { 200: customerSchema },
      },
    },
    (request) => {
      const { caller, customer, ref } = customerOf(request)
      return deps.idempotency.resume(request, {
        begin: async (trx) => (await getCustomer(trx, ref, caller.sponsorId)).id,
        finish: async () => {
          await setDefaultCard(deps, ref, request.params.payment_method)
          return viewOf(deps, caller, customer)
        },
      })
    },
  )
}

function detachRoute(app: App, deps: Deps): void {
  app.delete(
    `${CARDS}/:payment_method`,
    {
      config: { access },
      schema: {
        operationId: 'detachPaymentMethod',
        summary: 'Detach a payment method',
        description:
          'This cannot be undone. If it was the default, the oldest remaining payment method becomes the default.',
        tags,
        params: paymentMethodParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const { caller, ref } = customerOf(request)
      await withTenant(deps.db, caller, (trx) => getCustomer(trx, ref, caller.sponsorId))
      await detachCard(deps, ref, request.params.payment_method)
      return reply.code(204).send(null)
    },
  )
}
