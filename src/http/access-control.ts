import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Actor, Caller, Principal, Scope } from '../shared/caller.ts'
import { AppError, notFound } from '../shared/errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: AccessRule
  }
}

/** What the hook asks of the domains; app.ts passes the implementations in. */
export type AuthPorts = {
  /** The key's owner, or null when it is unknown, expired or revoked. */
  authenticate(key: string): Promise<Principal | null>
  /** The id behind a slug or id, or null. */
  findConference(slugOrId: string): Promise<string | null>
  /** Called with the address of a caller whose key was refused. @throws AppError `rate_limited` */
  countFailedLogin(address: string): Promise<void>
}

function bearerOf(request: FastifyRequest): string {
  const match = /^Bearer ([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? '')
  if (match?.[1] === undefined) {
    throw new AppError('unauthenticated', 'Send an API key: Authorization: Bearer <key>.')
  }
  return match[1]
}

async function principalFrom(request: FastifyRequest, ports: AuthPorts): Promise<Principal> {
  const principal = await ports.authenticate(bearerOf(request))
  if (principal !== null) return principal
  await ports.countFailedLogin(request.ip)
  throw new AppError('unauthenticated', 'The API key is unknown, expired or revoked.')
}

async function conferenceFrom(
  request: FastifyRequest,
  principal: Principal,
  ports: AuthPorts,
): Promise<string | null> {
  const { conference } = request.params as { conference?: string }
  if (conference === undefined) return null
  const id = await ports.findConference(conference)
  // Another tenant's conference answers exactly like one that does not exist.
  const isOwn = principal.role === 'operator' || principal.conferenceId === id
  if (id === null || !isOwn) throw notFound('conference')
  return id
}

/**
 * Authenticates and authorises every route by its `config.access`, before its body is read. A route
 * without a rule stops the server from starting, so no new one can be open by mistake.
 */
export function addAuthHook(app: FastifyInstance, ports: AuthPorts): void {
  app.decorateRequest('principal', null)
  app.decorateRequest('conferenceId', null)
  app.addHook('onRoute', (route) => {
    if (route.config?.access === undefined) {
      throw new Error(`Route ${route.method.toString()} ${route.url} has no access rule`)
    }
  })
  app.addHook('onRequest', async (request) => {
    const rule = request.routeOptions.config.access
    if (rule === undefined || rule === 'public' || rule === 'stripe') return
    const principal = await principalFrom(request, ports)
    request.principal = principal
    request.conferenceId = await conferenceFrom(request, principal, ports)
    const refusal = denialReason(rule, principal)
    if (refusal !== null) throw new AppError('forbidden', refusal)
  })
}

/**
 * Who may call a route. Every route names its rule (`config: { access }`); the server refuses to
 * start with one that does not.
 *
 * - `public`: nobody is asked for a key. `stripe`: the signature is the key.
 * - `operator`: the platform only.
 * - `staff`: any staff key of the conference, or an operator.
 * - `{ anyOf, sponsor }`: a staff key with one of the scopes, or an operator; and, where `sponsor`
 *   is true, a sponsor key, whose handler shows it only its own.
 */
export type AccessRule =
  | 'public'
  | 'stripe'
  | 'operator'
  | 'staff'
  | { anyOf: readonly [Scope, ...Scope[]]; sponsor?: boolean }

/** Null when the rule lets the principal pass, else the reason in words for the 403. */
function denialReason(rule: AccessRule, principal: Principal): string | null {
  if (rule === 'public' || rule === 'stripe' || principal.role === 'operator') return null
  if (rule === 'operator') return 'Only the operator may do that.'
  if (rule === 'staff') return principal.role === 'staff' ? null : 'Only staff may do that.'
  if (principal.role === 'sponsor')
    return rule.sponsor === true ? null : 'A sponsor may not do that.'
  if (rule.anyOf.some((scope) => principal.scopes.includes(scope))) return null
  return `This key needs the scope ${rule.anyOf.join(' or ')}.`
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the auth hook; null on public routes. */
    principal: Principal | null
    /** The conference of the path, once it is known and the caller belongs to it. */
    conferenceId: string | null
  }
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
