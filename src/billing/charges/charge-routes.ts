import type { FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { getConference } from '../../conferences/conference-store.ts'
import type { Tx } from '../../db/connect.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../../http/access-control.ts'
import { conferenceParams, emptyBody } from '../../http/common-schemas.ts'
import { idempotencyRunner } from '../../http/idempotency.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import { checkoutAnswer, checkoutBody } from '../../payments/checkout-schemas.ts'
import {
  type AttemptRequest,
  assertReturnUrls,
  type ChosenAttempt,
  resumePayment,
} from '../../payments/payable.ts'
import { invalidField } from '../../shared/errors.ts'
import { toTimestamp } from '../../shared/time.ts'
import { findSponsor } from '../../sponsors/sponsor-store.ts'
import type { ChargeDeps } from '../billing-deps.ts'
import {
  chargeNowBody,
  chargePage,
  chargeParams,
  chargeQuery,
  chargeSchema,
  createChargeBody,
  refundChargeBody,
  toChargeBody,
  viewCharge,
} from './charge-schemas.ts'
import { type ChargeRef, getCharge, listCharges } from './charge-store.ts'
import { createCharge } from './create-charge.ts'
import {
  beginChargeCancel,
  beginChargePayment,
  finishChargeCancel,
  finishChargeCard,
  finishChargeCheckout,
} from './pay-charge.ts'
import { reconcileCharge } from './reconcile-charge.ts'
import { beginChargeRefund, finishChargeRefund } from './refund-charge.ts'

const CHARGES = '/v1/conferences/:conference/charges'
const CHARGE = `${CHARGES}/:charge`
const access: AccessRule = { anyOf: ['refunds:write'] }
const tags = ['Billing']

type Deps = RouteDeps & ChargeDeps
type Docs = { operationId: string; summary: string; description?: string }

/** `C/charges`: charges to saved cards. */
export function chargeRoutes(app: App, deps: Deps): void {
  createRoute(app, deps)
  readRoutes(app, deps)
  chargeNowRoute(app, deps)
  checkoutRoute(app, deps)
  refundRoute(app, deps)
  cancelRoute(app, deps)
  reconcileRoute(app, deps)
}

function createRoute(app: App, deps: Deps): void {
  app.post(
    CHARGES,
    {
      config: { access },
      schema: {
        operationId: 'createCharge',
        summary: 'Create a charge',
        description: 'Creates the charge. It does not charge the card yet.',
        tags,
        params: conferenceParams,
        body: createChargeBody,
        response: { 201: chargeSchema },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { body } = request
      const created = await deps.idempotency.run(request, async (trx) => {
        const id = await createCharge(trx, deps, caller, {
          owner:
            body.customer === undefined
              ? { sponsor: body.sponsor ?? '' }
              : { customer: body.customer },
          amount: body.amount,
          description: body.description,
          statementDescriptorSuffix: body.statement_descriptor_suffix ?? null,
          comment: body.comment ?? null,
          sourceReference: body.source_reference ?? null,
          manual: body.manual,
          paymentMethod: body.payment_method ?? null,
          urls:
            body.success_url === undefined || body.cancel_url === undefined
              ? null
              : { successUrl: body.success_url, cancelUrl: body.cancel_url },
          metadata: body.metadata ?? {},
        })
        return viewCharge(trx, { conferenceId: caller.conferenceId, chargeId: id })
      })
      return reply.code(201).send(created)
    },
  )
}

function readRoutes(app: App, { db }: Deps): void {
  app.get(
    CHARGES,
    {
      config: { access },
      schema: {
        operationId: 'listCharges',
        summary: 'List charges',
        tags,
        params: conferenceParams,
        querystring: chargeQuery,
        response: { 200: chargePage },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      const { sponsor: named, status, manual, source_reference: sourceReference } = request.query
      return withTenant(db, { conferenceId }, async (trx) => {
        const sponsor = named === undefined ? null : await findSponsor(trx, conferenceId, named)
        if (named !== undefined && sponsor === null) {
          throw invalidField('query/sponsor', `This conference has no sponsor "${named}".`)
        }
        const filter = { status, manual, sourceReference, sponsorId: sponsor?.id }
        const page = await listCharges(trx, conferenceId, filter, request.query)
        return { ...page, data: page.data.map(toChargeBody) }
      })
    },
  )
  app.get(
    CHARGE,
    {
      config: { access },
      schema: {
        operationId: 'getCharge',
        summary: 'Get a charge',
        tags,
        params: chargeParams,
        response: { 200: chargeSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      const ref = { conferenceId, chargeId: request.params.charge }
      return withTenant(db, ref, (trx) => viewCharge(trx, ref))
    },
  )
}

/** Route options of actions whose path names a charge and whose response is the charge. */
function action<Body extends z.ZodType>(docs: Docs, body: Body) {
  return {
    config: { access },
    schema: { ...docs, tags, params: chargeParams, body, response: { 200: chargeSchema } },
  }
}

/** The caller's actor and the charge in the path. */
function chargeOf(request: FastifyRequest) {
  const { conferenceId, actor } = callerOf(request)
  // Validated by `chargeParams`, which every route here has.
  const { charge } = request.params as z.infer<typeof chargeParams>
  return { actorId: actor.id, ref: { conferenceId, chargeId: charge } }
}

const viewOf = ({ db }: Deps, ref: ChargeRef) => withTenant(db, ref, (trx) => viewCharge(trx, ref))

function pay<T>(
  deps: Deps,
  request: FastifyRequest,
  wanted: AttemptRequest,
  finish: (chosen: ChosenAttempt) => Promise<T>,
): Promise<T> {
  const { actorId, ref } = chargeOf(request)
  const begin = async (trx: Tx) => {
    if (wanted.kind === 'checkout') {
      const conference = await getConference(trx, ref.conferenceId)
      assertReturnUrls(wanted.urls, conference, deps.ownOrigin)
    }
    return beginChargePayment(trx, deps, ref, wanted, actorId)
  }
  return resumePayment(idempotencyRunner(deps.idempotency, request), begin, finish)
}

function chargeNowRoute(app: App, deps: Deps): void {
  const docs = {
    operationId: 'chargeCharge',
    summary: 'Charge the saved card',
    description:
      'Idempotent: charges the card at most once. After an unknown outcome the charge stays `open`, and a retry first fetches the outcome from Stripe. A decline is not an error: the response is the charge with status `declined`.',
  }
  app.post(`${CHARGE}/charge`, action(docs, chargeNowBody.nullish()), (request) => {
    const { actorId, ref } = chargeOf(request)
    const named = request.body?.payment_method ?? null
    return pay(deps, request, { kind: 'saved_card', named }, async (chosen) => {
      await finishChargeCard(deps, ref, chosen, named, actorId)
      return viewOf(deps, ref)
    })
  })
}

function checkoutRoute(app: App, deps: Deps): void {
  app.post(
    `${CHARGE}/checkout`,
    {
      config: { access },
      schema: {
        operationId: 'checkoutCharge',
        summary: 'Open a Checkout page for the charge',
        description:
          'Use it if the bank requires the cardholder to authenticate. A charge has one open page at a time: a request with the same URLs returns it again, and charging a card closes it.',
        tags,
        params: chargeParams,
        body: checkoutBody,
        response: { 200: checkoutAnswer },
      },
    },
    (request) => {
      const { actorId, ref } = chargeOf(request)
      const urls = { successUrl: request.body.success_url, cancelUrl: request.body.cancel_url }
      return pay(deps, request, { kind: 'checkout', urls }, async (chosen) => {
        const session = await finishChargeCheckout(deps, ref, chosen, urls, actorId)
        return {
          url: session.url,
          session_id: session.sessionId,
          expires_at: toTimestamp(session.expiresAt),
        }
      })
    },
  )
}

function refundRoute(app: App, deps: Deps): void {
  const docs = {
    operationId: 'refundCharge',
    summary: 'Refund a charge',
    description:
      'The refund is added to `amount_refunded` when Stripe confirms it. The sum of refunds never exceeds the amount received.',
  }
  app.post(`${CHARGE}/refund`, action(docs, refundChargeBody.nullish()), (request) => {
    const { actorId, ref } = chargeOf(request)
    const input = { amount: request.body?.amount ?? null, reason: request.body?.reason ?? null }
    return deps.idempotency.resume(request, {
      begin: (trx) => beginChargeRefund(trx, ref, input, actorId),
      finish: async (id, isRepeat) => {
        await finishChargeRefund(deps, ref, { id, isRepeat })
        return viewOf(deps, ref)
      },
    })
  })
}

function cancelRoute(app: App, deps: Deps): void {
  const docs = {
    operationId: 'cancelCharge',
    summary: 'Cancel a charge',
    description:
      'Possible until the charge is paid. An open payment attempt is closed at Stripe first.',
  }
  app.post(`${CHARGE}/cancel`, action(docs, emptyBody), (request) => {
    const { actorId, ref } = chargeOf(request)
    return deps.idempotency.resume(request, {
      begin: async (trx) => {
        await beginChargeCancel(trx, ref)
        return ref.chargeId
      },
      finish: async () => {
        await finishChargeCancel(deps, ref, actorId)
        return viewOf(deps, ref)
      },
    })
  })
}

function reconcileRoute(app: App, deps: Deps): void {
  const docs = { operationId: 'reconcileCharge', summary: 'Refresh a charge from Stripe' }
  app.post(`${CHARGE}/reconcile`, action(docs, emptyBody), (request) => {
    const { ref } = chargeOf(request)
    return deps.idempotency.resume(request, {
      begin: async (trx) => (await getCharge(trx, ref)).charge.id,
      finish: async () => {
        await reconcileCharge(deps, ref)
        return viewOf(deps, ref)
      },
    })
  })
}
