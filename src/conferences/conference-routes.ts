import { z } from 'zod'
import { withSystem, withTenant } from '../db/tenant-scope.ts'
import { callerOf } from '../http/caller.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import { mapPage, pageQuery } from '../http/pages.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import {
  conferencePage,
  conferenceSchema,
  createConferenceBody,
  toConferenceBody,
  updateConferenceBody,
} from './conference-schemas.ts'
import { getConference, listConferences, toConference } from './conference-store.ts'
import {
  assertMayChange,
  changeConference,
  createConference,
  type StripeAccountPort,
} from './manage-conference.ts'

/** `/v1/conferences` and `/v1/conferences/{conference}`. */
export function conferenceRoutes(
  app: App,
  deps: RouteDeps & { stripeAccounts: StripeAccountPort },
): void {
  const tags = ['Conferences']

  app.post(
    '/v1/conferences',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'createConference',
        summary: 'Create a conference',
        tags,
        body: createConferenceBody,
        response: { 201: conferenceSchema },
      },
    },
    async (request, reply) => {
      const body = await deps.answers.once(request, async (trx) =>
        toConferenceBody(await createConference(trx, deps, request.body)),
      )
      return reply.code(201).send(body)
    },
  )

  app.get(
    '/v1/conferences',
    {
      config: { access: 'operator' },
      schema: {
        operationId: 'listConferences',
        summary: 'List conferences',
        tags,
        querystring: z.strictObject(pageQuery),
        response: { 200: conferencePage },
      },
    },
    async (request) => {
      const page = await withSystem(deps.db, 'manage-conferences', (trx) =>
        listConferences(trx, request.query),
      )
      return mapPage(page, (row) => toConferenceBody(toConference(row)))
    },
  )

  app.get(
    '/v1/conferences/:conference',
    {
      config: { access: 'staff' },
      schema: {
        operationId: 'getConference',
        summary: 'Get a conference',
        tags,
        params: conferenceParams,
        response: { 200: conferenceSchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      return withTenant(deps.db, { conferenceId }, async (trx) =>
        toConferenceBody(await getConference(trx, conferenceId)),
      )
    },
  )

  app.patch(
    '/v1/conferences/:conference',
    {
      config: { access: { anyOf: ['settings:write'] } },
      schema: {
        operationId: 'updateConference',
        summary: 'Change settings of a conference',
        description: 'Staff may change the name and the allowed origins, an operator everything.',
        tags,
        params: conferenceParams,
        body: updateConferenceBody,
        response: { 200: conferenceSchema },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      assertMayChange(caller, request.body)
      const account = await deps.stripeAccounts.accountOf(request.body.stripe_secret_key)
      return deps.answers.once(request, async (trx) =>
        toConferenceBody(await changeConference(trx, deps, caller, request.body, account)),
      )
    },
  )
}
