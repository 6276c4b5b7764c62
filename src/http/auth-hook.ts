import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AppError, notFound } from '../shared/errors.ts'
import { type AccessRule, type Principal, refusalOf } from './access-rule.ts'

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
    const refusal = refusalOf(rule, principal)
    if (refusal !== null) throw new AppError('forbidden', refusal)
  })
}
