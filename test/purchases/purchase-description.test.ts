import { beforeAll, describe, expect, it } from 'vitest'
import { lineItemName } from '../../src/purchases/purchase-description.ts'
import { createAddOn, createTicketType } from '../support/fixtures.ts'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'
import type { Body } from '../support/test-app.ts'

const { app, stripe } = useAppOnStripe()
let shop: Shop
let corporate: string
beforeAll(async () => {
  shop = await openShop(app)
  corporate = (await createTicketType(app, shop, { name: 'Corporate', price: 1_000 })).id
})

const CREATE = { method: 'POST', path: '/v1/checkout/sessions' } as const

/** The line items of the requests to Stripe that open the purchase's page: name and quantity. */
const linesSent = (purchase: string) =>
  stripe.fake.control
    .requests(CREATE)
    .filter(({ params }) => params['client_reference_id'] === purchase)
    .map(({ params }) => (params['line_items'] as Record<string, Line>)['0'])
    .map((line) => [line?.price_data.product_data.name, line?.quantity])

type Line = { quantity: string; price_data: { product_data: { name: string } } }

/** An order of staff, whose payment page is open. */
async function openAsStaff(order: Body): Promise<PurchaseAnswer> {
  const { body } = await app.request<PurchaseAnswer>('POST', `${shop.path}/purchases`, {
    body: order,
  })
  const urls = { success_url: 'https://shop.example/ok', cancel_url: 'https://shop.example/no' }
  expect((await shop.act(body.id, 'checkout', urls)).status).toBe(200)
  return body
}

describe('what the payer sees', () => {
  it('is the item next to the quantity, while the purchase says both (issue 10, line 4)', async () => {
    const many = await shop.buy({ ticket_type: corporate, quantity: 40 })
    const one = await shop.buy({ ticket_type: corporate, quantity: 1 })
    expect(many['description']).toBe('40 × Corporate voucher codes')
    expect(one['description']).toBe('1 × Corporate voucher code')
    await shop.openSession(many.id)
    await shop.openSession(one.id)
    expect(linesSent(many.id)).toEqual([['Corporate ticket voucher', '40']])
    expect(linesSent(one.id)).toEqual([['Corporate ticket voucher', '1']])
  })

  it('is an add-on by its name (issue 10, line 4)', async () => {
    const addOn = await createAddOn(app, shop, { name: 'Workshop' })
    const { id } = await shop.buy({ ticket_type: undefined, add_on: addOn.id, quantity: 3 })
    await shop.openSession(id)
    expect(linesSent(id)).toEqual([['Workshop voucher', '3']])
  })

  it('is the item as it was sold, although it has another name now', async () => {
    const item = await createTicketType(app, shop, { name: 'Early bird', price: 1_000 })
    const { id } = await shop.buy({ ticket_type: item.id, quantity: 2 })
    await app.request('PATCH', `${shop.path}/ticket-types/${item.id}`, { body: { name: 'Late' } })
    await shop.openSession(id)
    expect(linesSent(id)).toEqual([['Early bird ticket voucher', '2']])
  })

  it('is the text of staff without its quantity if they sold no item (issue 10, line 4)', async () => {
    const order = { quantity: 40, unit_amount: 500, description: '40 × Speaker dinner' }
    const { id, description } = await openAsStaff(order)
    expect(description).toBe('40 × Speaker dinner')
    expect(linesSent(id)).toEqual([['Speaker dinner', '40']])
  })

  it.each([
    ['40 speaker tickets', 40, 'speaker tickets'],
    ['40x Speakers', 40, 'Speakers'],
    ['Speakers of 2027', 2027, 'Speakers of 2027'],
    ['400 Speakers', 40, '400 Speakers'],
    ['40', 40, '40'],
    ['3 day pass', 3, '3 day pass'],
    ['3-day pass', 3, '3-day pass'],
  ])('for "%s", quantity %d, is "%s"', (description, quantity, name) => {
    expect(lineItemName({ description, quantity, ticketTypeId: null })).toBe(name)
  })

  it.each([
    ['2 × Conference pass voucher codes', 'Conference pass voucher'],
    ['2 × Student Tickets voucher codes', 'Student Tickets voucher'],
    ['2 × Passepartout voucher codes', 'Passepartout ticket voucher'],
  ])('says "ticket" once: %s', (description, name) => {
    expect(lineItemName({ description, quantity: 2, ticketTypeId: 'tkt_1' })).toBe(name)
  })
})

describe('the description of a purchase', () => {
  it('follows the quantity, also to one and back (issue 10, line 4)', async () => {
    const { id } = await shop.buy({ ticket_type: corporate, quantity: 2 })
    const describedFor = async (quantity: number) => {
      const url = `${shop.path}/purchases/${id}`
      const { body } = await app.request<PurchaseAnswer>('PATCH', url, { body: { quantity } })
      return body['description']
    }
    expect(await describedFor(1)).toBe('1 × Corporate voucher code')
    expect(await describedFor(5)).toBe('5 × Corporate voucher codes')
  })
})

describe('an attempt that an earlier release stored', () => {
  it('is retried with the very request that it was stored with (issue 10, line 4)', async () => {
    const { id } = await shop.buy({ ticket_type: corporate, quantity: 3 })
    stripe.fake.control.injectFault({ ...CREATE, times: 'always', action: { kind: 'cut' } })
    expect((await shop.checkout(id)).status).toBe(503)
    stripe.fake.control.clearFaults()
    await app.rows(`update payment_attempts set params = params - 'name' where purchase_id = $1`, [
      id,
    ])
    await shop.openSession(id)
    expect(linesSent(id).at(-1)).toEqual(['3 × Corporate voucher codes', '3'])
    expect(await shop.get(id)).toMatchObject({ checkout: { attempt: 1 } })
  })
})
