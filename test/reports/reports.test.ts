import { beforeAll, describe, expect, it } from 'vitest'
import {
  createConference,
  createSponsor,
  createSponsorKey,
  createStaffKey,
  createTicketType,
  type SponsorMade,
} from '../support/fixtures.ts'
import { type Body, useTestApp } from '../support/test-app.ts'

const app = useTestApp()

type Report = {
  group_by: string
  data: (Body & { group: string | null; name: string | null })[]
  totals: Body
}

let path = ''
let staff = ''
let acme: SponsorMade
let globex: SponsorMade

async function post<T = Body>(to: string, body: Body, expected = 201): Promise<T> {
  const answer = await app.request<T>('POST', `${path}${to}`, { body })
  expect(answer, `POST ${to}`).toMatchObject({ status: expected })
  return answer.body
}

async function report(kind: 'purchases' | 'vouchers', query = ''): Promise<Report> {
  const answer = await app.request<Report>('GET', `${path}/reports/${kind}${query}`, { as: staff })
  expect(answer.status).toBe(200)
  return answer.body
}

async function csv(query: string): Promise<string[]> {
  const { status, body, headers } = await app.request<string>('GET', `${path}/reports/${query}`, {
    as: staff,
    headers: { accept: 'text/csv' },
  })
  expect({ status, type: headers['content-type'] }).toEqual({
    status: 200,
    type: 'text/csv; charset=utf-8; header=present',
  })
  return body.trimEnd().split('\n')
}

/** A free purchase with codes, of which the first is used twice by two orders. */
async function give(sponsor: SponsorMade, quantity: number): Promise<{ id: string }> {
  const purchase = await post<{ id: string }>('/purchases', {
    sponsor: sponsor.id,
    quantity,
    unit_amount: 0,
    description: 'Seats',
    voucher_config: { voucher_type: 'comp', max_uses: 2 },
  })
  await post(`/purchases/${purchase.id}/approve`, {}, 200)
  const { body } = await app.request<{ data: { code: string }[] }>(
    'GET',
    `${path}/purchases/${purchase.id}/vouchers`,
  )
  for (const reference of ['order-1', 'order-2']) {
    await post(`/vouchers/${body.data[0]?.code}/redemptions`, { reference })
  }
  return purchase
}

// Many rows that belong to one purchase: attempts, payments, flags, transitions.
const SECOND_ROWS = `
  insert into payment_attempts (conference_id, purchase_id, attempt, state, params, session_id)
    select conference_id, id, n, 'expired', '{}', 'cs_' || id || n
    from bulk_purchases, generate_series(1, 3) n;
  insert into payments
      (conference_id, purchase_id, payment_intent_id, attempt, status, amount, amount_received, currency)
    select conference_id, id, 'pi_' || id || n, n, 'succeeded', 1000, 1000, currency
    from bulk_purchases, generate_series(1, 2) n;
  insert into purchase_flags (conference_id, purchase_id, code, fact, detail)
    select conference_id, id, code, 'x', 'x'
    from bulk_purchases, unnest(array['overpaid', 'dispute']) code;`

const FAR_AWAY = `
  update bulk_purchases set created_at = '2027-01-15T23:30:00+01' where sponsor_id = $1;`
const FAR_AWAY_BATCHES = `
  update voucher_batches set created_at = '2027-01-15T23:30:00+01' where sponsor_id = $1;`

beforeAll(async () => {
  const conference = await createConference(app)
  path = conference.path
  staff = (await createStaffKey(app, conference, ['purchases:read'])).key
  acme = await createSponsor(app, conference, { name: 'Acme' })
  globex = await createSponsor(app, conference, { name: '=HYPERLINK("//x")' })
  await give(acme, 40)
  await give(acme, 10)
  await give(globex, 5)
  const ticket = await createTicketType(app, conference, { price: 100 })
  for (const sponsor of [acme, globex]) {
    await post('/purchases', { sponsor: sponsor.id, ticket_type: ticket.id, quantity: 10 })
  }
  // A purchase without a sponsor, and vouchers without a purchase.
  await post('/purchases', { quantity: 1, unit_amount: 700, description: 'Desk' })
  await post('/voucher-batches', { count: 3, voucher_type: 'comp' })
  await app.rows(SECOND_ROWS)
  await app.rows(
    `update bulk_purchases set amount_received = 1000, amount_refunded = 250
     where total_amount = 1000`,
  )
  await app.rows(FAR_AWAY, [globex.id])
  await app.rows(FAR_AWAY_BATCHES, [globex.id])
  // Another tenant's purchase and vouchers, which no sum may contain.
  const other = await createConference(app)
  await app.request('POST', `${other.path}/purchases`, {
    body: { quantity: 9, unit_amount: 900, description: 'Other' },
  })
  await app.request('POST', `${other.path}/voucher-batches`, {
    body: { count: 9, voucher_type: 'comp' },
  })
})

const TOTAL = {
  currency: 'EUR',
  count: 6,
  quantity: 76,
  total_amount: 2_700,
  amount_received: 2_000,
  amount_refunded: 500,
  recorded_received: 0,
  recorded_refunded: 0,
}

describe('the report of purchases', () => {
  it('counts and sums by status, in the order of the statuses', async () => {
    const { data, totals, group_by: groupBy } = await report('purchases')
    expect(groupBy).toBe('status')
    expect(data).toEqual([
      {
        ...TOTAL,
        group: 'PENDING',
        name: null,
        count: 3,
        quantity: 21,
      },
      {
        group: 'PAID',
        name: null,
        currency: 'EUR',
        count: 3,
        quantity: 55,
        total_amount: 0,
        amount_received: 0,
        amount_refunded: 0,
        recorded_received: 0,
        recorded_refunded: 0,
      },
    ])
    expect(totals).toEqual([TOTAL])
  })

  it('counts each purchase once, with any number of attempts, payments and flags (D32)', async () => {
    const { data, totals } = await report('purchases', '?group_by=sponsor')
    expect(data).toMatchObject([
      { group: globex.id, name: globex['name'], count: 2, quantity: 15, amount_received: 1_000 },
      { group: acme.id, name: 'Acme', count: 3, quantity: 60, amount_received: 1_000 },
      { group: null, name: null, count: 1, quantity: 1, total_amount: 700, amount_received: 0 },
    ])
    expect(totals).toEqual([TOTAL])
  })

  it('groups by day in UTC, and can be limited to a range', async () => {
    const { data } = await report('purchases', '?group_by=day')
    expect(data).toMatchObject([{ count: 4 }, { group: '2027-01-15', count: 2 }])
    const range = '&created_after=2027-01-15T22:29:59Z&created_before=2027-01-15T22:30:01Z'
    const inRange = await report('purchases', `?group_by=day${range}`)
    expect(inRange.data).toMatchObject([{ group: '2027-01-15', count: 2, quantity: 15 }])
    expect(inRange.totals).toMatchObject([{ count: 2 }])
    const none = await report('purchases', '?created_before=2020-01-01T00:00:00Z')
    expect(none).toMatchObject({ data: [], totals: [] })
  })

  it('can be limited to one status', async () => {
    const { data, totals } = await report('purchases', '?group_by=sponsor&status=PAID')
    expect(data.map(({ count }) => count)).toEqual([1, 2])
    expect(totals).toMatchObject([{ count: 3, quantity: 55 }])
  })

  it('keeps currencies apart', async () => {
    await app.rows(`update bulk_purchases set currency = 'USD' where description = 'Desk'`)
    const { data, totals } = await report('purchases')
    expect(data).toMatchObject([
      { group: 'PENDING', currency: 'EUR', count: 2 },
      { group: 'PENDING', currency: 'USD', count: 1, total_amount: 700 },
      { group: 'PAID', currency: 'EUR' },
    ])
    expect(totals).toMatchObject([
      { currency: 'EUR', total_amount: 2_000 },
      { currency: 'USD', total_amount: 700 },
    ])
    await app.rows(`update bulk_purchases set currency = 'EUR' where description = 'Desk'`)
  })

  it('is CSV on request, and no name is a formula', async () => {
    const lines = await csv('purchases?group_by=sponsor')
    expect(lines).toEqual([
      'group,name,currency,count,quantity,total_amount,amount_received,amount_refunded,recorded_received,recorded_refunded',
      `${globex.id},"'=HYPERLINK(""//x"")",EUR,2,15,1000,1000,250,0,0`,
      `${acme.id},Acme,EUR,3,60,1000,1000,250,0,0`,
      ',,EUR,1,1,700,0,0,0,0',
    ])
  })
})

const CODES = {
  batches: 4,
  issued: 58,
  active: 58,
  frozen: 0,
  deactivated: 0,
  redeemed: 3,
  uses: 6,
  remaining: 55,
}

describe('the report of vouchers', () => {
  it('counts a voucher once, with any number of redemptions (D32)', async () => {
    const { data, totals } = await report('vouchers', '?group_by=sponsor')
    expect(data).toMatchObject([
      { group: globex.id, batches: 1, issued: 5, redeemed: 1, uses: 2, remaining: 4 },
      { group: acme.id, name: 'Acme', batches: 2, issued: 50, redeemed: 2, uses: 4 },
      { group: null, batches: 1, issued: 3, redeemed: 0, uses: 0, remaining: 3 },
    ])
    expect(totals).toEqual(CODES)
  })

  it('groups by the status of the purchase, the source and the day', async () => {
    expect((await report('vouchers')).data).toMatchObject([
      { group: 'PAID', issued: 55 },
      { group: null, issued: 3 },
    ])
    expect((await report('vouchers', '?group_by=source')).data).toMatchObject([
      { group: 'purchase', issued: 55 },
      { group: 'staff', issued: 3 },
    ])
    expect((await report('vouchers', '?group_by=day')).data).toMatchObject([
      { issued: 53 },
      { group: '2027-01-15', issued: 5 },
    ])
  })

  it('shows deactivated and frozen vouchers', async () => {
    const change = (set: string) =>
      app.rows(
        `update vouchers set ${set} where batch_id =
           (select id from voucher_batches where source = 'staff' and conference_id =
             (select conference_id from sponsors where id = $1)) and ordinal = 1`,
        [acme.id],
      )
    await change(`deactivated_by = 'staff', deactivated_at = now()`)
    expect(await report('vouchers', '?group_by=source')).toMatchObject({
      data: [{}, { issued: 3, active: 2, deactivated: 1, remaining: 2 }],
      totals: { deactivated: 1 },
    })
    await change(`deactivated_by = null, deactivated_at = null, held_by_dispute = true`)
    expect(await report('vouchers', '?group_by=source')).toMatchObject({
      data: [{}, { active: 2, frozen: 1, deactivated: 0 }],
    })
    await change(`held_by_dispute = false`)
  })

  it('is all zero without vouchers', async () => {
    const none = await report('vouchers', '?created_before=2020-01-01T00:00:00Z')
    const zero = Object.fromEntries(Object.keys(CODES).map((name) => [name, 0]))
    expect(none).toMatchObject({ data: [], totals: zero })
  })

  it('is CSV on request', async () => {
    expect(await csv('vouchers?group_by=source')).toEqual([
      'group,name,batches,issued,active,frozen,deactivated,redeemed,uses,remaining',
      'purchase,,3,55,55,0,0,3,6,52',
      'staff,,1,3,3,0,0,0,0,3',
    ])
  })
})

describe('a report', () => {
  it('gives a sponsor the counts of its own vouchers only', async () => {
    const { key } = await createSponsorKey(app, { path }, acme.id)
    const { status, body } = await app.request<Report>('GET', `${path}/reports/vouchers`, {
      as: key,
    })
    expect(status).toBe(200)
    expect(body.totals).toMatchObject({ batches: 2, issued: 50, redeemed: 2, remaining: 48 })
    const { body: bySponsor } = await app.request<Report>(
      'GET',
      `${path}/reports/vouchers?group_by=sponsor`,
      { as: key },
    )
    expect(bySponsor.data.map(({ group }) => group)).toEqual([acme.id])
  })

  it('of purchases is not for sponsors, nor any for staff without purchases:read', async () => {
    const sponsor = await createSponsorKey(app, { path }, acme.id)
    const other = await createStaffKey(app, { path }, ['vouchers:read'])
    for (const [kind, { key }] of [
      ['purchases', sponsor],
      ['purchases', other],
      ['vouchers', other],
    ] as const) {
      const answer = await app.request('GET', `${path}/reports/${kind}`, { as: key })
      expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    }
  })

  it('refuses unknown groups, times and filters', async () => {
    for (const [query, pointer] of [
      ['group_by=month', 'query/group_by'],
      ['created_after=yesterday', 'query/created_after'],
      ['created_before=0000-01-01T00:00:00Z', 'query/created_before'],
      ['colour=red', 'query/colour'],
    ]) {
      for (const kind of ['purchases', 'vouchers']) {
        const answer = await app.request('GET', `${path}/reports/${kind}?${query}`, { as: staff })
        expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer }] } })
      }
    }
  })
})
