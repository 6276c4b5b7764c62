import { beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { createLogger } from '../../src/shared/logger.ts'
import { noMetrics } from '../../src/shared/service-metrics.ts'
import { fetchStripeAccount } from '../../src/stripe/stripe-account.ts'
import { createStripeClients, rateLimitKeyOf } from '../../src/stripe/stripe-client.ts'
import { createConference } from '../support/fixtures.ts'
import { newStripeKey, useFakeStripe } from '../support/shop.ts'
import { TEST_ENCRYPTION_KEY, useTestApp } from '../support/test-app.ts'

const stripe = useFakeStripe()
const env: NodeJS.ProcessEnv = {}
beforeAll(() => {
  env['STRIPE_API_BASE'] = stripe.fake.url
})
const app = useTestApp({ env })

function clientsWith(settings: NodeJS.ProcessEnv = {}) {
  return createStripeClients({
    db: app.db,
    encryption: createEncryption(TEST_ENCRYPTION_KEY),
    config: loadConfig({ ...env, ...settings }),
    metrics: noMetrics,
    logger: createLogger('silent'),
  })
}

const accountKeys = async () =>
  (await app.rows<{ account_key: string }>('select account_key from stripe_request_budgets')).map(
    (row) => row.account_key,
  )

/** A conference whose account is known. */
async function newConference() {
  const { id } = await createConference(app, { stripe_secret_key: newStripeKey() })
  const unlimited = clientsWith({ STRIPE_REQUESTS_PER_SECOND: '0' })
  const account = await fetchStripeAccount({ db: app.db, clients: unlimited }, id)
  expect(account).toMatch(/^acct_/)
  return { id, account: account ?? '' }
}

describe('the rate limit of a conference', () => {
  it('is that of its Stripe account, separate for test and live mode', async () => {
    const { id, account } = await newConference()
    const { stripe: client, livemode } = await clientsWith().background(id)
    expect(livemode).toBe(false)
    await client.customers.list()
    expect(await accountKeys()).toContain(`${account}:test`)
    expect(rateLimitKeyOf('sk_live_0123456789', account)).toBe(account)
  })

  it('is stored under a hash of the key while the account is unknown', async () => {
    const key = newStripeKey()
    const { id } = await createConference(app, { stripe_secret_key: key })
    const { stripe: client } = await clientsWith().background(id)
    await client.customers.list()
    const keys = await accountKeys()
    expect(keys).toContain(rateLimitKeyOf(key, null))
    expect(keys.join()).not.toContain(key.slice(8))
    expect(rateLimitKeyOf(key, null)).not.toBe(rateLimitKeyOf(newStripeKey(), null))
  })

  it('counts requests sent for purchases', async () => {
    const { id, account } = await newConference()
    const client = await clientsWith().forConference(id)
    await client.customers.list()
    await expect.poll(accountKeys).toContain(`${account}:test`)
  })

  it('stores nothing when the limit is off', async () => {
    const { id, account } = await newConference()
    const clients = clientsWith({ STRIPE_REQUESTS_PER_SECOND: '0' })
    await (await clients.background(id)).stripe.customers.list()
    expect(await accountKeys()).not.toContain(`${account}:test`)
  })

  it('gives no background client to a conference without a Stripe key', async () => {
    const { id } = await createConference(app, { stripe_secret_key: undefined })
    await expect(clientsWith().background(id)).rejects.toMatchObject({ code: 'stripe_key_missing' })
  })
})
