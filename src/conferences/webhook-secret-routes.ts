import { z } from 'zod'
import { withTenant } from '../db/tenant-scope.ts'
import type { AccessRule } from '../http/access-rule.ts'
import { callerOf } from '../http/caller.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import { mapPage, pageQuery } from '../http/pages.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import {
  createWebhookSecretBody,
  toWebhookSecretBody,
  webhookSecretPage,
  webhookSecretParams,
  webhookSecretSchema,
} from './conference-schemas.ts'
import {
  addWebhookSecret,
  deleteWebhookSecret,
  listWebhookSecrets,
} from './webhook-secret-store.ts'

const PATH = '/v1/conferences/:conference/webhook-secrets'
const access: AccessRule = { anyOf: ['settings:write'] }
const tags = ['Conferences']

/** `C/webhook-secrets`: what Stripe signs its events with. Never answered in the clear. */
export function webhookSecretRoutes(app: App, deps: RouteDeps): void {
  app.post(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'createWebhookSecret',
        summary: "Add a signing secret of the conference's Stripe webhook",
        description: 'Several are valid at once, so that one can be rolled without a gap.',
        tags,
        params: conferenceParams,
        body: createWebhookSecretBody,
        response: { 201: webhookSecretSchema },
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const body = await deps.answers.once(request, async (trx) =>
        toWebhookSecretBody(
          await addWebhookSecret(trx, deps.encryption, conferenceId, request.body.secret),
        ),
      )
      return reply.code(201).send(body)
    },
  )

  app.get(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'listWebhookSecrets',
        summary: 'List signing secrets, masked',
        tags,
        params: conferenceParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: webhookSecretPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const page = await withTenant(deps.db, { conferenceId }, (trx) =>
        listWebhookSecrets(trx, conferenceId, request.query),
      )
      return mapPage(page, toWebhookSecretBody)
    },
  )

  app.delete(
    `${PATH}/:id`,
    {
      config: { access },
      schema: {
        operationId: 'deleteWebhookSecret',
        summary: 'Delete a signing secret',
        description: 'Events that are signed with it alone are refused from now on.',
        tags,
        params: webhookSecretParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      await withTenant(deps.db, { conferenceId }, (trx) =>
        deleteWebhookSecret(trx, conferenceId, request.params.id),
      )
      return reply.code(204).send(null)
    },
  )
}
