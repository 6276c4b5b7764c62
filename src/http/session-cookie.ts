import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../shared/errors.ts'

const NAME = 'sv_session'

/**
 * Browsers accept a `__Host-` cookie only over https, and from no other host of the domain.
 *
 * @see https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Set-Cookie#cookie_prefixes
 */
const nameFor = (isHttps: boolean) => (isHttps ? `__Host-${NAME}` : NAME)

const isHttps = ({ server }: FastifyRequest) => server.publicUrl?.startsWith('https:') === true

/** The text of the session cookie, or null. */
export function readSessionCookie(request: FastifyRequest): string | null {
  return request.cookies[nameFor(isHttps(request))] || null
}

/** Scripts cannot read the cookie, and other sites cannot send it with a form. */
export function setSessionCookie(
  request: FastifyRequest,
  reply: FastifyReply,
  text: string,
  expires: Date,
): void {
  const secure = isHttps(request)
  // `strict` would drop it on the first page after a link in a mail or a sign-in at another provider.
  const options = { path: '/', httpOnly: true, secure, sameSite: 'lax', expires } as const
  void reply.setCookie(nameFor(secure), text, options)
}

export function clearSessionCookie(request: FastifyRequest, reply: FastifyReply): void {
  const secure = isHttps(request)
  void reply.clearCookie(nameFor(secure), { path: '/', httpOnly: true, secure, sameSite: 'lax' })
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
