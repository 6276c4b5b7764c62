import type { Account } from '../core/account.ts'
import { type AccountRegistry, maskKey } from '../core/account-registry.ts'
import { StripeError } from '../core/stripe-error.ts'

/**
 * The account that the request's key opens: `Authorization: Bearer sk_test_…`, or Basic with the
 * key as the user name, as `curl -u sk_test_…:` sends it.
 *
 * @param own the `Stripe-Account` header; only the key's own account is allowed, since the fake has
 *   no Connect platforms.
 * @throws StripeError 401 without a usable key, 403 for another account.
 * @see https://docs.stripe.com/api/authentication
 */
export function authenticate(
  accounts: AccountRegistry,
  authorization: string | undefined,
  own: string | undefined,
): Account {
  const key = secretKey(authorization)
  if (key === undefined || key === '')
    throw unauthorized(
      "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://docs.stripe.com/api#authentication for details.",
    )
  if (/^pk_(test|live)_/.test(key))
    throw unauthorized(
      'This API call cannot be made with a publishable API key. Please use a secret API key. You can find a list of your API keys at https://dashboard.stripe.com/account/apikeys.',
      'secret_key_required',
    )
  const account = accounts.open(key)
  if (account === 'revoked')
    throw unauthorized(`Expired API Key provided: ${maskKey(key)}`, 'api_key_expired')
  if (account === 'malformed' || account === 'unknown')
    throw unauthorized(`Invalid API Key provided: ${maskKey(key)}`)
  if (own !== undefined && own !== account.id) throw noAccess(key, own)
  return account
}

function noAccess(key: string, account: string): StripeError {
  return new StripeError(
    403,
    'invalid_request_error',
    `The provided key '${maskKey(key)}' does not have access to account '${account}' (or that account does not exist). Application access may have been revoked.`,
    { code: 'account_invalid' },
  )
}

function secretKey(authorization: string | undefined): string | undefined {
  const [scheme = '', value = ''] = authorization?.split(/\s+/, 2) ?? []
  if (scheme.toLowerCase() === 'bearer') return value
  if (scheme.toLowerCase() !== 'basic') return undefined
  return Buffer.from(value, 'base64').toString('utf8').split(':', 1)[0]
}

function unauthorized(message: string, code?: string): StripeError {
  const details = code === undefined ? {} : { code }
  return new StripeError(401, 'invalid_request_error', message, details, {
    headers: { 'WWW-Authenticate': 'Bearer realm="Stripe"' },
  })
}
