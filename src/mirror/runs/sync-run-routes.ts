import type { FastifyReply, FastifyRequest } from 'fastify'
import { mapPage } from '../../db/pages.ts'
import { withTenant } from '../../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../../http/access-control.ts'
import { conferenceParams } from '../../http/common-schemas.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import { AppError } from '../../shared/errors.ts'
import { resourceParams } from '../mirror-schemas.ts'
import { ALL_RESOURCES } from '../resource-registry.ts'
import { isForeignId, type StripeResource } from '../stripe-resource.ts'
import {
  startSyncRunBody,
  syncRunPage,
  syncRunParams,
  syncRunQuery,
  syncRunSchema,
  toSyncRunBody,
} from './sync-run-schemas.ts'
import { cancelSyncRun, getSyncRun, listSyncRuns, startSyncRun } from './sync-run-store.ts'

const PATH = '/v1/conferences/:conference/stripe'
const access: AccessRule = { anyOf: ['stripe:sync'] }
const tags = ['Stripe mirror']

/** `C/stripe/{resource}/sync` and `C/stripe/sync-runs`: start, list, get and cancel sync runs. */
export function syncRunRoutes(app: App, deps: Pick<RouteDeps, 'db' | 'idempotency'>): void {
  for (const resource of ALL_RESOURCES) startRoute(app, deps, resource)
  listRoute(app, deps)
  getRoute(app, deps)
  cancelRoute(app, deps)
}

type Deps = Pick<RouteDeps, 'db' | 'idempotency'>

const STARTED = {
  url: `${PATH}/:resource/sync`,
  schema: {
    operationId: 'syncStripeObjects',
    summary: 'Sync a resource from Stripe',
    description:
      'Starts a run in the background; the `Location` header is its URL. Only one run of a resource can be active.',
    tags,
    params: resourceParams,
    body: startSyncRunBody,
    response: { 202: syncRunSchema },
  },
}

function startRoute(app: App, { idempotency }: Deps, resource: StripeResource): void {
  app.post(
    `${PATH}/${resource.name}/sync`,
    {
      config: { access, documentedAs: STARTED },
      schema: {
        params: conferenceParams,
        body: startSyncRunBody,
        response: { 202: syncRunSchema },
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const { ids, since, force, dry_run: dryRun } = request.body
      assertOwnIds(resource, ids ?? [])
      const options = { ids: ids ?? null, since: since ?? null, force, dryRun }
      const body = await idempotency.run(request, async (trx) =>
        toSyncRunBody(
          await startSyncRun(trx, {
            conferenceId,
            resource: resource.name,
            startedBy: 'api',
            options,
          }),
        ),
      )
      return accepted(request, reply, body)
    },
  )
}

function accepted<Body extends { id: string }>(
  request: FastifyRequest,
  reply: FastifyReply,
  body: Body,
): Body {
  const { conference } = request.params as { conference: string } // all paths here contain it
  const path = `/v1/conferences/${encodeURIComponent(conference)}/stripe/sync-runs/${body.id}`
  void reply.status(202).header('location', path)
  return body
}

/** @throws AppError `validation_failed` that lists the ids of another kind. */
function assertOwnIds(resource: StripeResource, ids: readonly string[]): void {
  const prefixes = resource.idPrefixes.join(' or ')
  const errors = ids.flatMap((id, index) =>
    isForeignId(resource, id)
      ? [{ pointer: `/ids/${index}`, detail: `must begin with ${prefixes}` }]
      : [],
  )
  if (errors.length === 0) return
  throw new AppError('validation_failed', `Ids of ${resource.name} begin with ${prefixes}.`, {
    errors,
  })
}

function listRoute(app: App, { db }: Deps): void {
  app.get(
    `${PATH}/sync-runs`,
    {
      config: { access },
      schema: {
        operationId: 'listSyncRuns',
        summary: 'List sync runs',
        tags,
        params: conferenceParams,
        querystring: syncRunQuery,
        response: { 200: syncRunPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { resource, state, ...page } = request.query
      const runs = await withTenant(db, { conferenceId }, (trx) =>
        listSyncRuns(trx, conferenceId, { resource, state }, page),
      )
      return mapPage(runs, toSyncRunBody)
    },
  )
}

function getRoute(app: App, { db }: Deps): void {
  app.get(
    `${PATH}/sync-runs/:run`,
    {
      config: { access },
      schema: {
        operationId: 'getSyncRun',
        summary: 'Get a sync run',
        tags,
        params: syncRunParams,
        response: { 200: syncRunSchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const ref = { conferenceId, runId: request.params.run }
      return toSyncRunBody(await withTenant(db, ref, (trx) => getSyncRun(trx, ref)))
    },
  )
}

function cancelRoute(app: App, { idempotency }: Deps): void {
  app.post(
    `${PATH}/sync-runs/:run/cancel`,
    {
      config: { access },
      schema: {
        operationId: 'cancelSyncRun',
        summary: 'Cancel a sync run',
        description: 'The run ends after the current page. Stored objects are kept.',
        tags,
        params: syncRunParams,
        response: { 200: syncRunSchema },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      return idempotency.run(request, async (trx) =>
        toSyncRunBody(await cancelSyncRun(trx, { conferenceId, runId: request.params.run })),
      )
    },
  )
}
