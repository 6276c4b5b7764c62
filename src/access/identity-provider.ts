import * as openid from 'openid-client'
import { z } from 'zod'
import { equalInConstantTime } from '../shared/cryptography.ts'
import { ID_PREFIXES, newId } from '../shared/ids.ts'

/** The settings of the provider. `name` is for the button. */
export type ProviderSettings = {
  issuer: string
  clientId: string
  clientSecret: string
  name: string
}

const TIMEOUT_SECONDS = 10

/** How long the endpoints of the provider are kept. It may move them, but rarely does. */
const METADATA_LIFETIME_MS = 3_600_000

const ATTEMPT_LIFETIME_MS = 600_000

/** Why a sign-in with the provider failed, as the page of the sign-in shows it. */
export const SIGN_IN_FAILURES = [
  'refused',
  'unverified',
  'no_access',
  'expired',
  'unreachable',
] as const

/** A sign-in that failed. The message is for the log and contains nothing from the provider's answer. */
export class SignInFailure extends Error {
  override readonly name = 'SignInFailure'
  readonly code: (typeof SIGN_IN_FAILURES)[number]

  constructor(code: SignInFailure['code'], message: string) {
    super(message)
    this.code = code
  }
}

/** A sign-in that has begun. The browser keeps it, encrypted. */
export const attemptSchema = z.strictObject({
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  /** The id of the session that it will begin: the primary key lets it begin only one. */
  session: z.string().startsWith(`${ID_PREFIXES.session}_`),
  /** The page that the person wanted. */
  returnTo: z.string().nullable(),
  /** In milliseconds. */
  until: z.number(),
})

export type Attempt = z.infer<typeof attemptSchema>

export type IdentityProvider = {
  name: string
  /** The address to which the browser goes. @throws SignInFailure */
  begin(returnTo: string | null): Promise<{ url: string; attempt: Attempt }>
  /**
   * Takes the answer with which the browser comes back: checks state, PKCE, nonce and the signature of the
   * id token. No token is kept.
   *
   * @param query of the address, with the `?`.
   * @returns the e-mail address, which the provider has verified. @throws SignInFailure
   */
  finish(query: string, attempt: Attempt): Promise<string>
}

/**
 * Sign-in with an OpenID provider: authorization code with PKCE.
 *
 * @param redirectUri as it is registered at the provider.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth
 */
export function createIdentityProvider(
  settings: ProviderSettings,
  redirectUri: string,
): IdentityProvider {
  let known: { provider: Promise<openid.Configuration>; until: number } | null = null

  /** Fetches the metadata when it is needed, so that the service starts without the provider. */
  function discover(): Promise<openid.Configuration> {
    if (known !== null && Date.now() < known.until) return known.provider
    const { clientId, clientSecret } = settings
    const issuer = new URL(settings.issuer)
    const provider = openid.discovery(issuer, clientId, {}, clientAuthentication(clientSecret), {
      timeout: TIMEOUT_SECONDS,
      execute: [
        // Without it, openid-client trusts TLS instead of the signature of the id token.
        openid.enableNonRepudiationChecks,
        ...(issuer.protocol === 'http:' ? [openid.allowInsecureRequests] : []),
      ],
    })
    known = { provider, until: Date.now() + METADATA_LIFETIME_MS }
    provider.catch(() => {
      if (known?.provider === provider) known = null
    })
    return provider
  }

  return {
    name: settings.name,

    begin: (returnTo) =>
      namingFailures(async () => {
        const provider = await discover()
        const attempt: Attempt = {
          state: openid.randomState(),
          nonce: openid.randomNonce(),
          verifier: openid.randomPKCECodeVerifier(),
          session: newId('session'),
          returnTo,
          until: Date.now() + ATTEMPT_LIFETIME_MS,
        }
        const { href } = openid.buildAuthorizationUrl(provider, {
          redirect_uri: redirectUri,
          scope: 'openid email',
          state: attempt.state,
          nonce: attempt.nonce,
          code_challenge: await openid.calculatePKCECodeChallenge(attempt.verifier),
          code_challenge_method: 'S256',
        })
        return { url: href, attempt }
      }),

    finish: (query, attempt) =>
      namingFailures(async () => {
        const state = new URLSearchParams(query).get('state') ?? ''
        if (attempt.until < Date.now() || !equalInConstantTime(state, attempt.state)) {
          throw new SignInFailure('expired', 'the attempt is over, or belongs to another browser')
        }
        const provider = await discover()
        const address = new URL(redirectUri)
        address.search = query
        const tokens = await openid.authorizationCodeGrant(provider, address, {
          expectedState: attempt.state,
          expectedNonce: attempt.nonce,
          pkceCodeVerifier: attempt.verifier,
          idTokenExpected: true,
        })
        const claims = tokens.claims()
        if (claims === undefined) throw new SignInFailure('refused', 'the answer has no id token')
        // Many providers put the address only into the answer of the UserInfo endpoint.
        return verifiedEmail(
          claims['email'] === undefined
            ? await openid.fetchUserInfo(provider, tokens.access_token, claims.sub)
            : claims,
        )
      }),
  }
}

/** In the body if the provider allows it, else as HTTP Basic, the default of the specification. */
function clientAuthentication(secret: string): openid.ClientAuth {
  const inBody = openid.ClientSecretPost(secret)
  const asBasic = openid.ClientSecretBasic(secret)
  return (server, ...rest) => {
    const methods = server.token_endpoint_auth_methods_supported ?? []
    const authenticate = methods.includes('client_secret_post') ? inBody : asBasic
    return authenticate(server, ...rest)
  }
}

/** As for users: only ASCII, in which two different addresses never have one lower-case form. */
const emailSchema = z.email().max(254)

function verifiedEmail(claims: openid.IDToken | openid.UserInfoResponse): string {
  const email = emailSchema.safeParse(claims['email'])
  if (!email.success) {
    throw new SignInFailure('unverified', 'the provider names no e-mail address')
  }
  // Otherwise a person could enter somebody else's address at the provider.
  if (claims['email_verified'] !== true) {
    throw new SignInFailure('unverified', 'the provider has not verified the e-mail address')
  }
  return email.data
}

async function namingFailures<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw error instanceof SignInFailure ? error : toFailure(error)
  }
}

/** The causes of these errors contain answers of the provider, with tokens; so they are dropped. */
function toFailure(error: unknown): SignInFailure {
  if (error instanceof openid.AuthorizationResponseError) {
    return new SignInFailure('refused', `the provider answered ${printable(error.error)}`)
  }
  if (error instanceof openid.ResponseBodyError) {
    // The code was used before, or is too old.
    const code = error.error === 'invalid_grant' ? 'expired' : 'refused'
    return new SignInFailure(code, `the provider answered ${printable(error.error)}`)
  }
  if (error instanceof openid.ClientError) {
    const isAnswer = error.code !== undefined && !UNREACHABLE.has(error.code)
    return new SignInFailure(
      isAnswer ? 'refused' : 'unreachable',
      `${error.message} (${error.code ?? 'no code'})`,
    )
  }
  if (error instanceof openid.WWWAuthenticateChallengeError) {
    return new SignInFailure('refused', 'the provider refused its own access token')
  }
  return new SignInFailure('unreachable', error instanceof Error ? error.message : 'unknown error')
}

/** No answer in time, or one that is not of an OpenID provider, such as the error page of a proxy. */
const UNREACHABLE = new Set([
  'OAUTH_TIMEOUT',
  'OAUTH_ABORT',
  'OAUTH_RESPONSE_IS_NOT_CONFORM',
  'OAUTH_RESPONSE_IS_NOT_JSON',
  'OAUTH_PARSE_ERROR',
])

/** The browser brings the text, so it is not trusted in a log. */
const printable = (text: string) => (/^[\w.-]{1,60}$/.test(text) ? text : 'an error')
