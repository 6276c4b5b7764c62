import type { FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { getConference } from '../../../conferences/conference-store.ts'
import { withTenant } from '../../../db/tenant-scope.ts'
import type { AccessRule } from '../../../http/access-rule.ts'
import { callerOf } from '../../../http/caller.ts'
import { toTimestamp } from '../../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../../http/route-deps.ts'
import { checkoutAnswer, checkoutBody, emptyBody } from '../../../purchases/purchase-schemas.ts'
import { assertReturnUrls } from '../../../purchases/return-urls.ts'
import { beginAttempt } from './begin-attempt.ts'
import { beginCancel, finishCancel } from './cancel-charge.ts'
import type { ChargeRef } from './charge.ts'
import type { ChargeDeps } from './charge-deps.ts'
import { chargeNowBody, chargeParams, chargeSchema, refundChargeBody } from './charge-schemas.ts'
import { getCharge } from './charge-store.ts'
import { viewCharge } from './charge-view.ts'
import { finishLink } from './finish-link.ts'
import { finishCharge } from './pay-charge.ts'
import { reconcileCharge } from './reconcile-charge.ts'
import { beginChargeRefund, finishChargeRefund } from './refund-charge.ts'

const CHARGE = '/v1/conferences/:conference/charges/:charge'
const access: AccessRule = { anyOf: ['refunds:write'] }
const tags = ['Billing']

type Deps = RouteDeps & ChargeDeps
type Docs = { operationId: string; summary: string; description?: string }

/** What these routes have in common: the charge in the path, and the charge as the answer. */
function action<Body extends z.ZodType>(docs: Docs, body: Body) {
  return {
    config: { access },
    schema: { ...docs, tags, params: chargeParams, body, response: { 200: chargeSchema } },
  }
}

/** Who acts on which charge. */
function subject(request: FastifyRequest) {
  const { conferenceId, actor } = callerOf(request)
  // Validated by `chargeParams`, which every route here has.
  const { charge } = request.params as z.infer<typeof chargeParams>
  return { actorId: actor.id, ref: { conferenceId, chargeId: charge } }
}

const view = ({ db }: Deps, ref: ChargeRef) => withTenant(db, ref, (trx) => viewCharge(trx, ref))

/** What moves a charge. Each begins with a row of ours and ends with a reading of Stripe. */
export function chargeActionRoutes(app: App, deps: Deps): void {
  chargeRoute(app, deps)
  checkoutRoute(app, deps)
  refundRoute(app, deps)
  cancelRoute(app, deps)
  reconcileRoute(app, deps)
}

function chargeRoute(app: App, deps: Deps): void {
  const docs = {
    operationId: 'chargeCharge',
    summary: 'Charge the saved card',
    description:
      'Once at most, however often it is asked for: an outcome that is not known leaves the charge `open`, and a repeat reads it first. A decline ends the try: the answer is the charge, `declined`.',
  }
  app.post(`${CHARGE}/charge`, action(docs, chargeNowBody.nullish()), (request) => {
    const { actorId, ref } = subject(request)
    const paymentMethod = request.body?.payment_method ?? null
    return deps.answers.resumable(request, {
      begin: async (trx) => {
        const params = { kind: 'payment_intent', paymentMethod } as const
        return String(await beginAttempt(trx, ref, params, actorId))
      },
      finish: async (number) => {
        await finishCharge(deps, ref, Number(number), paymentMethod, actorId)
        return view(deps, ref)
      },
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
        summary: 'Open the page where the payer pays the charge in person',
        description:
          'For a bank that wants the payer. One link at a time: the same URLs again give the same, and charging a card closes it.',
        tags,
        params: chargeParams,
        body: checkoutBody,
        response: { 200: checkoutAnswer },
      },
    },
    (request) => {
      const { actorId, ref } = subject(request)
      const urls = { successUrl: request.body.success_url, cancelUrl: request.body.cancel_url }
      return deps.answers.resumable(request, {
        begin: async (trx) => {
          await getCharge(trx, ref)
          assertReturnUrls(urls, await getConference(trx, ref.conferenceId))
          return String(await beginAttempt(trx, ref, { kind: 'checkout', urls }, actorId))
        },
        finish: async (number) => {
          const link = await finishLink(deps, ref, Number(number), urls, actorId)
          return { ...link, expires_at: toTimestamp(link.expires_at) }
        },
      })
    },
  )
}

function refundRoute(app: App, deps: Deps): void {
  const docs = {
    operationId: 'refundCharge',
    summary: 'Send money of a charge back',
    description: 'Booked once Stripe confirms it, and never more than was received.',
  }
  app.post(`${CHARGE}/refund`, action(docs, refundChargeBody.nullish()), (request) => {
    const { actorId, ref } = subject(request)
    const input = { amount: request.body?.amount ?? null, reason: request.body?.reason ?? null }
    return deps.answers.resumable(request, {
      begin: (trx) => beginChargeRefund(trx, ref, input, actorId),
      finish: async (refund) => {
        await finishChargeRefund(deps, ref, refund)
        return view(deps, ref)
      },
    })
  })
}

function cancelRoute(app: App, deps: Deps): void {
  const docs = { operationId: 'cancelCharge', summary: 'Give an unpaid charge up' }
  app.post(`${CHARGE}/cancel`, action(docs, emptyBody), (request) => {
    const { ref } = subject(request)
    return deps.answers.resumable(request, {
      begin: async (trx) => {
        await beginCancel(trx, ref)
        return ref.chargeId
      },
      finish: async () => {
        await finishCancel(deps, ref)
        return view(deps, ref)
      },
    })
  })
}

function reconcileRoute(app: App, deps: Deps): void {
  const docs = { operationId: 'reconcileCharge', summary: 'Read the charge anew from Stripe' }
  app.post(`${CHARGE}/reconcile`, action(docs, emptyBody), (request) => {
    const { ref } = subject(request)
    return deps.answers.resumable(request, {
      begin: async (trx) => (await getCharge(trx, ref)).id,
      finish: async () => {
        await reconcileCharge(deps, ref)
        return view(deps, ref)
      },
    })
  })
}
