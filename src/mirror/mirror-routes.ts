import type { FastifyRequest } from 'fastify'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../http/access-control.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import { noRoute } from '../http/problem.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { notFound } from '../shared/errors.ts'
import { documentedMirror, MIRRORS, type Mirror, toMirrorBody } from './mirror-schemas.ts'
import { findMirroredObject, listMirroredObjects } from './mirror-store.ts'
import { findResource, mirrorNames, unknownResource } from './resource-registry.ts'

const PATH = '/v1/conferences/:conference/stripe'

// Who creates coupons and promotion codes can also read them.
const CREATED_BY_BILLING: ReadonlySet<string> = new Set(['coupons', 'promotion-codes'])

const accessTo = (resource: string): AccessRule => ({
  anyOf: CREATED_BY_BILLING.has(resource) ? ['stripe:sync', 'billing:write'] : ['stripe:sync'],
})

const tags = ['Stripe mirror']

/** `C/stripe/{resource}`: list and get mirrored objects, for each resource. */
export function mirrorRoutes(app: App, deps: Pick<RouteDeps, 'db' | 'reads'>): void {
  for (const mirror of MIRRORS) {
    listRoute(app, deps, mirror)
    getRoute(app, deps, mirror)
  }
  unknownResourceRoutes(app, PATH)
}

const LISTED = {
  url: `${PATH}/:resource`,
  schema: {
    operationId: 'listStripeObjects',
    summary: 'List mirrored objects of a resource',
    description:
      'Newest first, by creation at Stripe. A parameter with the name of a column filters by equality; it may not be empty. Each resource accepts its own columns. Keys with `billing:write` can also read coupons and promotion codes.',
    tags,
    params: documentedMirror.params,
    querystring: documentedMirror.query,
    response: { 200: documentedMirror.page },
  },
}

function listRoute(
  app: App,
  { reads }: Pick<RouteDeps, 'reads'>,
  { resource, schemas }: Mirror,
): void {
  app.get(
    `${PATH}/${resource.name}`,
    {
      config: { access: accessTo(resource.name), documentedAs: LISTED },
      schema: {
        params: conferenceParams,
        querystring: schemas.query,
        response: { 200: schemas.page },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { filter, page } = request.query
      const read = await reads.of(request)
      const rows = await read((db) =>
        withTenant(db, { conferenceId }, (trx) =>
          listMirroredObjects(trx, resource, conferenceId, filter, page),
        ),
      )
      return mapPage(rows, (row) => toMirrorBody(resource, row))
    },
  )
}

const SHOWN = {
  url: `${PATH}/:resource/:id`,
  schema: {
    operationId: 'getStripeObject',
    summary: 'Get a mirrored object',
    description:
      'Also returns deleted objects. Keys with `billing:write` can also read coupons and promotion codes.',
    tags,
    params: documentedMirror.rowParams,
    response: { 200: documentedMirror.row },
  },
}

function getRoute(app: App, { db }: Pick<RouteDeps, 'db'>, { resource, schemas }: Mirror): void {
  app.get(
    `${PATH}/${resource.name}/:id`,
    {
      config: { access: accessTo(resource.name), documentedAs: SHOWN },
      schema: { params: schemas.params, response: { 200: schemas.body } },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const row = await withTenant(db, { conferenceId }, (trx) =>
        findMirroredObject(trx, resource, conferenceId, request.params.id),
      )
      if (row === null) throw notFound(mirrorNames(resource).one)
      return toMirrorBody(resource, row)
    },
  )
}

/**
 * Answers 404 for every unknown path below `path`; for an unknown resource the answer lists the known
 * ones. This is a not-found handler, because routes would appear in the API document and hide others.
 */
function unknownResourceRoutes(app: App, path: string): void {
  // Some paths, such as `events`, are not resources. `hasRoute` reads its argument as a pattern, so only
  // plain names may reach it.
  const isPage = (name: string) =>
    /^[a-z-]+$/.test(name) && app.hasRoute({ method: 'GET', url: `${path}/${name}` })

  void app.register(
    async (scope) => {
      scope.setNotFoundHandler((request) => {
        const name = nameIn(request)
        if (name !== '' && findResource(name) === undefined && !isPage(name)) {
          throw unknownResource()
        }
        throw noRoute(request)
      })
    },
    { prefix: path },
  )
}

/** The segment of the path that should name a resource. */
function nameIn({ params }: FastifyRequest): string {
  // Fastify stores the rest of a path without a route under `*`.
  const { '*': rest = '' } = params as { '*'?: string }
  return rest.split('/')[0] ?? ''
}
