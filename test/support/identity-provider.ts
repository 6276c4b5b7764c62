import { generateKeyPairSync } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JWK, Provider } from 'oidc-provider'
import { afterAll, beforeAll, vi } from 'vitest'

export const CLIENT = { id: 'sponsor-vouchers', secret: 'secret-of-the-client-in-tests' }

type Claims = { email?: string; email_verified?: unknown }

export type TestIdentityProvider = {
  readonly issuer: string
  /** `down`: every request gets a 503. `forged`: the published keys did not sign the tokens. */
  state: 'up' | 'down' | 'forged'
  /** Makes an account. @returns its name, for `answer`. */
  account(claims: Claims): string
  /**
   * What a person does who follows the address of an authorization request and signs in.
   *
   * @returns the address to which the browser goes back.
   */
  answer(address: string, account: string): Promise<URL>
}

const NAMES_OF_KEY = { kid: 'of-the-tests', use: 'sig' as const, alg: 'RS256' as const }

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return {
    ...(privateKey.export({ format: 'jwk' }) as JWK & { n?: string; e?: string }),
    ...NAMES_OF_KEY,
  }
}

/**
 * A real OpenID provider that asks everybody only for a name.
 *
 * @param callback the registered address of the service.
 */
export function useIdentityProvider(callback: string): TestIdentityProvider {
  const accounts = new Map<string, Claims>()
  let server: Server
  let foreignKey: JWK
  const identityProvider: TestIdentityProvider = {
    issuer: '',
    state: 'up',
    account(claims) {
      const name = `account-${accounts.size + 1}`
      accounts.set(name, claims)
      return name
    },
    answer,
  }

  beforeAll(async () => {
    server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    Object.assign(identityProvider, { issuer })
    const key = newKey()
    const { n = '', e = '' } = newKey()
    foreignKey = { ...NAMES_OF_KEY, kty: 'RSA', n, e }
    const oidc = await createProvider(issuer, key)
    const handle = oidc.callback()
    server.on('request', (request, response) => {
      if (identityProvider.state === 'down') response.writeHead(503).end()
      else if (identityProvider.state === 'forged' && isKeys(request)) {
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify({ keys: [foreignKey] }))
      } else if (request.url?.startsWith('/interaction/') === true) {
        const accountId = String(request.headers['x-account'])
        void oidc.interactionFinished(request, response, { login: { accountId } })
      } else void handle(request, response)
    })
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })

  async function createProvider(issuer: string, key: JWK): Promise<Provider> {
    // It warns that it keeps everything in memory, which is what these tests want.
    vi.spyOn(console, 'warn').mockImplementation(() => {})
    const oidc = await import('oidc-provider')
    return new oidc.Provider(issuer, {
      clients: [{ client_id: CLIENT.id, client_secret: CLIENT.secret, redirect_uris: [callback] }],
      jwks: { keys: [key] },
      cookies: { keys: ['key-of-the-tests'] },
      claims: { openid: ['sub'], email: ['email', 'email_verified'] },
      pkce: { required: () => true },
      features: { devInteractions: { enabled: false } },
      interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
      ttl: { AccessToken: 60, Grant: 60, IdToken: 60, Interaction: 60, Session: 60 },
      findAccount: (_context, accountId) => ({
        accountId,
        claims: () => ({ sub: accountId, ...accounts.get(accountId) }) as never,
      }),
      // Nobody is asked for consent.
      async loadExistingGrant({ oidc }) {
        const grant = new oidc.provider.Grant({
          clientId: oidc.client?.clientId ?? '',
          accountId: oidc.session?.accountId ?? '',
        })
        grant.addOIDCScope('openid email')
        await grant.save()
        return grant
      },
    })
  }

  async function answer(address: string, account: string): Promise<URL> {
    const cookies = new Map<string, string>()
    let next = new URL(address)
    while (`${next.origin}${next.pathname}` !== callback) {
      const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
      const headers = { cookie, 'x-account': account }
      const response = await fetch(next, { redirect: 'manual', headers })
      for (const set of response.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(set) ?? []
        cookies.set(name, value)
      }
      const location = response.headers.get('location')
      if (location === null) {
        throw new Error(`The provider answered ${response.status}: ${await response.text()}`)
      }
      next = new URL(location, next)
    }
    return next
  }

  return identityProvider
}

const isKeys = ({ url }: IncomingMessage) => url?.startsWith('/jwks') === true
