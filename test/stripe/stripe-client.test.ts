import { describe, expect, it } from 'vitest'
import { sealStripeKey } from '../../src/conferences/stripe-credentials.ts'
import { loadConfig } from '../../src/config.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import { createLogger } from '../../src/shared/logger.ts'
import { noMetrics } from '../../src/shared/service-metrics.ts'
import { createStripeAccounts, fetchStripeAccount } from '../../src/stripe/stripe-account.ts'
import {
  createStripeClients,
  mayReceiveKey,
  operationOf,
  type StripeClients,
} from '../../src/stripe/stripe-client.ts'
import { createConference } from '../support/fixtures.ts'
import { newStripeKey } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'
import { TEST_ENCRYPTION_KEY } from '../support/test-app.ts'

const { app, stripe } = useAppOnStripe()
const encryption = createEncryption(TEST_ENCRYPTION_KEY)
const logger = createLogger('silent')

function clientsFor(base: string): StripeClients {
  const config = loadConfig({ STRIPE_API_BASE: base })
  return createStripeClients({ db: app.db, encryption, config, metrics: noMetrics, logger })
}

const accountOf = (key: string) => createStripeAccounts(settings()).accountOf(key)
const settings = () => ({
  config: loadConfig({ STRIPE_API_BASE: stripe.fake.url }),
  metrics: noMetrics,
})

describe('a conference’s Stripe client', () => {
  it('does not exist without a key', async () => {
    const { id } = await createConference(app, { stripe_secret_key: undefined })
    await expect(clientsFor(stripe.fake.url).forConference(id)).rejects.toMatchObject({
      code: 'stripe_key_missing',
      status: 409,
    })
  })

  it('is the same until the key changes, and uses a new key immediately', async () => {
    const conference = await createConference(app, { stripe_secret_key: newStripeKey() })
    const clients = clientsFor(stripe.fake.url)
    const first = await clients.forConference(conference.id)
    expect(await clients.forConference(conference.id)).toBe(first)
    const next = newStripeKey()
    await app.request('PATCH', conference.path, { body: { stripe_secret_key: next } })
    const { stripe: second, livemode } = await clients.connect(conference.id)
    expect(second).not.toBe(first)
    expect(livemode).toBe(false)
    const { id } = await second.accounts.retrieveCurrent()
    expect(id).toBe(await accountOf(next))
    expect(id).not.toBe((await first.accounts.retrieveCurrent()).id)
  })

  it('sends the API version set in our code', async () => {
    const { id } = await createConference(app, { stripe_secret_key: newStripeKey() })
    stripe.fake.control.clearRequests()
    const client = await clientsFor(stripe.fake.url).forConference(id)
    await client.refunds.list()
    expect(stripe.fake.control.requests({ path: '/v1/refunds' })).toMatchObject([
      { apiVersion: '2026-10-28.endive' },
    ])
  })

  it('never sends a live key to anything but Stripe', async () => {
    const { id } = await createConference(app, { stripe_secret_key: newStripeKey() })
    const live = sealStripeKey(encryption, id, 'sk_live_0123456789abcdef')
    await app.rows(
      'update conferences set stripe_secret_key_sealed = $1, livemode = true where id = $2',
      [live, id],
    )
    stripe.fake.control.clearRequests()
    await expect(clientsFor(stripe.fake.url).forConference(id)).rejects.toMatchObject({
      code: 'stripe_key_rejected',
    })
    expect(stripe.fake.control.requests()).toEqual([])
    expect(mayReceiveKey(null, 'sk_live_0123456789')).toBe(true)
    expect(mayReceiveKey('https://api.stripe.com', 'rk_live_0123456789')).toBe(true)
    expect(mayReceiveKey('https://api.stripe.com.evil.example', 'rk_live_0123456789')).toBe(false)
  })
})

describe('the account behind a key', () => {
  it('is not fetched with a live key unless STRIPE_API_BASE points to Stripe', () => {
    const accounts = createStripeAccounts(settings())
    expect(() => accounts.assertUsable('sk_test_0123456789')).not.toThrow()
    expect(() => accounts.assertUsable('sk_live_0123456789')).toThrow(
      expect.objectContaining({
        code: 'validation_failed',
        errors: [expect.objectContaining({ pointer: '/stripe_secret_key' })],
      }),
    )
  })

  it('is null while Stripe is down, so that a key can be set', async () => {
    const down = createStripeAccounts({
      config: loadConfig({ STRIPE_API_BASE: 'http://127.0.0.1:9' }),
      metrics: noMetrics,
    })
    expect(await down.accountOf(newStripeKey())).toBeNull()
    expect(await down.accountOf(undefined)).toBeNull()
    const revoked = stripe.fake.control.createAccount().secretKey
    stripe.fake.control.revokeKey(revoked)
    expect(await accountOf(revoked)).toBeNull()
  })

  it('is saved later and then kept', async () => {
    const key = newStripeKey()
    const { id } = await createConference(app, { stripe_secret_key: key })
    const stored = async () =>
      (await app.rows('select stripe_account from conferences where id = $1', [id]))[0]
    const clients = clientsFor(stripe.fake.url)
    const account = await fetchStripeAccount({ db: app.db, clients }, id)
    expect(account).toMatch(/^acct_/)
    expect(await stored()).toEqual({ stripe_account: account })
    await app.rows(`update conferences set stripe_account = 'acct_first' where id = $1`, [id])
    await fetchStripeAccount({ db: app.db, clients }, id)
    expect(await stored()).toEqual({ stripe_account: 'acct_first' })
  })

  it('fails with a revoked key, so that its job waits for another one (issue 8, line 3)', async () => {
    const key = newStripeKey()
    const { id } = await createConference(app, { stripe_secret_key: key })
    const clients = clientsFor(stripe.fake.url)
    stripe.fake.control.revokeKey(key)
    const fetched = fetchStripeAccount({ db: app.db, clients }, id)
    await expect(fetched).rejects.toMatchObject({ code: 'stripe_key_rejected' })
  })

  it('stays unknown for a restricted key that may not read it', async () => {
    const { id } = await createConference(app, { stripe_secret_key: newStripeKey() })
    const clients = clientsFor(stripe.fake.url)
    stripe.fake.control.injectFault({
      path: '/v1/account',
      action: { kind: 'refuse', status: 403 },
    })
    expect(await fetchStripeAccount({ db: app.db, clients }, id)).toBeNull()
  })

  it('fails while Stripe is down, so that the job is retried', async () => {
    const { id } = await createConference(app, { stripe_secret_key: newStripeKey() })
    const clients = clientsFor('http://127.0.0.1:9')
    await expect(fetchStripeAccount({ db: app.db, clients }, id)).rejects.toMatchObject({
      code: 'stripe_unavailable',
    })
  })
})

describe('the operation name of a request in the metrics', () => {
  it.each([
    ['POST', '/v1/checkout/sessions', 'checkout.sessions.create'],
    ['GET', '/v1/checkout/sessions/cs_1', 'checkout.sessions.retrieve'],
    ['POST', '/v1/checkout/sessions/cs_1/expire', 'checkout.sessions.expire'],
    ['GET', '/v1/refunds?payment_intent=pi_1&limit=100', 'refunds.list'],
    ['GET', '/v1/radar/early_fraud_warnings?limit=100', 'radar.early_fraud_warnings.list'],
    ['POST', '/v1/customers/cus_1', 'customers.update'],
    ['DELETE', '/v1/coupons/SUMMER', 'coupons.delete'],
    ['GET', '/v1/account', 'account.retrieve'],
  ])('of %s %s is %s, without an id', (method, path, name) => {
    expect(operationOf(method, path)).toBe(name)
  })
})
