import { beforeAll, describe, expect, it } from 'vitest'
import { createStaffKey } from '../support/fixtures.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'

const { app, stripe } = useAppOnStripe()

let shop: Shop
let doorKey: string
beforeAll(async () => {
  shop = await openShop(app)
  doorKey = (await createStaffKey(app, shop, ['vouchers:redeem'])).key
})

type Redemption = { id: string; status: string }

const call = (method: 'GET' | 'POST' | 'DELETE', path: string, body?: object) =>
  app.request<Redemption>(method, `${shop.path}/${path}`, {
    as: doorKey,
    ...(body === undefined ? {} : { body: { ...body } }),
  })

/** A paid purchase whose codes all have a hold, newest code first. */
async function heldPurchase(quantity: number) {
  const { id } = await shop.buy({ quantity })
  const session = await shop.openSession(id)
  stripe.fake.control.pay(session)
  await shop.act(id, 'reconcile')
  const codes = await shop.codes(id)
  const holds = await Promise.all(
    codes.map(async (code) => {
      const path = `vouchers/${code}/redemptions`
      const { status, body } = await call('POST', path, { reference: 'order-1', hold_seconds: 900 })
      expect(status).toBe(201)
      return body.id
    }),
  )
  const confirmAll = () =>
    Promise.all(holds.map((hold) => call('POST', `redemptions/${hold}/confirm`)))
  return { id, session, confirmAll }
}

const reasonsOf = (answers: { status: number; body: object }[]) =>
  answers.filter(({ status }) => status !== 200).map(({ status, body }) => ({ status, ...body }))

describe('money that comes back while a buyer checks out (issue 10, line 16)', () => {
  it('a refund of a part refuses the confirmation of as many codes, and no other', async () => {
    const { id, confirmAll } = await heldPurchase(3)
    expect((await shop.act(id, 'refund', { amount: 1_000 })).status).toBe(200)
    const answers = await confirmAll()
    expect(reasonsOf(answers)).toEqual([
      expect.objectContaining({
        status: 409,
        code: 'voucher_invalid',
        invalid_reason: 'deactivated',
      }),
    ])
    expect((await shop.get(id)).vouchers).toMatchObject({ redeemed: 2, deactivated: 1 })
  })

  it('a dispute refuses confirmations until it is won', async () => {
    const { id, session, confirmAll } = await heldPurchase(2)
    const dispute = stripe.fake.control.dispute(session)
    await shop.act(id, 'reconcile')
    const frozen = expect.objectContaining({ status: 409, invalid_reason: 'frozen' })
    expect(reasonsOf(await confirmAll())).toEqual([frozen, frozen])
    stripe.fake.control.closeDispute(dispute.id, 'won')
    await shop.act(id, 'reconcile')
    expect(reasonsOf(await confirmAll())).toEqual([])
    expect((await shop.get(id)).vouchers).toMatchObject({ redeemed: 2 })
  })
})
