import type { FastifyRequest } from 'fastify'
import type { Actor } from '../shared/actor.ts'
import { AppError } from '../shared/errors.ts'
import type { Principal } from './access-rule.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the auth hook; null on public routes. */
    principal: Principal | null
    /** The conference of the path, once it is known and the caller belongs to it. */
    conferenceId: string | null
  }
}

/** Who calls, inside which conference: what every use case of a tenant needs. */
export type Caller = {
  conferenceId: string
  actor: Actor
  /** Set for a sponsor's key: it sees and touches only this sponsor's. */
  sponsorId: string | null
}

/** The authenticated principal. @throws AppError `unauthenticated` on a route without a rule for it. */
export function principalOf(request: FastifyRequest): Principal {
  if (request.principal === null) throw new AppError('unauthenticated', 'An API key is required.')
  return request.principal
}

function actorOf(principal: Principal): Actor {
  return { kind: principal.role, id: principal.keyId }
}

/** The caller of a route below `/v1/conferences/{conference}`. */
export function callerOf(request: FastifyRequest): Caller {
  const principal = principalOf(request)
  if (request.conferenceId === null) throw new Error('The route has no :conference parameter')
  return {
    conferenceId: request.conferenceId,
    actor: actorOf(principal),
    sponsorId: principal.role === 'sponsor' ? principal.sponsorId : null,
  }
}
