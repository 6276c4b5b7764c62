import { beforeAll, describe, expect, it } from 'vitest'
import { createStaffKey } from '../support/fixtures.ts'
import { purchaseService } from '../support/purchase-service.ts'
import { roundTripsOf } from '../support/round-trips.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'

// Each number is a budget: a change that needs more round trips must say why here. They count every message
// from the authentication of the request to its answer, except two kinds that no flow waits for in turn:
// the mirror's copies of what was fetched, which have a budget of their own (one for each of the two requests
// to Stripe that return objects), and the use of the rate limit, which a timer writes at any moment.

const { app, stripe } = useAppOnStripe()
let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

const reconcile = (purchaseId: string) =>
  purchaseService(app.db, app.gateway).reconcile(
    { conferenceId: shop.conference, purchaseId },
    { actor: { kind: 'system', id: 'test' }, cause: 'test' },
  )

const isMirrorCopy = (message: string) => message.includes('insert into stripe.')
const isRateLimitUse = (message: string) => message.includes('stripe_request_budgets')

const MAX_MIRROR_COPIES = 2

async function countedOf(work: () => Promise<unknown>): Promise<string[]> {
  const messages = await roundTripsOf(work)
  expect(messages.filter(isMirrorCopy).length).toBeLessThanOrEqual(MAX_MIRROR_COPIES)
  return messages.filter((message) => !isMirrorCopy(message) && !isRateLimitUse(message))
}

const listOf = (trips: string[]) => trips.map((trip) => trip.slice(0, 120)).join('\n')

describe('the round trips to Postgres (issue 8, line 2)', () => {
  it('are at most 2 to view a paid purchase', async () => {
    const { id } = await shop.buy()
    stripe.fake.control.pay(await shop.openSession(id))
    await shop.act(id, 'reconcile')
    expect((await countedOf(() => shop.get(id))).length).toBeLessThanOrEqual(2)
  })

  it('are at most 9 to open a payment page', async () => {
    const { id } = await shop.buy()
    const trips = await countedOf(() => shop.openSession(id))
    expect(trips.length, listOf(trips)).toBeLessThanOrEqual(9)
  })

  it('are at most 9 to reconcile a purchase that becomes paid', async () => {
    const { id } = await shop.buy()
    stripe.fake.control.pay(await shop.openSession(id))
    const trips = await countedOf(() => reconcile(id))
    expect(await shop.get(id)).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
    expect(trips.length, listOf(trips)).toBeLessThanOrEqual(9)
  })

  it('are at most 5 to reconcile a purchase about which Stripe has nothing new', async () => {
    const { id } = await shop.buy()
    stripe.fake.control.pay(await shop.openSession(id))
    await reconcile(id)
    const trips = await countedOf(() => reconcile(id))
    expect(trips.length, listOf(trips)).toBeLessThanOrEqual(5)
  })

  it('are at most 3 to redeem a voucher', async () => {
    const { id } = await shop.buy()
    stripe.fake.control.pay(await shop.openSession(id))
    await reconcile(id)
    const { key: as } = await createStaffKey(app, shop, ['vouchers:redeem'])
    const [first, second] = await shop.codes(id)
    const redeem = (code: string | undefined) =>
      app.request('POST', `${shop.path}/vouchers/${code}/redemptions`, {
        as,
        body: { reference: 'order-1' },
      })
    // The first request of a key also writes when it was last used.
    await redeem(first)
    const trips = await countedOf(async () => expect((await redeem(second)).status).toBe(201))
    expect(trips.length, listOf(trips)).toBeLessThanOrEqual(3)
  })
})
