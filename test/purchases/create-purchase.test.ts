import { beforeAll, describe, expect, it } from 'vitest'
import {
  createAddOn,
  createSponsor,
  createStaffKey,
  createTicketType,
} from '../support/fixtures.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { type Body, useTestApp } from '../support/test-app.ts'

const app = useTestApp()

let shop: Shop
let other: Shop
beforeAll(async () => {
  shop = await openShop(app, { max_quantity: 100 })
  other = await openShop(app)
})

const order = (body: unknown, as?: string) =>
  app.request('POST', `${shop.path}/purchases`, { body, ...(as === undefined ? {} : { as }) })
const bySponsor = (body: Body) => order({ ticket_type: shop.ticketType, ...body }, shop.sponsorKey)
const byStaff = (body: Body) => order({ ticket_type: shop.ticketType, quantity: 1, ...body })

const refusedAt = (pointer: string) => ({
  status: 400,
  body: {
    code: 'validation_failed',
    errors: expect.arrayContaining([expect.objectContaining({ pointer })]),
  },
})

describe('ordering', () => {
  it('copies price and terms from the catalogue', async () => {
    const item = await createTicketType(app, shop, {
      price: 4_900,
      voucher_defaults: { voucher_type: 'percentage', discount_value: 50, max_uses: 2 },
    })
    const { status, body } = await bySponsor({
      ticket_type: item.id,
      quantity: 3,
      reference: 'PO 7',
    })
    expect(status).toBe(201)
    expect(body).toMatchObject({
      object: 'bulk_purchase',
      status: 'PENDING',
      sponsor: shop.sponsor,
      quantity: 3,
      unit_amount: 4_900,
      total_amount: 14_700,
      currency: 'EUR',
      reference: 'PO 7',
      ticket_type: item.id,
      add_on: null,
      voucher_config: {
        voucher_type: 'percentage',
        discount_value: 50,
        max_uses: 2,
        prefix: `BULK-${shop.sponsorSlug.toUpperCase()}-`,
      },
      checkout: null,
      vouchers: { issued: 0 },
      allowed_actions: ['update', 'checkout', 'cancel'],
    })
    await app.request('PATCH', `${shop.path}/ticket-types/${item.id}`, { body: { price: 1 } })
    const { unit_amount } = (await shop.get(String(body['id']))) as unknown as Body
    expect(unit_amount).toBe(4_900)
  })

  it('lets staff sell an add-on, or an item without a catalogue entry, with other terms (D9, D10, D15)', async () => {
    const addOn = await createAddOn(app, shop)
    expect((await order({ add_on: addOn.id, quantity: 2 })).body).toMatchObject({
      add_on: addOn.id,
      sponsor: null,
      voucher_config: { voucher_type: 'comp', discount_value: 0, max_uses: 1, prefix: 'BULK-' },
    })
    const own = await order({
      quantity: 5,
      unit_amount: 700,
      description: 'Workshop seats',
      sponsor: shop.sponsorSlug,
      voucher_config: { voucher_type: 'fixed_amount', discount_value: 500, prefix: 'WS-' },
    })
    expect(own.body).toMatchObject({
      sponsor: shop.sponsor,
      description: 'Workshop seats',
      total_amount: 3_500,
      voucher_config: { voucher_type: 'fixed_amount', discount_value: 500, prefix: 'WS-' },
    })
  })

  it('cuts a long sponsor name in the prefix, so that every code fits (D22)', async () => {
    const long = await createSponsor(app, shop, { name: 'x'.repeat(180), slug: 'x'.repeat(180) })
    const { body } = await byStaff({ sponsor: long.id })
    const { prefix } = body['voucher_config'] as { prefix: string }
    expect(prefix.length + 32).toBeLessThanOrEqual(100)
  })
})

describe('an order that breaks a rule (D4, D5, D24)', () => {
  it.each([0, -1, 1.5, '3', null])(
    'is refused with the field for quantity %o',
    async (quantity) => {
      expect(await bySponsor({ quantity })).toMatchObject(refusedAt('/quantity'))
    },
  )

  it('is refused for a quantity above the conference’s limit', async () => {
    const answer = await bySponsor({ quantity: 101 })
    expect(answer).toMatchObject(refusedAt('/quantity'))
    expect(answer.body['detail']).toMatch(/at most 100/)
  })

  it.each([-1, 1.5, '10', 100_000_000])(
    'is refused with the field for unit_amount %o',
    async (unit_amount) => {
      expect(await byStaff({ unit_amount })).toMatchObject(refusedAt('/unit_amount'))
    },
  )

  it('is refused for a total below what Stripe charges', async () => {
    const answer = await byStaff({ unit_amount: 49 })
    expect(answer).toMatchObject(refusedAt('/quantity'))
    expect(answer.body['detail']).toMatch(/minimum charge of 0.50 EUR/)
  })

  it('is refused for a total above what Stripe charges', async () => {
    const answer = await byStaff({ quantity: 100, unit_amount: 1_000_000 })
    expect(answer.body['detail']).toMatch(/maximum of 999999.99 EUR/)
  })

  it.each([
    ['/voucher_config/discount_value', { voucher_type: 'percentage', discount_value: 101 }],
    ['/voucher_config/discount_value', { voucher_type: 'percentage', discount_value: -1 }],
    ['/voucher_config/discount_value', { voucher_type: 'percentage' }],
    ['/voucher_config/discount_value', { voucher_type: 'fixed_amount', discount_value: 1.5 }],
    ['/voucher_config/voucher_type', { voucher_type: 'nonsense' }],
    ['/voucher_config/max_uses', { max_uses: 0 }],
    ['/voucher_config/prefix', { prefix: 'lower' }],
    ['/voucher_config/unknown', { unknown: 1 }],
    [
      '/voucher_config/valid_until',
      { valid_from: '2099-01-02T00:00:00Z', valid_until: '2099-01-01T00:00:00Z' },
    ],
    ['/voucher_config/valid_until', { valid_until: '2020-01-01T00:00:00Z' }],
  ])('is refused at %s for the terms %o', async (pointer, voucher_config) => {
    expect(await byStaff({ voucher_config })).toMatchObject(refusedAt(pointer))
  })

  it('is refused for an unknown field', async () => {
    expect(await byStaff({ price: 1 })).toMatchObject(refusedAt('/price'))
  })

  it('is refused without an item and a price', async () => {
    expect(await order({ quantity: 1 })).toMatchObject(refusedAt('/unit_amount'))
    expect(await order({ quantity: 1, unit_amount: 100 })).toMatchObject(refusedAt('/description'))
  })

  it('is refused for two items', async () => {
    const body = { add_on: 'add_x', ticket_type: shop.ticketType, quantity: 1 }
    expect(await order(body)).toMatchObject(refusedAt('/add_on'))
  })

  it('is refused for a ticket type, add-on or sponsor of another conference (D17)', async () => {
    const addOn = await createAddOn(app, other)
    expect(await byStaff({ ticket_type: other.ticketType })).toMatchObject(
      refusedAt('/ticket_type'),
    )
    expect(await order({ add_on: addOn.id, quantity: 1 })).toMatchObject(refusedAt('/add_on'))
    expect(await byStaff({ sponsor: other.sponsor })).toMatchObject(refusedAt('/sponsor'))
  })

  it('is refused for an item that is not for bulk, or not on sale now', async () => {
    const single = await createTicketType(app, shop, { bulk_enabled: false })
    const later = await createTicketType(app, shop, { active_from: '2099-01-01T00:00:00Z' })
    const past = await createTicketType(app, shop, { active_until: '2020-01-01T00:00:00Z' })
    for (const [item, reason] of [
      [single, /not enabled for bulk/],
      [later, /The sale of ".+" begins at 2099/],
      [past, /The sale of ".+" ended at 2020/],
    ] as const) {
      const answer = await bySponsor({ ticket_type: item.id, quantity: 1 })
      expect(answer).toMatchObject(refusedAt('/ticket_type'))
      expect(answer.body['detail']).toMatch(reason)
    }
  })
})

describe('a sponsor', () => {
  it.each([
    ['/unit_amount', { unit_amount: 1 }],
    ['/description', { description: 'cheap' }],
    ['/voucher_config', { voucher_config: { max_uses: 9 } }],
    ['/sponsor', { sponsor: 'somebody-else' }],
  ])('may not set %s', async (pointer, body) => {
    expect(await bySponsor({ quantity: 1, ...body })).toMatchObject(refusedAt(pointer))
  })

  it('can name itself as the sponsor', async () => {
    expect((await bySponsor({ quantity: 1, sponsor: shop.sponsor })).status).toBe(201)
  })

  it('sees only its own purchases', async () => {
    const own = await shop.buy()
    const foreign = await byStaff({})
    const { body } = await app.request<{ data: { id: string; sponsor: string }[] }>(
      'GET',
      `${shop.path}/purchases?limit=100`,
      { as: shop.sponsorKey },
    )
    expect(body.data.map(({ id }) => id)).toContain(own.id)
    expect(new Set(body.data.map(({ sponsor }) => sponsor))).toEqual(new Set([shop.sponsor]))
    const url = `${shop.path}/purchases/${String(foreign.body['id'])}`
    for (const path of [url, `${url}/transitions`, `${url}/vouchers`]) {
      expect((await app.request('GET', path, { as: shop.sponsorKey })).status).toBe(404)
    }
  })

  it('of another conference finds no purchase', async () => {
    const own = await shop.buy()
    const url = `${shop.path}/purchases/${own.id}`
    expect((await app.request('GET', url, { as: other.sponsorKey })).status).toBe(404)
    const elsewhere = `${other.path}/purchases/${own.id}`
    expect((await app.request('GET', elsewhere, { as: other.sponsorKey })).status).toBe(404)
    expect((await app.request('GET', elsewhere)).status).toBe(404)
  })
})

describe('updating a purchase', () => {
  const patch = (id: string, body: Body, as?: string) =>
    app.request('PATCH', `${shop.path}/purchases/${id}`, { body, ...(as ? { as } : {}) })

  it('recomputes the total', async () => {
    const { id } = await shop.buy()
    const changed = await patch(id, { quantity: 7, reference: null }, shop.sponsorKey)
    expect(changed.body).toMatchObject({ quantity: 7, total_amount: 7_000, reference: null })
    expect(changed.body['description']).toMatch(/^7 × /)
  })

  it('applies the rules of creation', async () => {
    const { id } = await shop.buy()
    expect(await patch(id, { quantity: 101 })).toMatchObject(refusedAt('/quantity'))
    expect(await patch(id, { unit_amount: 3 })).toMatchObject(refusedAt('/quantity'))
    expect(await patch(id, { unit_amount: 3 }, shop.sponsorKey)).toMatchObject(
      refusedAt('/unit_amount'),
    )
    expect(await patch(id, { status: 'PAID' })).toMatchObject(refusedAt('/status'))
    expect((await shop.get(id)).status).toBe('PENDING')
  })
})

describe('a free purchase', () => {
  it('gets its codes once, when staff approve it', async () => {
    const free = await createTicketType(app, shop, { price: 0 })
    const { body } = await bySponsor({ ticket_type: free.id, quantity: 4 })
    const id = String(body['id'])
    expect(body['allowed_actions']).toEqual(['update', 'cancel'])
    expect(await shop.checkout(id)).toMatchObject({ status: 409, body: { code: 'wrong_state' } })
    const approved = await shop.act(id, 'approve')
    expect(approved.body).toMatchObject({ status: 'PAID', vouchers: { issued: 4, active: 4 } })
    expect(await shop.act(id, 'approve')).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', state: 'PAID' },
    })
    expect((await shop.get(id)).vouchers.issued).toBe(4)
  })

  it('is the only kind that can be approved (D15)', async () => {
    const { id } = await shop.buy()
    expect(await shop.act(id, 'approve')).toMatchObject({
      status: 409,
      body: {
        code: 'wrong_state',
        state: 'PENDING',
        allowed_actions: expect.arrayContaining(['checkout']),
      },
    })
  })
})

describe('the list', () => {
  it('filters by status, sponsor, ticket type, time and text, and refuses unknown values', async () => {
    const list = async (query: string) => {
      const url = `${shop.path}/purchases?limit=100&${query}`
      const { body } = await app.request<{ data: { id: string }[] }>('GET', url)
      return body.data.map(({ id }) => id)
    }
    const item = await createTicketType(app, shop)
    const { body } = await bySponsor({ ticket_type: item.id, quantity: 2, reference: 'needle 50%' })
    const id = String(body['id'])
    expect(await list(`ticket_type=${item.id}`)).toEqual([id])
    expect(await list('q=NEEDLE%2050%25')).toEqual([id])
    expect(await list(`q=${shop.sponsorSlug}&ticket_type=${item.id}`)).toEqual([id])
    expect(await list('q=needle%2050_')).toEqual([])
    expect(await list(`sponsor=${shop.sponsorSlug}&status=PENDING`)).toContain(id)
    expect(await list('status=PAID&sponsor=nobody')).toEqual([])
    expect(await list('created_after=2099-01-01T00:00:00Z')).toEqual([])
    expect(await list('flag=any')).toEqual([])
    for (const query of ['status=paid', 'limit=0', 'limit=101', 'unknown=1', 'cursor=x']) {
      const answer = await app.request('GET', `${shop.path}/purchases?${query}`)
      expect(answer.status).toBe(400)
      expect(answer.body).toMatchObject({ errors: [{ pointer: `query/${query.split('=')[0]}` }] })
    }
  })
})

describe('a staff key', () => {
  it('can do only what its scopes allow', async () => {
    const { id } = await shop.buy()
    const { key: reader } = await createStaffKey(app, shop, ['purchases:read'])
    const url = `${shop.path}/purchases/${id}`
    expect((await app.request('GET', url, { as: reader })).status).toBe(200)
    const refused = await app.request('POST', `${url}/cancel`, { as: reader })
    expect(refused).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    expect(refused.body['detail']).toContain('purchases:write')
  })
})
