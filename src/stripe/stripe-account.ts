import type Stripe from 'stripe'
import { getConference } from '../conferences/conference-store.ts'
import type { StripeAccountPort } from '../conferences/manage-conference.ts'
import type { Db } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { invalidField } from '../shared/errors.ts'
import type { ServiceMetrics } from '../shared/service-metrics.ts'
import { createCountingHttpClient } from './counting-http-client.ts'
import {
  buildStripe,
  mayReceiveKey,
  type StripeClients,
  type StripeSettings,
} from './stripe-client.ts'
import { isRefusal, toAppError } from './stripe-errors.ts'
import { accountObject, parseStripeObject } from './stripe-objects.ts'

// A person waits for the answer and can do without it.
const REQUEST_OPTIONS = { timeout: 5_000, maxNetworkRetries: 0 }

/** `acct_…`, or null where the key may not ask. @throws AppError `stripe_unavailable`, `stripe_failed` */
async function fetchAccountId(stripe: Stripe): Promise<string | null> {
  try {
    const account = await stripe.accounts.retrieveCurrent({}, REQUEST_OPTIONS)
    return parseStripeObject(accountObject, account, 'account').id
  } catch (error) {
    // A restricted key may lack the permission; a wrong one is found out where it matters.
    if (isRefusal(error)) return null
    throw toAppError(error)
  }
}

/** Whose key is it? Asked outside every transaction. */
export function createStripeAccounts(deps: {
  config: StripeSettings
  metrics: ServiceMetrics
}): StripeAccountPort {
  const httpClient = createCountingHttpClient(deps.metrics)
  return {
    async accountOf(stripeKey) {
      if (stripeKey === undefined || !mayReceiveKey(deps.config.stripeApiBase, stripeKey))
        return null
      return fetchAccountId(buildStripe(stripeKey, deps.config, httpClient)).catch(() => null)
    },
    assertUsable(stripeKey) {
      if (mayReceiveKey(deps.config.stripeApiBase, stripeKey)) return
      throw invalidField(
        '/stripe_secret_key',
        "A live key is refused while STRIPE_API_BASE names something else than Stripe's API.",
      )
    },
  }
}

/**
 * Learns the account behind a conference's key and writes it down; for the job that follows a new
 * key. An account that is known stays.
 *
 * @returns `acct_…`, or null when the key may not ask for it.
 * @throws AppError `stripe_key_missing`; `stripe_unavailable`, `stripe_failed`: ask again later.
 */
export async function saveStripeAccount(
  deps: { db: Db; clients: StripeClients },
  conferenceId: string,
): Promise<string | null> {
  const keySetAt = await withTenant(deps.db, { conferenceId }, async (trx) => {
    const conference = await getConference(trx, conferenceId)
    return conference.stripeKeySetAt
  })
  const account = await fetchAccountId(await deps.clients.forConference(conferenceId))
  if (account === null) return null
  await withTenant(deps.db, { conferenceId }, (trx) =>
    trx('conferences')
      .where({ id: conferenceId, stripe_account: null })
      // A key that was set while we asked may be another account's. A Date has no microseconds.
      .whereRaw(`date_trunc('milliseconds', stripe_key_set_at) = ?`, [keySetAt])
      .update({ stripe_account: account, updated_at: trx.fn.now() }),
  )
  return account
}
