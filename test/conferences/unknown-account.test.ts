import { afterEach, describe, expect, it } from 'vitest'
import { useSyncScene } from '../mirror/sync-scene.ts'
import { createConference } from '../support/fixtures.ts'
import { newStripeKey } from '../support/shop.ts'

const scene = useSyncScene()
afterEach(() => scene.fake.control.clearFaults())

const setKey = (path: string, key: string) =>
  scene.request('PATCH', path, { body: { stripe_secret_key: key } })

function failAccounts(path = '/v1/account'): void {
  const action = { kind: 'error', status: 503 } as const
  scene.fake.control.injectFault({ path, times: 'always', action })
}

describe('a new key of a conference with purchases, whose account Stripe does not name', () => {
  it('is refused if it belongs to another account (issue 8, line 26)', async () => {
    const shop = await scene.openWiredShop()
    await scene.order(shop)
    failAccounts()
    const { status, body } = await setKey(shop.path, newStripeKey())
    expect({ status, code: body['code'] }).toEqual({ status: 409, code: 'mode_fixed' })
  })

  it('is accepted if its account has the payments (issue 8, line 26)', async () => {
    const shop = await scene.openWiredShop()
    await scene.order(shop)
    failAccounts()
    expect((await setKey(shop.path, shop.stripeKey)).status).toBe(200)
  })

  it('is refused for now if Stripe shows neither (issue 8, line 26)', async () => {
    const shop = await scene.openWiredShop()
    await scene.order(shop)
    failAccounts('/**')
    const { status, body } = await setKey(shop.path, newStripeKey())
    expect({ status, code: body['code'] }).toEqual({ status: 503, code: 'stripe_unavailable' })
  })

  it('is known although the first request for it failed', async () => {
    const action = { kind: 'error', status: 503 } as const
    scene.fake.control.injectFault({ path: '/v1/account', times: 1, action })
    const { id, path } = await createConference(scene)
    expect((await setKey(path, newStripeKey())).status).toBe(200)
    const known = await scene.rows('select stripe_account from conferences where id = $1', [id])
    expect(known).toEqual([{ stripe_account: expect.stringMatching(/^acct_/) }])
  })

  it('is accepted while no purchase has a payment (issue 8, line 26)', async () => {
    const shop = await scene.openWiredShop()
    await shop.buy()
    failAccounts()
    expect((await setKey(shop.path, newStripeKey())).status).toBe(200)
  })
})
