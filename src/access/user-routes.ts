import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { getConference } from '../conferences/conference-store.ts'
import type { Db, Tx } from '../db/connect.ts'
import { mapPage } from '../db/pages.ts'
import { withSystem, withTenant } from '../db/tenant-scope.ts'
import { type AccessRule, actorOf, callerOf, principalOf } from '../http/access-control.ts'
import { conferenceParams, pageQuery } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { changeUser, inviteOperator, inviteUser, userScopeOf } from './manage-users.ts'
import {
  changeUserBody,
  conferenceUserParams,
  inviteOperatorBody,
  inviteUserBody,
  operatorUserParams,
  toUserBody,
  userPage,
  userSchema,
} from './user-schemas.ts'
import { listUsers, removeUser } from './user-store.ts'

const tags = ['Users']

/** The path of a kind of users: below a conference, or at the top for operators. */
type Place = {
  path: string
  access: AccessRule
  /** The end of the operation ids, which must be unique in openapi.yaml. */
  suffix: string
  params: typeof conferenceParams | z.ZodObject<Record<never, never>>
  idParams: typeof conferenceUserParams | typeof operatorUserParams
}

const OF_CONFERENCE: Place = {
  path: '/v1/conferences/:conference/users',
  access: { anyOf: ['keys:write'], sponsor: true },
  suffix: 'User',
  params: conferenceParams,
  idParams: conferenceUserParams,
}

const OF_OPERATOR: Place = {
  path: '/v1/users',
  access: 'operator',
  suffix: 'Operator',
  params: z.object({}),
  idParams: operatorUserParams,
}

/** `C/users` for staff and sponsors' members, `/v1/users` for operators. */
export function userRoutes(app: App, deps: RouteDeps): void {
  inviteRoutes(app, deps)
  for (const place of [OF_CONFERENCE, OF_OPERATOR]) {
    listRoute(app, deps, place)
    changeRoute(app, deps, place)
    removeRoute(app, deps, place)
  }
}

function inviteRoutes(app: App, deps: RouteDeps): void {
  app.post(
    OF_CONFERENCE.path,
    {
      config: { access: OF_CONFERENCE.access },
      schema: {
        operationId: 'inviteUser',
        summary: 'Invite a person',
        description:
          'The person gets a mail and can sign in with this e-mail address immediately. A sponsor can invite its own colleagues.',
        tags,
        params: conferenceParams,
        body: inviteUserBody,
        response: { 201: userSchema },
      },
    },
    async (request, reply) => {
      const { conferenceId } = callerOf(request)
      const inviter = principalOf(request)
      const body = await deps.idempotency.run(request, async (trx) => {
        const conference = await getConference(trx, conferenceId)
        return toUserBody(await inviteUser(trx, inviter, conference, request.body))
      })
      return reply.code(201).send(body)
    },
  )

  app.post(
    OF_OPERATOR.path,
    {
      config: { access: OF_OPERATOR.access },
      schema: {
        operationId: 'inviteOperator',
        summary: 'Invite an operator',
        description: 'The person gets a mail and can use every conference.',
        tags,
        body: inviteOperatorBody,
        response: { 201: userSchema },
      },
    },
    async (request, reply) => {
      const { id } = principalOf(request)
      const body = await deps.idempotency.run(request, async (trx) =>
        toUserBody(await inviteOperator(trx, id, request.body)),
      )
      return reply.code(201).send(body)
    },
  )
}

const scopeOf = (request: FastifyRequest) => userScopeOf(principalOf(request), request.conferenceId)

function inScope<T>(db: Db, request: FastifyRequest, work: (trx: Tx) => Promise<T>): Promise<T> {
  const { conferenceId } = request
  const actor = actorOf(principalOf(request))
  return conferenceId === null
    ? withSystem(db, 'manage-conferences', work, actor)
    : withTenant(db, { conferenceId, actor }, work)
}

function listRoute(app: App, { db }: RouteDeps, place: Place): void {
  app.get(
    place.path,
    {
      config: { access: place.access },
      schema: {
        operationId: `list${place.suffix}s`,
        summary: 'List users',
        tags,
        params: place.params,
        querystring: z.strictObject(pageQuery),
        response: { 200: userPage },
      },
    },
    async (request) => {
      const page = await inScope(db, request, (trx) =>
        listUsers(trx, scopeOf(request), request.query),
      )
      return mapPage(page, toUserBody)
    },
  )
}

function changeRoute(app: App, deps: RouteDeps, place: Place): void {
  app.patch(
    `${place.path}/:id`,
    {
      config: { access: place.access },
      schema: {
        operationId: `update${place.suffix}`,
        summary: 'Change a user',
        description: 'The new scopes apply to the next request of the user.',
        tags,
        params: place.idParams,
        body: changeUserBody,
        response: { 200: userSchema },
      },
    },
    (request) =>
      deps.idempotency.run(request, async (trx) =>
        toUserBody(
          await changeUser(
            trx,
            principalOf(request),
            scopeOf(request),
            request.params.id,
            request.body,
          ),
        ),
      ),
  )
}

function removeRoute(app: App, { db }: RouteDeps, place: Place): void {
  app.delete(
    `${place.path}/:id`,
    {
      config: { access: place.access },
      schema: {
        operationId: `remove${place.suffix}`,
        summary: 'Remove a user',
        description: 'The next request of the user is refused.',
        tags,
        params: place.idParams,
        response: { 204: z.null() },
      },
    },
    async (request, reply) => {
      await inScope(db, request, (trx) => removeUser(trx, scopeOf(request), request.params.id))
      return reply.code(204).send(null)
    },
  )
}
