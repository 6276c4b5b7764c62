import { z } from 'zod'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../http/access-control.ts'
import { conferenceParams, pageQuery } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import {
  createEndpointBody,
  deliveryPage,
  deliveryParams,
  deliveryQuery,
  deliverySchema,
  endpointPage,
  endpointParams,
  endpointSchema,
  rotateSecretBody,
  toDeliveryBody,
  toEndpointBody,
  toEndpointWithSecretBody,
  updateEndpointBody,
} from './outbound-webhook-schemas.ts'
import { listDeliveries, replayDelivery } from './webhook-deliveries.ts'
import {
  deleteEndpoint,
  getEndpoint,
  insertEndpoint,
  listEndpoints,
  rotateEndpointSecret,
  updateEndpoint,
} from './webhook-endpoints.ts'

const PATH = '/v1/conferences/:conference/webhook-endpoints'
const access: AccessRule = { anyOf: ['settings:write'] }
const tags = ['Outbound webhooks']

export type WebhookEndpointRouteDeps = RouteDeps & {
  /** Webhooks may go to addresses of this machine, for development. */
  allowLoopback: boolean
}

/** `C/webhook-endpoints`: the addresses to which a conference wants events sent. */
export function webhookEndpointRoutes(app: App, deps: WebhookEndpointRouteDeps): void {
  writeRoutes(app, deps)
  secretRoute(app, deps)
  readRoutes(app, deps)
}

function writeRoutes(app: App, deps: WebhookEndpointRouteDeps): void {
  app.post(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'createWebhookEndpoint',
        summary: 'Add a webhook endpoint',
        description:
          'The response contains the signing secret. It is not shown again. A conference can have at most 16 endpoints.',
        tags,
        params: conferenceParams,
        body: createEndpointBody(deps.allowLoopback),
        response: { 201: endpointSchema },
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const { url, description, event_types: eventTypes } = request.body
      const body = await deps.idempotency.run(request, async (trx) =>
        toEndpointWithSecretBody(
          await insertEndpoint(trx, deps.encryption, conferenceId, {
            url,
            description,
            eventTypes,
          }),
        ),
      )
      return reply.code(201).send(body)
    },
  )

  app.patch(
    `${PATH}/:id`,
    {
      config: { access },
      schema: {
        operationId: 'updateWebhookEndpoint',
        summary: 'Update, disable or enable a webhook endpoint',
        tags,
        params: endpointParams,
        body: updateEndpointBody(deps.allowLoopback),
        response: { 200: endpointSchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { event_types: eventTypes, ...rest } = request.body
      const changes = { ...rest, eventTypes }
      return deps.idempotency.run(request, async (trx) =>
        toEndpointBody(await updateEndpoint(trx, conferenceId, request.params.id, changes)),
      )
    },
  )

  app.delete(
    `${PATH}/:id`,
    {
      config: { access },
      schema: {
        operationId: 'deleteWebhookEndpoint',
        summary: 'Delete a webhook endpoint and its deliveries',
        tags,
        params: endpointParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      await withTenant(deps.db, caller, (trx) =>
        deleteEndpoint(trx, caller.conferenceId, request.params.id),
      )
      return reply.code(204).send(null)
    },
  )
}

function secretRoute(app: App, deps: WebhookEndpointRouteDeps): void {
  app.post(
    `${PATH}/:id/rotate-secret`,
    {
      config: { access },
      schema: {
        operationId: 'rotateWebhookEndpointSecret',
        summary: 'Rotate the signing secret of a webhook endpoint',
        description:
          'The response contains the new secret. It is not shown again. For `overlap_seconds`, deliveries are signed with both secrets.',
        tags,
        params: endpointParams,
        body: rotateSecretBody,
        response: { 200: endpointSchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { overlap_seconds: overlap } = request.body
      return deps.idempotency.run(request, async (trx) =>
        toEndpointWithSecretBody(
          await rotateEndpointSecret(
            trx,
            deps.encryption,
            conferenceId,
            request.params.id,
            overlap,
          ),
        ),
      )
    },
  )
}

function readRoutes(app: App, { db }: WebhookEndpointRouteDeps): void {
  app.get(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'listWebhookEndpoints',
        summary: 'List webhook endpoints',
        tags,
        params: conferenceParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: endpointPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const page = await withTenant(db, { conferenceId }, (trx) =>
        listEndpoints(trx, conferenceId, request.query),
      )
      return mapPage(page, toEndpointBody)
    },
  )

  app.get(
    `${PATH}/:id`,
    {
      config: { access },
      schema: {
        operationId: 'getWebhookEndpoint',
        summary: 'Get a webhook endpoint',
        tags,
        params: endpointParams,
        response: { 200: endpointSchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      return withTenant(db, { conferenceId }, async (trx) =>
        toEndpointBody(await getEndpoint(trx, conferenceId, request.params.id)),
      )
    },
  )
}

const DELIVERIES_PATH = '/v1/conferences/:conference/webhook-endpoints/:id/deliveries'

/** `C/webhook-endpoints/{id}/deliveries`: the deliveries to an endpoint and their outcome. */
export function webhookDeliveryRoutes(app: App, deps: RouteDeps): void {
  app.get(
    DELIVERIES_PATH,
    {
      config: { access },
      schema: {
        operationId: 'listWebhookDeliveries',
        summary: 'List deliveries of a webhook endpoint',
        description: 'Finished deliveries are kept for 30 days.',
        tags,
        params: endpointParams,
        querystring: deliveryQuery,
        response: { 200: deliveryPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { state, type, ...page } = request.query
      const read = await deps.reads.of(request)
      const deliveries = await read((db) =>
        withTenant(db, { conferenceId }, (trx) =>
          listDeliveries(trx, conferenceId, request.params.id, { state, type }, page),
        ),
      )
      return mapPage(deliveries, toDeliveryBody)
    },
  )

  app.post(
    `${DELIVERIES_PATH}/:delivery/replay`,
    {
      config: { access },
      schema: {
        operationId: 'replayWebhookDelivery',
        summary: 'Replay a webhook delivery',
        description:
          'Sends a finished delivery again. The `webhook-id` stays the same, so the receiver can recognise a duplicate.',
        tags,
        params: deliveryParams,
        response: { 200: deliverySchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { id, delivery } = request.params
      return deps.idempotency.run(request, async (trx) =>
        toDeliveryBody(await replayDelivery(trx, conferenceId, id, delivery)),
      )
    },
  )
}
