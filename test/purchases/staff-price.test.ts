import { beforeAll, describe, expect, it } from 'vitest'
import { createTicketType } from '../support/fixtures.ts'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import { type Body, useTestApp } from '../support/test-app.ts'

const app = useTestApp()
let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

/** An order that staff make for the sponsor, at a price of theirs. */
async function staffOrder(order: Body): Promise<string> {
  const { status, body } = await app.request<PurchaseAnswer>('POST', `${shop.path}/purchases`, {
    body: { ticket_type: shop.ticketType, sponsor: shop.sponsor, ...order },
  })
  expect(status).toBe(201)
  return body.id
}

const patch = (id: string, body: Body, as?: string) =>
  app.request<PurchaseAnswer>('PATCH', `${shop.path}/purchases/${id}`, {
    body,
    ...(as === undefined ? {} : { as }),
  })
const asSponsor = (id: string, body: Body) => patch(id, body, shop.sponsorKey)
const FORBIDDEN = { status: 403, body: { code: 'forbidden' } }

describe('what staff priced', () => {
  it('stays as staff sold it: a sponsor cannot order more for the same price (issue 8, line 9)', async () => {
    const id = await staffOrder({ quantity: 10, unit_amount: 100 })
    expect(await asSponsor(id, { quantity: 400 })).toMatchObject(FORBIDDEN)
    expect(await asSponsor(id, { quantity: 9 })).toMatchObject(FORBIDDEN)
    expect(await asSponsor(id, { reference: 'PO-1' })).toMatchObject(FORBIDDEN)
    expect(await shop.get(id)).toMatchObject({ quantity: 10, total_amount: 1_000, reference: null })
    expect((await patch(id, { quantity: 20 })).body).toMatchObject({ total_amount: 2_000 })
  })

  it('does not offer the sponsor an update that would be refused (issue 8, line 9)', async () => {
    const id = await staffOrder({ quantity: 10, unit_amount: 100 })
    const url = `${shop.path}/purchases/${id}`
    const seen = await app.request<PurchaseAnswer>('GET', url, { as: shop.sponsorKey })
    expect(seen.body.allowed_actions).not.toContain('update')
    expect((await shop.get(id)).allowed_actions).toContain('update')
  })

  it('is closed to the sponsor also when staff priced it after the order (issue 8, line 9)', async () => {
    const { id } = await shop.buy({ quantity: 3 })
    expect((await asSponsor(id, { quantity: 4 })).body).toMatchObject({ quantity: 4 })
    expect((await patch(id, { unit_amount: 100 })).status).toBe(200)
    expect(await asSponsor(id, { quantity: 400 })).toMatchObject(FORBIDDEN)
    expect(await shop.get(id)).toMatchObject({ quantity: 4, total_amount: 400 })
  })

  it('includes the vouchers that staff shaped at the price of the catalogue (issue 8, line 9)', async () => {
    const config = { voucher_config: { voucher_type: 'percentage', discount_value: 50 } }
    const id = await staffOrder({ quantity: 10, ...config })
    expect(await asSponsor(id, { quantity: 400 })).toMatchObject(FORBIDDEN)
    const { id: own } = await shop.buy({ quantity: 3 })
    expect((await patch(own, { voucher_config: { max_uses: 5 } })).status).toBe(200)
    expect(await asSponsor(own, { quantity: 400 })).toMatchObject(FORBIDDEN)
    expect(await shop.get(own)).toMatchObject({ quantity: 3, total_amount: 3_000 })
  })

  it('stays open to the sponsor when staff ordered at the price of the catalogue (issue 8, line 9)', async () => {
    const id = await staffOrder({ quantity: 10 })
    expect((await asSponsor(id, { quantity: 11 })).body).toMatchObject({ total_amount: 11_000 })
  })
})

describe('what staff gave for free', () => {
  it('is approved in the quantity that staff gave (issue 8, line 9)', async () => {
    const id = await staffOrder({ quantity: 5, unit_amount: 0 })
    expect(await asSponsor(id, { quantity: 500 })).toMatchObject(FORBIDDEN)
    expect((await shop.act(id, 'approve')).body).toMatchObject({
      status: 'PAID',
      vouchers: { issued: 5 },
    })
  })

  it('is not to be paid: staff approve it', async () => {
    const id = await staffOrder({ quantity: 5, unit_amount: 0 })
    expect(await shop.checkout(id)).toMatchObject({
      status: 409,
      body: { detail: 'Checkout is not possible: the purchase is free: staff approve it.' },
    })
  })

  it('is not approved if it has another quantity than staff believe (issue 8, line 9)', async () => {
    const free = await createTicketType(app, { path: shop.path }, { price: 0 })
    const { id } = await shop.buy({ ticket_type: free.id, quantity: 5 })
    // The catalogue set this price, so the sponsor may order more of it: staff must see that.
    expect((await asSponsor(id, { quantity: 500 })).status).toBe(200)
    expect(await shop.act(id, 'approve', { quantity: 5 })).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', detail: expect.stringContaining('500') },
    })
    expect(await shop.get(id)).toMatchObject({ status: 'PENDING', vouchers: { issued: 0 } })
    expect((await shop.act(id, 'approve', { quantity: 500 })).body).toMatchObject({
      status: 'PAID',
      vouchers: { issued: 500 },
    })
  })

  it('says in the history what was approved (issue 8, line 9)', async () => {
    const id = await staffOrder({ quantity: 5, unit_amount: 0 })
    await shop.act(id, 'approve', { quantity: 5 })
    const url = `${shop.path}/purchases/${id}/transitions`
    const { body } = await app.request<{ data: { event: string; cause: string }[] }>('GET', url)
    expect(body.data).toMatchObject([
      { event: 'COMP_APPROVED', cause: expect.stringContaining('approve 5 ×') },
    ])
  })
})
