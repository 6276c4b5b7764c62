import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../shared/errors.ts'

const isHttps = ({ server }: FastifyRequest) => server.publicUrl?.startsWith('https:') === true

/**
 * A cookie that scripts cannot read, and other sites cannot send with a form. Browsers accept a `__Host-`
 * cookie only over https, and from no other host of the domain.
 *
 * @see https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
 */
export function hostCookie(name: string) {
  const nameFor = (request: FastifyRequest) => (isHttps(request) ? `__Host-${name}` : name)
  // `strict` would drop it on the first page after a link in a mail or a sign-in at another provider.
  const options = (request: FastifyRequest) =>
    ({ path: '/', httpOnly: true, secure: isHttps(request), sameSite: 'lax' }) as const
  return {
    /** The text of the cookie, or null. */
    read: (request: FastifyRequest): string | null => request.cookies[nameFor(request)] || null,
    set(request: FastifyRequest, reply: FastifyReply, text: string, expires: Date): void {
      void reply.setCookie(nameFor(request), text, { ...options(request), expires })
    },
    clear(request: FastifyRequest, reply: FastifyReply): void {
      void reply.clearCookie(nameFor(request), options(request))
    },
  }
}

export const sessionCookie = hostCookie('sv_session')

/**
 * Refuses to sign somebody in when another site sends the request: the person would work in the account of
 * an attacker. Programs may sign in; they send no such header.
 *
 * @throws AppError `forbidden`
 */
export function refuseOtherSites({ headers }: FastifyRequest): void {
  const site = headers['sec-fetch-site']
  if (site === undefined || site === 'same-origin') return
  throw new AppError('forbidden', 'Only the pages of this service can sign a person in.')
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Refuses a write that another site made the browser send: the browser adds the cookie to it by itself.
 * Browsers say where a request comes from in `Sec-Fetch-Site`, older ones in `Origin`. A request without
 * both is not a browser's and has no use for a cookie.
 *
 * @throws AppError `forbidden`
 * @see https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
 */
export function assertSameOrigin({ method, headers }: FastifyRequest): void {
  if (SAFE_METHODS.has(method)) return
  const site = headers['sec-fetch-site']
  if (site === 'same-origin') return
  const { origin, host } = headers
  const isOwn = origin !== undefined && URL.canParse(origin) && new URL(origin).host === host
  if (site === undefined && isOwn) return
  throw new AppError(
    'forbidden',
    'A session can be used only from the pages of this service. Programs use an API key.',
  )
}
