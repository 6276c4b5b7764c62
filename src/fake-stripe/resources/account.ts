import type Stripe from 'stripe'
import { group } from '../api/params.ts'
import { operation, type Resource } from '../api/resource.ts'
import type { Scope } from '../core/scope.ts'
import { StripeError } from '../core/stripe-error.ts'
import { accountObject } from '../objects/account.ts'

/** The key's own account; the fake has no Connect. @see https://docs.stripe.com/api/accounts */
export const accountResource: Resource = {
  kind: 'account',
  expandable: {},
  operations: [
    operation({
      method: 'GET',
      path: '/v1/account',
      returns: 'account',
      params: group({}),
      run: (call) => accountObject(call),
    }),
    operation({
      method: 'GET',
      path: '/v1/accounts/:id',
      returns: 'account',
      params: group({}),
      run: (call, _params, { id = '' }) => ownAccount(call, id),
    }),
  ],
}

function ownAccount(scope: Scope, id: string): Stripe.Account {
  if (id === scope.account.id) return accountObject(scope)
  throw new StripeError(
    403,
    'invalid_request_error',
    `The provided key does not have access to account '${id}' (or that account does not exist). Application access may have been revoked.`,
    { code: 'account_invalid' },
  )
}
