import type Stripe from 'stripe'
import { getConference, saveStripeAccount } from '../conferences/conference-store.ts'
import type { StripeAccountPort } from '../conferences/manage-conference.ts'
import { isStripeApi } from '../config.ts'
import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { invalidField } from '../shared/errors.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import {
  buildStripe,
  createCountingHttpClient,
  mayReceiveKey,
  type StripeClients,
  type StripeSettings,
} from './stripe-client.ts'
import { isForbidden, isMissing, isRefusal, toAppError } from './stripe-errors.ts'
import { accountObject, parseStripeObject } from './stripe-objects.ts'

// A person waits for these requests, at most ten seconds. They only read, so the SDK may repeat them.
const REQUEST_OPTIONS = { timeout: 5_000, maxNetworkRetries: 1 }

/** `acct_…`, or null when the key is not allowed to read it. @throws AppError `stripe_…` */
async function fetchAccountId(stripe: Stripe): Promise<string | null> {
  try {
    const response = await stripe.accounts.retrieveCurrent({}, REQUEST_OPTIONS)
    return parseStripeObject(accountObject, response, 'account').id
  } catch (error) {
    // A restricted key that lacks only this permission is valid.
    if (isRefusal(error) || isForbidden(error)) return null
    throw toAppError(error)
  }
}

/** Finds the Stripe account of a key. Called outside every transaction. */
export function createStripeAccounts(deps: {
  config: StripeSettings
  metrics: ServiceMetrics
}): StripeAccountPort {
  const httpClient = createCountingHttpClient(deps.metrics)
  return {
    isStripe: isStripeApi(deps.config.stripeApiBase ?? undefined),
    async accountOf(stripeKey) {
      if (stripeKey === undefined || !mayReceiveKey(deps.config.stripeApiBase, stripeKey))
        return null
      return fetchAccountId(buildStripe(stripeKey, deps.config, httpClient)).catch(() => null)
    },
    async hasObject(stripeKey, id) {
      if (!mayReceiveKey(deps.config.stripeApiBase, stripeKey)) return null
      const stripe = buildStripe(stripeKey, deps.config, httpClient)
      try {
        await (id.startsWith('cs_')
          ? stripe.checkout.sessions.retrieve(id, {}, REQUEST_OPTIONS)
          : stripe.paymentIntents.retrieve(id, {}, REQUEST_OPTIONS))
        return true
      } catch (error) {
        return isMissing(error) ? false : null
      }
    },
    assertUsable(stripeKey) {
      if (mayReceiveKey(deps.config.stripeApiBase, stripeKey)) return
      throw invalidField(
        '/stripe_secret_key',
        "A live key is accepted only if STRIPE_API_BASE points to Stripe's own API. Remove STRIPE_API_BASE, or use a test key.",
      )
    },
  }
}

/**
 * Fetches the account of a conference's key and saves it, unless one is saved already. Used by the job
 * that runs after a key was set.
 *
 * @returns `acct_…`, or null when the key is not allowed to read it.
 * @throws AppError `stripe_key_missing`; `stripe_key_rejected`, `stripe_unavailable` or `stripe_failed`:
 *   retry later.
 */
export async function fetchStripeAccount(
  deps: { db: Db; clients: StripeClients },
  conferenceId: string,
): Promise<string | null> {
  const { stripeKeySetAt } = await withTenant(deps.db, { conferenceId }, (trx) =>
    getConference(trx, conferenceId),
  )
  const account = await fetchAccountId(await deps.clients.forConference(conferenceId))
  if (account === null) return null
  await withTenant(deps.db, { conferenceId }, (trx) =>
    saveStripeAccount(trx, conferenceId, account, stripeKeySetAt),
  )
  return account
}
