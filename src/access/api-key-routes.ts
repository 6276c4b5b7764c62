import { z } from 'zod'
import { mapPage } from '../db/pages.ts'
import { callerOf, principalOf } from '../http/access-control.ts'
import { inCallerScope } from '../http/caller-scope.ts'
import { conferenceParams, pageQuery } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import {
  apiKeyPage,
  apiKeySchema,
  createConferenceKeyBody,
  createOperatorKeyBody,
  rotateKeyBody,
  toApiKeyBody,
  toIssuedKeyBody,
} from './api-key-schemas.ts'
import { listKeys, revokeKey, toApiKey } from './api-key-store.ts'
import { createConferenceKey, createOperatorKey, rotateKey } from './issue-api-key.ts'
import { type Place, placeInConference, placeOfPlatform } from './place-schemas.ts'

const tags = ['API keys']

const OF_CONFERENCE = placeInConference('api-keys', 'ApiKey', { anyOf: ['keys:write'] })
const OF_OPERATOR = placeOfPlatform('api-keys', 'OperatorApiKey')

/** `C/api-keys` for staff and sponsor keys, `/v1/api-keys` for operator keys. */
export function apiKeyRoutes(app: App, deps: RouteDeps): void {
  createRoutes(app, deps)
  for (const place of [OF_CONFERENCE, OF_OPERATOR]) {
    listRoute(app, deps, place)
    revokeRoute(app, deps, place)
    rotateRoute(app, deps, place)
  }
}

function createRoutes(app: App, deps: RouteDeps): void {
  app.post(
    OF_CONFERENCE.path,
    {
      config: { access: OF_CONFERENCE.access },
      schema: {
        operationId: 'createApiKey',
        summary: 'Create a staff or sponsor key',
        description:
          'The response contains the key. It is not shown again. A sponsor key can be created only by a key that has `purchases:write` and `vouchers:read`.',
        tags,
        params: conferenceParams,
        body: createConferenceKeyBody,
        response: { 201: apiKeySchema },
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const creator = principalOf(request)
      const body = await deps.idempotency.run(request, async (trx) =>
        toIssuedKeyBody(await createConferenceKey(trx, creator, conferenceId, request.body)),
      )
      return reply.code(201).send(body)
    },
  )

  app.post(
    OF_OPERATOR.path,
    {
      config: { access: OF_OPERATOR.access },
      schema: {
        operationId: 'createOperatorApiKey',
        summary: 'Create an operator key',
        description: 'The response contains the key. It is not shown again.',
        tags,
        body: createOperatorKeyBody,
        response: { 201: apiKeySchema },
      },
    },
    async (request, reply) => {
      const creator = principalOf(request)
      const body = await deps.idempotency.run(request, async (trx) =>
        toIssuedKeyBody(await createOperatorKey(trx, creator, request.body)),
      )
      return reply.code(201).send(body)
    },
  )
}

function listRoute(app: App, { db }: RouteDeps, place: Place): void {
  app.get(
    place.path,
    {
      config: { access: place.access },
      schema: {
        operationId: `list${place.suffix}s`,
        summary: 'List API keys',
        tags,
        params: place.params,
        querystring: z.strictObject(pageQuery),
        response: { 200: apiKeyPage },
      },
    },
    async (request) => {
      const page = await inCallerScope(db, request, (trx) =>
        listKeys(trx, request.conferenceId, request.query),
      )
      return mapPage(page, (row) => toApiKeyBody(toApiKey(row), null))
    },
  )
}

function revokeRoute(app: App, { db }: RouteDeps, place: Place): void {
  app.delete(
    `${place.path}/:id`,
    {
      config: { access: place.access },
      schema: {
        operationId: `revoke${place.suffix}`,
        summary: 'Revoke an API key',
        description: 'The key stops working immediately. Idempotent.',
        tags,
        params: place.idParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const { id } = request.params
      await inCallerScope(db, request, (trx) => revokeKey(trx, request.conferenceId, id))
      return reply.code(204).send(null)
    },
  )
}

function rotateRoute(app: App, { idempotency }: RouteDeps, place: Place): void {
  app.post(
    `${place.path}/:id/rotate`,
    {
      config: { access: place.access },
      schema: {
        operationId: `rotate${place.suffix}`,
        summary: 'Rotate an API key',
        description:
          'Creates a successor with the same rights. Both keys work for `overlap_seconds`, then only the successor. The caller must have all rights of the key.',
        tags,
        params: place.idParams,
        body: rotateKeyBody,
        response: { 201: apiKeySchema },
      },
    },
    async (request, reply) => {
      const target = { conferenceId: request.conferenceId, id: request.params.id }
      const body = await idempotency.run(request, async (trx) =>
        toIssuedKeyBody(
          await rotateKey(trx, principalOf(request), target, request.body.overlap_seconds),
        ),
      )
      return reply.code(201).send(body)
    },
  )
}
