import type { FastifyRequest } from 'fastify'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../http/access-control.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { MIRRORS, type Mirror, toMirrorBody } from './mirror-schemas.ts'
import { findMirroredObject, listMirroredObjects } from './mirror-store.ts'
import { findResource, mirrorNames, unknownResource } from './resource-registry.ts'

const PATH = '/v1/conferences/:conference/stripe'
const access: AccessRule = { anyOf: ['stripe:sync'] }
const tags = ['Stripe mirror']

/** `C/stripe/{resource}`: reading the mirror, for every resource that there is. */
export function mirrorRoutes(app: App, deps: Pick<RouteDeps, 'db'>): void {
  for (const mirror of MIRRORS) {
    listRoute(app, deps, mirror)
    getRoute(app, deps, mirror)
  }
  unknownResourceRoutes(app, PATH)
}

const joinSentences = (...sentences: (string | undefined)[]) =>
  sentences.filter((sentence) => sentence !== undefined).join(' ')

function listRoute(app: App, { db }: Pick<RouteDeps, 'db'>, { resource, schemas }: Mirror): void {
  const names = mirrorNames(resource)
  app.get(
    `${PATH}/${resource.name}`,
    {
      config: { access },
      schema: {
        operationId: names.list,
        summary: `List mirrored ${names.many}`,
        description: joinSentences(
          resource.description,
          'Newest at Stripe first. A parameter that is named like a column asks for equality.',
        ),
        tags,
        params: conferenceParams,
        querystring: schemas.query,
        response: { 200: schemas.page },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { filter, page } = request.query
      const rows = await withTenant(db, { conferenceId }, (trx) =>
        listMirroredObjects(trx, resource, conferenceId, filter, page),
      )
      return mapPage(rows, (row) => toMirrorBody(resource, row))
    },
  )
}

function getRoute(app: App, { db }: Pick<RouteDeps, 'db'>, { resource, schemas }: Mirror): void {
  const names = mirrorNames(resource)
  app.get(
    `${PATH}/${resource.name}/:id`,
    {
      config: { access },
      schema: {
        operationId: names.get,
        summary: `Get a mirrored ${names.one}`,
        description: joinSentences(resource.description, 'A deleted one is shown too.'),
        tags,
        params: schemas.params,
        response: { 200: schemas.row },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const row = await withTenant(db, { conferenceId }, (trx) =>
        findMirroredObject(trx, resource, conferenceId, request.params.id),
      )
      if (row === null) throw notFound(names.one)
      return toMirrorBody(resource, row)
    },
  )
}

/**
 * What an unknown path below `path` answers: a name that is no resource gets the list of those that
 * are. Not routes of their own: those would stand in the API's document, and in the way of others.
 */
function unknownResourceRoutes(app: App, path: string): void {
  // Beside the resources there are pages such as `events`. Asked only with what is plainly a name,
  // since the router reads a pattern.
  const isPage = (name: string) =>
    /^[a-z-]+$/.test(name) && app.hasRoute({ method: 'GET', url: `${path}/${name}` })

  void app.register(
    async (scope) => {
      scope.setNotFoundHandler((request) => {
        const name = nameIn(request)
        if (name !== '' && findResource(name) === undefined && !isPage(name)) {
          throw unknownResource()
        }
        throw new AppError('not_found', `There is no ${request.method} on this path.`)
      })
    },
    { prefix: path },
  )
}

/** The part of the path that should name a resource. */
function nameIn({ params }: FastifyRequest): string {
  // `*` is what fastify calls the rest of a path that it found no route for.
  const { '*': rest = '' } = params as { '*'?: string }
  return rest.split('/')[0] ?? ''
}
