import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { AccessRule } from '../http/access-control.ts'
import { callerOf } from '../http/access-control.ts'
import { conferenceParams, pageQuery } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import type { CatalogKind } from './catalog-items.ts'
import {
  CATALOG_KINDS,
  changeItem,
  createItem,
  getVisibleItem,
  listItems,
  toCatalogItem,
  type Visibility,
} from './catalog-items.ts'
import { catalogParams, catalogSchemas, toCatalogBody } from './catalog-schemas.ts'

const WRITE: AccessRule = { anyOf: ['catalog:write'] }
/** Whoever works with purchases or vouchers needs the names of what they are for. */
const READ: AccessRule = {
  anyOf: [
    'catalog:write',
    'purchases:read',
    'purchases:write',
    'vouchers:read',
    'vouchers:write',
    'vouchers:redeem',
  ],
  sponsor: true,
}
const tags = ['Catalogue']

type Schemas = ReturnType<typeof catalogSchemas>

/** `C/ticket-types` and `C/add-ons`. */
export function catalogRoutes(app: App, deps: RouteDeps): void {
  for (const kind of ['ticket_type', 'add_on'] as const) {
    const schemas = catalogSchemas(kind)
    writeRoutes(app, deps, kind, schemas)
    readRoutes(app, deps, kind, schemas)
  }
}

const pathOf = (kind: CatalogKind) => `/v1/conferences/:conference/${CATALOG_KINDS[kind].path}`

function writeRoutes(
  app: App,
  { idempotency }: RouteDeps,
  kind: CatalogKind,
  schemas: Schemas,
): void {
  const { withArticle, title } = CATALOG_KINDS[kind]

  app.post(
    pathOf(kind),
    {
      config: { access: WRITE },
      schema: {
        operationId: `create${title}`,
        summary: `Create ${withArticle}`,
        tags,
        params: conferenceParams,
        body: schemas.createBody,
        response: { 201: schemas.item },
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const body = await idempotency.run(request, async (trx) =>
        toCatalogBody(await createItem(trx, conferenceId, kind, request.body)),
      )
      return reply.code(201).send(body)
    },
  )

  app.patch(
    `${pathOf(kind)}/:id`,
    {
      config: { access: WRITE },
      schema: {
        operationId: `update${title}`,
        summary: `Change ${withArticle}`,
        description: 'Existing purchases keep their price and terms.',
        tags,
        params: catalogParams,
        body: schemas.updateBody,
        response: { 200: schemas.item },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return idempotency.run(request, async (trx) =>
        toCatalogBody(await changeItem(trx, conferenceId, kind, request.params.id, request.body)),
      )
    },
  )
}

function readRoutes(app: App, { db }: RouteDeps, kind: CatalogKind, schemas: Schemas): void {
  const { noun, withArticle, title } = CATALOG_KINDS[kind]

  app.get(
    pathOf(kind),
    {
      config: { access: READ },
      schema: {
        operationId: `list${title}s`,
        summary: `List ${noun}s`,
        description: 'A sponsor key sees only items that can be bought in bulk.',
        tags,
        params: conferenceParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: schemas.page },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const page = await withTenant(db, { conferenceId }, (trx) =>
        listItems(trx, conferenceId, kind, visibilityFor(request), request.query),
      )
      return mapPage(page, (row) => toCatalogBody(toCatalogItem(kind, row)))
    },
  )

  app.get(
    `${pathOf(kind)}/:id`,
    {
      config: { access: READ },
      schema: {
        operationId: `get${title}`,
        summary: `Get ${withArticle}`,
        tags,
        params: catalogParams,
        response: { 200: schemas.item },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return withTenant(db, { conferenceId }, async (trx) =>
        toCatalogBody(
          await getVisibleItem(trx, conferenceId, kind, request.params.id, visibilityFor(request)),
        ),
      )
    },
  )
}

function visibilityFor(request: FastifyRequest): Visibility {
  return { bulkEnabledOnly: callerOf(request).sponsorId !== null }
}
