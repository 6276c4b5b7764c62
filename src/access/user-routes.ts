import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { getConference } from '../conferences/conference-store.ts'
import { mapPage } from '../db/pages.ts'
import { callerOf, principalOf } from '../http/access-control.ts'
import { inCallerScope } from '../http/caller-scope.ts'
import { conferenceParams, pageQuery } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { changeUser, inviteOperator, inviteUser, userScopeOf } from './manage-users.ts'
import { type Place, placeInConference, placeOfPlatform } from './place-schemas.ts'
import {
  changeUserBody,
  inviteOperatorBody,
  inviteUserBody,
  toUserBody,
  userPage,
  userSchema,
} from './user-schemas.ts'
import { listUsers, removeUser } from './user-store.ts'

const tags = ['Users']

const OF_CONFERENCE = placeInConference('users', 'User', { anyOf: ['keys:write'], sponsor: true })
const OF_OPERATOR = placeOfPlatform('users', 'Operator')

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
      const page = await inCallerScope(db, request, (trx) =>
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
      await inCallerScope(db, request, (trx) =>
        removeUser(trx, scopeOf(request), request.params.id),
      )
      return reply.code(204).send(null)
    },
  )
}
