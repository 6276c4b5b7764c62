import { describe, expect, it } from 'vitest'
import {
  createAddOn,
  createConference,
  createLevel,
  createSponsor,
  createSponsorKey,
  createStaffKey,
  createTicketType,
} from '../support/fixtures.ts'
import { type Body, useTestApp } from '../support/test-app.ts'
import type { ListBody } from './voucher-http.ts'

const app = useTestApp()

type BatchMade = Body & { id: string }

const post = (conference: { path: string }, body: Body, as?: string) =>
  app.request<BatchMade>('POST', `${conference.path}/voucher-batches`, {
    body,
    ...(as === undefined ? {} : { as }),
  })

async function codesOf(conference: { path: string }, batch: string): Promise<string[]> {
  const path = `${conference.path}/voucher-batches/${batch}/vouchers?limit=100`
  const { body } = await app.request<ListBody<{ code: string }>>('GET', path)
  return body.data.map(({ code }) => code)
}

describe('a batch of staff', () => {
  it('is issued immediately, with the prefix of its sponsor', async () => {
    const conference = await createConference(app)
    const staff = await createStaffKey(app, conference, ['vouchers:write'])
    const sponsor = await createSponsor(app, conference, { slug: 'acme' })
    const ticketType = await createTicketType(app, conference)
    const body = {
      count: 20,
      voucher_type: 'fixed_amount',
      discount_value: 1_500,
      max_uses: 2,
      valid_until: '2099-01-01T00:00:00+01:00',
      unlocks_hidden_tickets: true,
      sponsor: 'acme',
      ticket_type: ticketType.id,
    }
    const made = await post(conference, body, staff.key)
    expect(made).toMatchObject({
      status: 201,
      body: {
        id: expect.stringMatching(/^vb_/),
        object: 'voucher_batch',
        source: 'staff',
        purchase: null,
        sponsor: sponsor.id,
        count: 20,
        prefix: 'BULK-ACME-',
        voucher_type: 'fixed_amount',
        discount_value: 1_500,
        currency: 'EUR',
        max_uses: 2,
        valid_from: null,
        valid_until: '2098-12-31T23:00:00.000Z',
        unlocks_hidden_tickets: true,
        ticket_type: ticketType.id,
        add_on: null,
        created_by: staff.id,
      },
    })
    const codes = await codesOf(conference, made.body.id)
    expect(codes).toHaveLength(20)
    for (const code of codes) expect(code).toMatch(/^BULK-ACME-[2-9A-HJ-NP-Z]{12}$/)
    const seen = await app.request('GET', `${conference.path}/voucher-batches/${made.body.id}`)
    expect(seen.body).toEqual(made.body)
  })

  it('can have its own prefix, and has the code length of the conference', async () => {
    const conference = await createConference(app, { code_length: 8 })
    const body = { count: 1, voucher_type: 'comp', prefix: 'SPEAKER-' }
    const made = await post(conference, body)
    expect(await codesOf(conference, made.body.id)).toEqual([
      expect.stringMatching(/^SPEAKER-[2-9A-HJ-NP-Z]{8}$/),
    ])
  })

  it('is issued once under an Idempotency-Key', async () => {
    const conference = await createConference(app)
    const sent = { body: { count: 3, voucher_type: 'comp' }, headers: { 'idempotency-key': 'b1' } }
    const path = `${conference.path}/voucher-batches`
    const first = await app.request<BatchMade>('POST', path, sent)
    const again = await app.request<BatchMade>('POST', path, sent)
    expect(again.body.id).toBe(first.body.id)
    const list = await app.request<ListBody>('GET', path)
    expect(list.body.data).toHaveLength(1)
  })

  it.each<[string, string, Body]>([
    ['no codes', '/count', { count: 0 }],
    ['minus one code', '/count', { count: -1 }],
    ['one and a half codes', '/count', { count: 1.5 }],
    ['more codes than the conference allows', '/count', { count: 501 }],
    ['an unknown type', '/voucher_type', { voucher_type: 'nonsense' }],
    ['150 percent', '/discount_value', { voucher_type: 'percentage', discount_value: 150 }],
    ['a percentage without a value', '/discount_value', { voucher_type: 'percentage' }],
    [
      'a negative discount',
      '/discount_value',
      { voucher_type: 'fixed_amount', discount_value: -5 },
    ],
    ['a comp of 50', '/discount_value', { discount_value: 50 }],
    ['no uses', '/max_uses', { max_uses: 0 }],
    ['an end in the past', '/valid_until', { valid_until: '2020-01-01T00:00:00Z' }],
    [
      'an end before the beginning',
      '/valid_until',
      { valid_from: '2099-01-02T00:00:00Z', valid_until: '2099-01-01T00:00:00Z' },
    ],
    ['an invalid time', '/valid_from', { valid_from: 'tomorrow' }],
    ['a prefix in lower case', '/prefix', { prefix: 'bulk-' }],
    ['an unknown field', '/color', { color: 'red' }],
  ])('D24: is refused with %s', async (_name, pointer, changes) => {
    const conference = await createConference(app)
    const answer = await post(conference, { count: 1, voucher_type: 'comp', ...changes })
    expect(answer).toMatchObject({
      status: 400,
      body: { code: 'validation_failed', errors: [{ pointer }] },
    })
    const { body } = await app.request<ListBody>('GET', `${conference.path}/voucher-batches`)
    expect(body.data).toEqual([])
  })

  it('D5: can have at most the number that the conference allows', async () => {
    const conference = await createConference(app, { max_quantity: 10 })
    const order = (count: number) => post(conference, { count, voucher_type: 'comp' })
    expect(await order(10)).toMatchObject({ status: 201 })
    expect(await order(11)).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/count' }] },
    })
  })

  it('is refused for a sponsor, ticket type or add-on of another conference', async () => {
    const conference = await createConference(app)
    const other = await createConference(app)
    const sponsor = await createSponsor(app, other)
    const ticketType = await createTicketType(app, other)
    const addOn = await createAddOn(app, other)
    const refused = async (changes: Body) =>
      (await post(conference, { count: 1, voucher_type: 'comp', ...changes })).body['errors']
    expect(await refused({ sponsor: sponsor.id })).toEqual([
      { pointer: '/sponsor', detail: `This conference has no sponsor "${sponsor.id}".` },
    ])
    expect(await refused({ ticket_type: ticketType.id })).toEqual([
      { pointer: '/ticket_type', detail: `This conference has no ticket_type "${ticketType.id}".` },
    ])
    expect(await refused({ add_on: addOn.id })).toEqual([
      { pointer: '/add_on', detail: `This conference has no add_on "${addOn.id}".` },
    ])
  })

  it('is for at most one item', async () => {
    const conference = await createConference(app)
    const ticketType = await createTicketType(app, conference)
    const addOn = await createAddOn(app, conference)
    const body = { count: 1, voucher_type: 'comp', ticket_type: ticketType.id, add_on: addOn.id }
    expect(await post(conference, body)).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/add_on' }] },
    })
  })
})

describe('the batches that a sponsor sees', () => {
  it('are its own', async () => {
    const conference = await createConference(app)
    const sponsor = await createSponsor(app, conference)
    const rival = await createSponsor(app, conference)
    const { key } = await createSponsorKey(app, conference, sponsor.id)
    const batch = { count: 2, voucher_type: 'comp' }
    const own = await post(conference, { ...batch, sponsor: sponsor.id })
    const other = await post(conference, { ...batch, sponsor: rival.id })
    const read = (path: string) =>
      app.request<ListBody>('GET', `${conference.path}${path}`, { as: key })
    const list = await read('/voucher-batches')
    expect(list.body.data).toEqual([expect.objectContaining({ id: own.body.id })])
    expect((await read(`/voucher-batches/${other.body.id}`)).status).toBe(404)
    expect((await read(`/voucher-batches/${other.body.id}/vouchers`)).status).toBe(404)
    expect((await read(`/voucher-batches/${own.body.id}/vouchers`)).body.data).toHaveLength(2)
    expect((await post(conference, batch, key)).status).toBe(403)
  })

  it('lists the batches of one source', async () => {
    const conference = await createConference(app)
    const level = await createLevel(app, conference, { comp_ticket_count: 3 })
    await createSponsor(app, conference, { level: level.id })
    const staff = await post(conference, { count: 2, voucher_type: 'comp' })
    const list = async (source: string) => {
      const path = `${conference.path}/voucher-batches?source=${source}`
      const { body } = await app.request<ListBody<{ source: string; count: number }>>('GET', path)
      return body.data
    }
    expect(await list('staff')).toMatchObject([{ id: staff.body.id, source: 'staff' }])
    expect(await list('comp')).toMatchObject([{ source: 'comp', count: 3 }])
    expect(await list('purchase')).toEqual([])
  })

  it('shows which vouchers were used', async () => {
    const conference = await createConference(app)
    const made = await post(conference, { count: 3, voucher_type: 'comp' })
    const list = async (query: string) => {
      const path = `${conference.path}/vouchers?batch=${made.body.id}${query}`
      const { body } = await app.request<ListBody<{ code: string }>>('GET', path)
      return body.data.map(({ code }) => code)
    }
    const all = await list('')
    const [used, ...others] = all
    await app.request('POST', `${conference.path}/vouchers/${used}/redemptions`, {
      body: { reference: 'order-1' },
    })
    expect(await list('&used=true')).toEqual([used])
    expect(await list('&used=false')).toEqual(others)
    expect(await list(`&used=false&q=${used}`)).toEqual([])
  })
})

describe("a sponsor's complimentary codes", () => {
  it('D25: are random, so that no code can be guessed from the sponsor’s name', async () => {
    const conference = await createConference(app)
    const level = await createLevel(app, conference, { comp_ticket_count: 5 })
    const sponsor = await createSponsor(app, conference, { slug: 'acme', level: level.id })
    const { body } = await app.request<ListBody<{ id: string; sponsor: string }>>(
      'GET',
      `${conference.path}/voucher-batches`,
    )
    expect(body.data).toEqual([
      expect.objectContaining({
        source: 'comp',
        sponsor: sponsor.id,
        count: 5,
        voucher_type: 'comp',
        max_uses: 1,
        unlocks_hidden_tickets: true,
      }),
    ])
    const codes = await codesOf(conference, body.data[0]?.id ?? '')
    expect(codes).toHaveLength(5)
    for (const code of codes) expect(code).toMatch(/^COMP-ACME-[2-9A-HJ-NP-Z]{12}$/)
  })

  it('D22: fit into 100 characters with a slug of 200', async () => {
    const conference = await createConference(app, { code_length: 32 })
    const level = await createLevel(app, conference, { comp_ticket_count: 1 })
    const sponsor = await createSponsor(app, conference, {
      slug: 'a'.repeat(200),
      level: level.id,
    })
    const made = await post(conference, { count: 1, voucher_type: 'comp', sponsor: sponsor.id })
    expect(made.status).toBe(201)
    const { body } = await app.request<ListBody<{ code: string }>>(
      'GET',
      `${conference.path}/vouchers`,
    )
    expect(body.data).toHaveLength(2)
    for (const { code } of body.data) expect(code).toHaveLength(100)
  })
})
