import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Actor, Caller, Principal, Scope } from '../shared/caller.ts'
import { AppError, notFound } from '../shared/errors.ts'

/**
 * Who may call a route. Every route has a rule (`config: { access }`).
 *
 * - `public`: no key is needed. `stripe`: the signature of the webhook authenticates.
 * - `operator`: only operators of the platform.
 * - `staff`: any staff key of the conference, or an operator.
 * - `{ anyOf, sponsor }`: a staff key with one of the scopes, or an operator. If `sponsor` is true,
 *   also a sponsor key; the handler shows it only the sponsor's own objects.
 */
export type AccessRule =
  | 'public'
  | 'stripe'
  | 'operator'
  | 'staff'
  | { anyOf: readonly [Scope, ...Scope[]]; sponsor?: boolean }

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: AccessRule
  }
  interface FastifyRequest {
    /** Set by the access hook. Null on public routes. */
    principal: Principal | null
    /** The conference of the path, once the access hook has let the caller in. */
    conferenceId: string | null
  }
}

/** What the hook needs from the domains. app.ts passes the implementations. */
export type AuthPorts = {
  /** The owner of the key, or null when the key is unknown, expired or revoked. */
  authenticate(key: string): Promise<Principal | null>
  /**
   * The id of the conference with this slug or id, or null.
   *
   * @param caller the API key for which unknown conferences are counted.
   * @throws AppError `rate_limited`
   */
  findConference(slugOrId: string, caller: string): Promise<string | null>
  /** Called with the address of a caller whose key was refused. @throws AppError `rate_limited` */
  countFailedLogin(address: string): Promise<void>
}

/**
 * Authenticates and authorises every request by the route's `config.access`, before the body is read.
 * The server refuses to start with a route that has no rule, so no route is open by mistake.
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

async function principalFrom(request: FastifyRequest, ports: AuthPorts): Promise<Principal> {
  const principal = await ports.authenticate(bearerOf(request))
  if (principal !== null) return principal
  await ports.countFailedLogin(request.ip)
  throw new AppError('unauthenticated', 'The API key is unknown, expired or revoked.')
}

function bearerOf(request: FastifyRequest): string {
  const match = /^Bearer ([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? '')
  if (match?.[1] === undefined) {
    throw new AppError(
      'unauthenticated',
      'Send an API key in the header Authorization: Bearer <key>.',
    )
  }
  return match[1]
}

async function conferenceFrom(
  request: FastifyRequest,
  principal: Principal,
  ports: AuthPorts,
): Promise<string | null> {
  const { conference } = request.params as { conference?: string }
  if (conference === undefined) return null
  const id = await ports.findConference(conference, principal.keyId)
  // Another tenant's conference gets the same answer as one that does not exist.
  const isOwn = principal.role === 'operator' || principal.conferenceId === id
  if (id === null || !isOwn) throw notFound('conference')
  return id
}

/** Null when the rule allows the principal, else the detail of the 403. */
function denialReason(rule: AccessRule, principal: Principal): string | null {
  if (rule === 'public' || rule === 'stripe' || principal.role === 'operator') return null
  if (rule === 'operator') return 'This request requires an operator key.'
  if (rule === 'staff')
    return principal.role === 'staff' ? null : 'This request requires a staff key.'
  if (principal.role === 'sponsor')
    return rule.sponsor === true ? null : 'A sponsor key does not allow this request.'
  if (rule.anyOf.some((scope) => principal.scopes.includes(scope))) return null
  return `This key lacks the scope ${rule.anyOf.join(' or ')}.`
}

/** The authenticated principal. @throws AppError `unauthenticated` on a public route. */
export function principalOf(request: FastifyRequest): Principal {
  if (request.principal === null)
    throw new AppError(
      'unauthenticated',
      'Send an API key in the header Authorization: Bearer <key>.',
    )
  return request.principal
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

function actorOf(principal: Principal): Actor {
  return { kind: principal.role, id: principal.keyId }
}
