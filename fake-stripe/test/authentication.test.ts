import { expect, it } from 'vitest'
import { startFakeStripe } from '../src/start-fake-stripe.ts'
import { refusal, sessionParams, startFake } from './fake-under-test.ts'

it('refuses to start in production', async () => {
  await expect(startFakeStripe({ nodeEnv: 'production' })).rejects.toThrow(/production/)
})

it('opens a new account for an unknown key, with the same id in every fake', async () => {
  const first = await startFake()
  const second = await startFake()
  const key = 'sk_test_of_a_conference'
  const here = await first.withKey(key).accounts.retrieveCurrent()
  const again = await first.withKey(key).accounts.retrieveCurrent()
  const there = await second.withKey(key).accounts.retrieveCurrent()
  expect(here.id).toMatch(/^acct_1\w{15}$/)
  expect([again.id, there.id]).toEqual([here.id, here.id])
})

it('accepts restricted and live keys; the key decides the mode', async () => {
  const { withKey } = await startFake()
  const restricted = await withKey('rk_test_abcdef').customers.create({})
  const live = await withKey('sk_live_abcdef').customers.create({})
  expect([restricted.livemode, live.livemode]).toEqual([false, true])
  const session = await withKey('sk_live_abcdef').checkout.sessions.create(sessionParams())
  expect(session.id).toMatch(/^cs_live_/)
})

it('refuses a malformed key with 401 and shows only its end', async () => {
  const { withKey } = await startFake()
  const error = await refusal(withKey('sk_tset_secretsecret').customers.list())
  expect(error.statusCode).toBe(401)
  expect(error.type).toBe('StripeAuthenticationError')
  expect(error.message).toMatch(/^Invalid API Key provided: \*+cret$/)
  expect(error.message).not.toContain('secretsecret')
})

it('refuses a publishable key, no key at all and a revoked one', async () => {
  const { fake, control, account, withKey } = await startFake()
  const publishable = await refusal(withKey('pk_test_abcdef').customers.list())
  expect(publishable.code).toBe('secret_key_required')
  const none = await fetch(`${fake.url}/v1/customers`)
  expect(none.status).toBe(401)
  expect(await none.json()).toMatchObject({ error: { type: 'invalid_request_error' } })
  const key = control.createKey(account)
  await withKey(key).customers.list()
  control.revokeKey(key)
  const revoked = await refusal(withKey(key).customers.list())
  expect(revoked.code).toBe('api_key_expired')
})

it('accepts the key as the user name of Basic authentication, as curl sends it', async () => {
  const { fake, secretKey, account } = await startFake()
  const basic = Buffer.from(`${secretKey}:`).toString('base64')
  const answer = await fetch(`${fake.url}/v1/account`, {
    headers: { authorization: `Basic ${basic}` },
  })
  expect(await answer.json()).toMatchObject({ id: account })
})

it('separates the objects of two accounts', async () => {
  const { stripe, withKey } = await startFake()
  const mine = await stripe.customers.create({ name: 'Mine' })
  const other = withKey('sk_test_other')
  expect((await other.customers.list()).data).toEqual([])
  const error = await refusal(other.customers.retrieve(mine.id))
  expect(error).toMatchObject({ statusCode: 404, code: 'resource_missing' })
  expect(error.message).toBe(`No such customer: '${mine.id}'`)
})

it('lets two keys of one account see the same objects', async () => {
  const { stripe, control, account, withKey } = await startFake()
  const customer = await stripe.customers.create({})
  const second = withKey(control.createKey(account, 'rk'))
  expect((await second.customers.retrieve(customer.id)).id).toBe(customer.id)
})

it('returns only the key’s own account', async () => {
  const { stripe, account } = await startFake()
  const own = await stripe.accounts.retrieve(account)
  expect(own.settings?.dashboard.display_name).toBe('PyCon Example')
  const error = await refusal(stripe.accounts.retrieve('acct_1Other'))
  expect(error).toMatchObject({ statusCode: 403, code: 'account_invalid' })
  const connected = await refusal(stripe.customers.list({}, { stripeAccount: 'acct_1Other' }))
  expect(connected).toMatchObject({ statusCode: 403, code: 'account_invalid' })
})

it('opens accounts with a country, a currency and a name', async () => {
  const { control, withKey } = await startFake({ autoAccounts: false })
  const made = control.createAccount({
    secretKey: 'sk_live_swiss',
    country: 'CH',
    default_currency: 'CHF',
    name: 'Swiss Conf',
  })
  expect(made).toMatchObject({ livemode: true, country: 'CH', default_currency: 'chf' })
  const account = await withKey('sk_live_swiss').accounts.retrieveCurrent()
  expect(account).toMatchObject({ id: made.id, country: 'CH', default_currency: 'chf' })
  expect(() => control.createAccount({ secretKey: 'sk_live_swiss' })).toThrow(/already/)
  expect(() => control.createAccount({ secretKey: 'sk_test_a1', livemode: true })).toThrow(/live/)
  const unknown = await refusal(withKey('sk_test_unknown').customers.list())
  expect(unknown.statusCode).toBe(401)
})
