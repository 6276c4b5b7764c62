import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Db } from '../db/connect.ts'
import type { App } from '../http/route-deps.ts'
import { hostCookie, sessionCookie } from '../http/session-cookie.ts'
import type { Encryption } from '../shared/cryptography.ts'
import {
  type Attempt,
  attemptSchema,
  createIdentityProvider,
  type IdentityProvider,
  type ProviderSettings,
  SIGN_IN_FAILURES,
  SignInFailure,
} from './identity-provider.ts'
import { SIGN_IN_RATE_LIMIT } from './session-routes.ts'
import { signInWithProvider } from './sign-in.ts'

export type ProviderRoutesDeps = {
  db: Db
  encryption: Encryption
  /** null: people sign in only with mailed links. */
  settings: ProviderSettings | null
  /** Where people reach the pages of this service. */
  webUrl: string
  /** Logs why a sign-in failed. */
  logger: { warn(details: object, message: string): void }
}

const START = '/sign-in/oidc'
const CALLBACK = `${START}/callback`

/** The first page of staff and operators. */
const HOME = '/console'

/** It binds the answer of the provider to the browser in which the sign-in began. */
const attemptCookie = hostCookie('sv_sign_in')
const ATTEMPT_CONTEXT = 'sign-in-attempt'

/** `GET /v1/sign-in` for the page, and the two addresses between which the provider stands. */
export function identityProviderRoutes(app: App, deps: ProviderRoutesDeps): void {
  methodsRoute(app, deps.settings)
  if (deps.settings === null) return
  const redirectUri = `${deps.webUrl.replace(/\/+$/, '')}${CALLBACK}`
  const provider = createIdentityProvider(deps.settings, redirectUri)
  const options = {
    config: { access: 'public' as const, rateLimit: SIGN_IN_RATE_LIMIT },
    schema: { hide: true },
  }
  app.get(START, options, (request, reply) => beginAttempt(deps, provider, request, reply))
  app.get(CALLBACK, options, (request, reply) => finishAttempt(deps, provider, request, reply))
}

function methodsRoute(app: App, settings: ProviderSettings | null): void {
  const methods = {
    object: 'sign_in_methods' as const,
    oidc: settings === null ? null : { name: settings.name, path: START },
  }
  app.get(
    '/v1/sign-in',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getSignInMethods',
        summary: 'Show how people can sign in',
        description: 'Everybody who has a user can sign in with a mailed link.',
        tags: ['Sign-in'],
        response: {
          200: z
            .object({
              object: z.literal('sign_in_methods'),
              oidc: z
                .object({ name: z.string(), path: z.string() })
                .nullable()
                .meta({
                  description: `The organizer's OpenID provider, for staff and operators. The browser goes to \`path\`, with \`?return=\` and a page of this service. A failed sign-in returns to \`/sign-in?error=\` and one of ${SIGN_IN_FAILURES.map((code) => `\`${code}\``).join(', ')}. Null: none is configured.`,
                }),
            })
            .meta({ id: 'SignInMethods' }),
        },
      },
    },
    () => methods,
  )
}

async function beginAttempt(
  deps: ProviderRoutesDeps,
  provider: IdentityProvider,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { return: wanted } = request.query as { return?: unknown }
  try {
    const { url, attempt } = await provider.begin(pageOfService(wanted))
    const sealed = deps.encryption.encrypt(JSON.stringify(attempt), ATTEMPT_CONTEXT)
    attemptCookie.set(request, reply, sealed, new Date(attempt.until))
    return goTo(reply, url)
  } catch (error) {
    return explain(deps, reply, error, pageOfService(wanted))
  }
}

async function finishAttempt(
  { db, ...deps }: ProviderRoutesDeps,
  provider: IdentityProvider,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const attempt = readAttempt(deps.encryption, attemptCookie.read(request))
  attemptCookie.clear(request, reply)
  const returnTo = attempt?.returnTo ?? null
  try {
    if (attempt === null) throw new SignInFailure('expired', 'the browser sent no attempt')
    const query = request.url.slice(CALLBACK.length).replace(/^[^?]*/, '')
    const email = await provider.finish(query, attempt)
    const userAgent = request.headers['user-agent']
    const session = await signInWithProvider(db, email, attempt.session, userAgent)
    sessionCookie.set(request, reply, session.cookie, session.expiresAt)
    return goTo(reply, returnTo ?? HOME)
  } catch (error) {
    return explain(deps, reply, error, returnTo)
  }
}

function readAttempt(encryption: Encryption, sealed: string | null): Attempt | null {
  if (sealed === null) return null
  try {
    return attemptSchema.parse(JSON.parse(encryption.decrypt(sealed, ATTEMPT_CONTEXT)))
  } catch {
    return null
  }
}

/** Goes back to the page of the sign-in, which has a sentence for each code. Other errors are answered as usual. */
function explain(
  { logger }: Pick<ProviderRoutesDeps, 'logger'>,
  reply: FastifyReply,
  error: unknown,
  returnTo: string | null,
): FastifyReply {
  if (!(error instanceof SignInFailure)) throw error
  const { code, message: reason } = error
  logger.warn({ code, reason }, 'a sign-in with the identity provider failed')
  const query = new URLSearchParams({
    error: code,
    ...(returnTo === null ? {} : { return: returnTo }),
  })
  return goTo(reply, `/sign-in?${query.toString()}`)
}

const goTo = (reply: FastifyReply, address: string): FastifyReply =>
  reply.header('cache-control', 'no-store').redirect(address, 302)

/** Longer addresses would not fit into the cookie. */
const MAX_PATH = 1_000

/**
 * A page of the portal or the console, as a browser understands the text. Null for everything else: the
 * text comes from a link, which anybody can write.
 */
export function pageOfService(text: unknown): string | null {
  const base = 'https://service.invalid'
  if (typeof text !== 'string' || text.length > MAX_PATH || !URL.canParse(text, base)) return null
  const { origin, pathname, search } = new URL(text, base)
  const isPage = origin === base && /^\/(portal|console)(\/|$)/.test(pathname)
  return isPage ? `${pathname}${search}` : null
}
