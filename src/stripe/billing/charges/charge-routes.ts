import { withTenant } from '../../../db/tenant-scope.ts'
import type { AccessRule } from '../../../http/access-rule.ts'
import { callerOf } from '../../../http/caller.ts'
import { conferenceParams } from '../../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../../http/route-deps.ts'
import { invalidField } from '../../../shared/errors.ts'
import { findSponsor } from '../../../sponsors/sponsor-store.ts'
import type { ChargeDeps } from './charge-deps.ts'
import {
  chargePage,
  chargeParams,
  chargeQuery,
  chargeSchema,
  createChargeBody,
} from './charge-schemas.ts'
import { listCharges, toCharge } from './charge-store.ts'
import { viewCharge, viewCharges } from './charge-view.ts'
import { createCharge } from './create-charge.ts'

const PATH = '/v1/conferences/:conference/charges'
const access: AccessRule = { anyOf: ['refunds:write'] }
const tags = ['Billing']

/** `C/charges`: what is charged to saved cards. */
export function chargeRoutes(app: App, deps: RouteDeps & ChargeDeps): void {
  app.post(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'createCharge',
        summary: 'Write down a charge of a saved card',
        description: 'Nothing is charged yet.',
        tags,
        params: conferenceParams,
        body: createChargeBody,
        response: { 201: chargeSchema },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const { body } = request
      const created = await deps.answers.once(request, async (trx) => {
        const id = await createCharge(trx, caller, {
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
        })
        return viewCharge(trx, { conferenceId: caller.conferenceId, chargeId: id })
      })
      return reply.code(201).send(created)
    },
  )
  readRoutes(app, deps)
}

function readRoutes(app: App, { db }: RouteDeps): void {
  app.get(
    PATH,
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
          throw invalidField('query/sponsor', 'is not a sponsor of this conference')
        }
        const filter = { status, manual, sourceReference, sponsorId: sponsor?.id }
        const page = await listCharges(trx, conferenceId, filter, request.query)
        return { ...page, data: await viewCharges(trx, conferenceId, page.data.map(toCharge)) }
      })
    },
  )
  app.get(
    `${PATH}/:charge`,
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
