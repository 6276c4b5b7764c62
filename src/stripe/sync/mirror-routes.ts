import { withTenant } from '../../db/tenant-scope.ts'
import type { AccessRule } from '../../http/access-rule.ts'
import { callerOf } from '../../http/caller.ts'
import { conferenceParams } from '../../http/common-schemas.ts'
import { mapPage } from '../../http/pages.ts'
import type { App, RouteDeps } from '../../http/route-deps.ts'
import { notFound } from '../../shared/errors.ts'
import { toMirrorBody } from './mirror-body.ts'
import { mirrorNames } from './mirror-names.ts'
import { findMirrored, listMirror } from './mirror-store.ts'
import { MIRRORS, type Mirror } from './mirrors.ts'
import { unknownResourceRoutes } from './unknown-resource-routes.ts'

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

const words = (...sentences: (string | undefined)[]) =>
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
        description: words(
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
        listMirror(trx, resource, conferenceId, filter, page),
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
        description: words(resource.description, 'A deleted one is shown too.'),
        tags,
        params: schemas.params,
        response: { 200: schemas.row },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const row = await withTenant(db, { conferenceId }, (trx) =>
        findMirrored(trx, resource, conferenceId, request.params.id),
      )
      if (row === null) throw notFound(names.one)
      return toMirrorBody(resource, row)
    },
  )
}
