import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Actor, Caller, Principal, Scope, SignedIn } from '../shared/caller.ts'
import { AppError, notFound } from '../shared/errors.ts'
import { concerns } from '../shared/work-context.ts'
import { assertSameOrigin, sessionCookie } from './session-cookie.ts'

/**
 * Who may call a route. Every route has a rule (`config: { access }`).
 *
 * - `public`: no key is needed. `stripe`: the signature of the webhook authenticates.
 * - `authenticated`: every valid key, and every user who is signed in.
 * - `operator`: only operators of the platform.
 * - `staff`: any staff of the conference, or an operator.
 * - `{ anyOf, sponsor }`: staff with one of the scopes, or an operator. If `sponsor` is true, also a
 *   sponsor; the handler shows it only the sponsor's own objects.
 */
export type AccessRule =
  | 'public'
  | 'stripe'
  | 'authenticated'
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
    /** Set by the access hook if a session cookie authenticates the request. */
    signedIn: SignedIn | null
  }
}

/** What the hook needs from the domains. app.ts passes the implementations. */
export type AuthPorts = {
  /** The owner of the key, or null when the key is unknown, expired or revoked. */
  authenticate(key: string): Promise<Principal | null>
  /** Null if the session is unknown or has ended, or if all users with its address were removed. */
  authenticateSession(cookie: string): Promise<SignedIn | null>
  /**
   * The id of the conference with this slug or id, or null.
   *
   * @param caller the API key, or the address of a user, for which unknown conferences are counted.
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
  app.decorateRequest('signedIn', null)
  app.addHook('onRoute', (route) => {
    if (route.config?.access === undefined) {
      throw new Error(`Route ${route.method.toString()} ${route.url} has no access rule`)
    }
  })
  app.addHook('onRequest', async (request) => {
    const rule = request.routeOptions.config.access
    if (rule === undefined || rule === 'public' || rule === 'stripe') return
    const caller = await identify(request, ports)
    request.conferenceId = await conferenceFrom(request, caller, ports)
    request.principal = caller.principalIn(request.conferenceId)
    const refusal = denialReason(rule, request.principal)
    if (refusal !== null) throw new AppError('forbidden', refusal)
  })
}

type Identity = {
  /** Unknown conferences are counted for it. */
  id: string
  /** The principal for a conference, or for a path without one. @throws AppError `not_found` */
  principalIn(conferenceId: string | null): Principal
}

/** A key goes before a cookie: a program that sends one means it. */
async function identify(request: FastifyRequest, ports: AuthPorts): Promise<Identity> {
  const cookie = sessionCookie.read(request)
  if (cookie !== null && request.headers.authorization === undefined) {
    assertSameOrigin(request)
    const signedIn = await ports.authenticateSession(cookie)
    if (signedIn === null) {
      await ports.countFailedLogin(request.ip)
      throw new AppError('unauthenticated', 'The session is over. Sign in again.')
    }
    request.signedIn = signedIn
    // Not the session: a person may begin many.
    return { id: signedIn.email.toLowerCase(), principalIn: (id) => userIn(signedIn.users, id) }
  }
  const principal = await ports.authenticate(bearerOf(request))
  if (principal === null) {
    await ports.countFailedLogin(request.ip)
    throw new AppError('unauthenticated', 'The API key is unknown, expired or revoked.')
  }
  return { id: principal.id, principalIn: (id) => userIn([principal], id) }
}

/** The principal that belongs to a conference, else an operator. */
function userIn(users: readonly Principal[], conferenceId: string | null): Principal {
  const operator = users.find(({ role }) => role === 'operator')
  const ofConference = users.find(
    (user) => user.role !== 'operator' && user.conferenceId === conferenceId,
  )
  const found = operator ?? (conferenceId === null ? users[0] : ofConference)
  // Another tenant's conference gets the same answer as one that does not exist.
  if (found === undefined) throw notFound('conference')
  return found
}

const SEND_A_KEY = 'Send an API key in the header Authorization: Bearer <key>.'

function bearerOf(request: FastifyRequest): string {
  const match = /^Bearer ([\x21-\x7e]+)$/i.exec(request.headers.authorization ?? '')
  if (match?.[1] === undefined) throw new AppError('unauthenticated', SEND_A_KEY)
  return match[1]
}

async function conferenceFrom(
  request: FastifyRequest,
  caller: Identity,
  ports: AuthPorts,
): Promise<string | null> {
  const { conference } = request.params as { conference?: string }
  if (conference === undefined) return null
  const id = await ports.findConference(conference, caller.id)
  if (id === null) throw notFound('conference')
  concerns({ conference: id })
  return id
}

/** Null when the rule allows the principal, else the detail of the 403. */
function denialReason(rule: AccessRule, principal: Principal): string | null {
  if (rule === 'public' || rule === 'stripe' || rule === 'authenticated') return null
  if (principal.role === 'operator') return null
  if (rule === 'operator') return 'Only operators may do this.'
  if (rule === 'staff') return principal.role === 'staff' ? null : 'Only staff may do this.'
  if (principal.role === 'sponsor')
    return rule.sponsor === true ? null : 'A sponsor may not do this.'
  if (rule.anyOf.some((scope) => principal.scopes.includes(scope))) return null
  return `The scope ${rule.anyOf.join(' or ')} is missing.`
}

/** The authenticated principal. @throws AppError `unauthenticated` on a public route. */
export function principalOf(request: FastifyRequest): Principal {
  if (request.principal === null) throw new AppError('unauthenticated', SEND_A_KEY)
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

/** Who acts, for the history and the audit log. */
export function actorOf(principal: Principal): Actor {
  return { kind: principal.role, id: principal.id }
}
