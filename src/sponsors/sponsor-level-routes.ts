import { z } from 'zod'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { type AccessRule, callerOf } from '../http/access-control.ts'
import { conferenceParams, pageQuery } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { changeLevel, createLevel, getLevel, listLevels, toLevel } from './sponsor-levels.ts'
import {
  createLevelBody,
  levelPage,
  levelParams,
  levelSchema,
  toLevelBody,
  updateLevelBody,
} from './sponsor-schemas.ts'

const PATH = '/v1/conferences/:conference/sponsor-levels'
const access: AccessRule = { anyOf: ['catalog:write'] }
const tags = ['Sponsors']

/** `C/sponsor-levels`. */
export function sponsorLevelRoutes(app: App, deps: RouteDeps): void {
  writeRoutes(app, deps)
  readRoutes(app, deps)
}

function writeRoutes(app: App, { idempotency }: RouteDeps): void {
  app.post(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'createSponsorLevel',
        summary: 'Create a sponsor level',
        tags,
        params: conferenceParams,
        body: createLevelBody,
        response: { 201: levelSchema },
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const body = await idempotency.run(request, async (trx) =>
        toLevelBody(await createLevel(trx, conferenceId, request.body)),
      )
      return reply.code(201).send(body)
    },
  )

  app.patch(
    `${PATH}/:id`,
    {
      config: { access },
      schema: {
        operationId: 'updateSponsorLevel',
        summary: 'Change a sponsor level',
        description: 'Vouchers that were already issued do not change.',
        tags,
        params: levelParams,
        body: updateLevelBody,
        response: { 200: levelSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return idempotency.run(request, async (trx) =>
        toLevelBody(await changeLevel(trx, conferenceId, request.params.id, request.body)),
      )
    },
  )
}

function readRoutes(app: App, { db }: RouteDeps): void {
  app.get(
    PATH,
    {
      config: { access },
      schema: {
        operationId: 'listSponsorLevels',
        summary: 'List sponsor levels',
        tags,
        params: conferenceParams,
        querystring: z.strictObject(pageQuery),
        response: { 200: levelPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const page = await withTenant(db, { conferenceId }, (trx) =>
        listLevels(trx, conferenceId, request.query),
      )
      return mapPage(page, (row) => toLevelBody(toLevel(row)))
    },
  )

  app.get(
    `${PATH}/:id`,
    {
      config: { access },
      schema: {
        operationId: 'getSponsorLevel',
        summary: 'Get a sponsor level',
        tags,
        params: levelParams,
        response: { 200: levelSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return withTenant(db, { conferenceId }, async (trx) =>
        toLevelBody(await getLevel(trx, conferenceId, request.params.id)),
      )
    },
  )
}
