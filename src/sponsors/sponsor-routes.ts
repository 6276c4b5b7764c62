import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import type { AccessRule } from '../http/access-control.ts'
import { callerOf } from '../http/access-control.ts'
import { conferenceParams } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { invalidField } from '../shared/errors.ts'
import type { IssueComps } from './manage-sponsors.ts'
import { changeSponsor, createSponsor } from './manage-sponsors.ts'
import { findLevel } from './sponsor-levels.ts'
import {
  createSponsorBody,
  sponsorPage,
  sponsorParams,
  sponsorQuery,
  sponsorSchema,
  toSponsorBody,
  updateSponsorBody,
} from './sponsor-schemas.ts'
import { getSponsor, listSponsors, toSponsor } from './sponsor-store.ts'

const PATH = '/v1/conferences/:conference/sponsors'
const WRITE: AccessRule = { anyOf: ['catalog:write'] }
/** Whoever buys, issues or invites for a sponsor must find it. */
const READ: AccessRule = {
  anyOf: ['catalog:write', 'purchases:read', 'purchases:write', 'vouchers:write', 'keys:write'],
}
const tags = ['Sponsors']

/** `C/sponsors`. `issueComps` issues the complimentary vouchers of a first level. */
export function sponsorRoutes(app: App, deps: RouteDeps & { issueComps: IssueComps }): void {
  writeRoutes(app, deps)
  readRoutes(app, deps)
}

function writeRoutes(app: App, deps: RouteDeps & { issueComps: IssueComps }): void {
  app.post(
    PATH,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'createSponsor',
        summary: 'Create a sponsor',
        description:
          'If the sponsor has a level, the complimentary vouchers of the level are issued too.',
        tags,
        params: conferenceParams,
        body: createSponsorBody,
        response: { 201: sponsorSchema },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const body = await deps.idempotency.run(request, async (trx) =>
        toSponsorBody(await createSponsor(trx, deps, caller, request.body)),
      )
      return reply.code(201).send(body)
    },
  )

  app.patch(
    `${PATH}/:id`,
    {
      config: { access: WRITE },
      schema: {
        operationId: 'updateSponsor',
        summary: 'Change a sponsor',
        description:
          'The first level of a sponsor issues its complimentary vouchers. A later change of level issues none.',
        tags,
        params: sponsorParams,
        body: updateSponsorBody,
        response: { 200: sponsorSchema },
      },
    },
    (request) => {
      const caller = callerOf(request)
      return deps.idempotency.run(request, async (trx) =>
        toSponsorBody(await changeSponsor(trx, deps, caller, request.params.id, request.body)),
      )
    },
  )
}

function readRoutes(app: App, { db, reads }: RouteDeps): void {
  app.get(
    PATH,
    {
      config: { access: READ },
      schema: {
        operationId: 'listSponsors',
        summary: 'List sponsors',
        tags,
        params: conferenceParams,
        querystring: sponsorQuery,
        response: { 200: sponsorPage },
      },
    },
    async (request) => {
      const { conferenceId } = callerOf(request)
      const { external_id: externalId, level, q: text } = request.query
      const read = await reads.of(request)
      const page = await read((db) =>
        withTenant(db, { conferenceId }, async (trx) => {
          const levelId =
            level === undefined ? undefined : (await findLevel(trx, conferenceId, level))?.id
          if (level !== undefined && levelId === undefined) {
            throw invalidField('query/level', `This conference has no sponsor level "${level}".`)
          }
          return listSponsors(trx, conferenceId, { externalId, levelId, text }, request.query)
        }),
      )
      return mapPage(page, (row) => toSponsorBody(toSponsor(row)))
    },
  )

  app.get(
    `${PATH}/:id`,
    {
      config: { access: READ },
      schema: {
        operationId: 'getSponsor',
        summary: 'Get a sponsor',
        tags,
        params: sponsorParams,
        response: { 200: sponsorSchema },
      },
    },
    (request) => {
      const { conferenceId } = callerOf(request)
      return withTenant(db, { conferenceId }, async (trx) =>
        toSponsorBody(await getSponsor(trx, conferenceId, request.params.id)),
      )
    },
  )
}
