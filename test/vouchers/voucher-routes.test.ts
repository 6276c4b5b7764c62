import { describe, expect, it } from 'vitest'
import {
  createConference,
  createSponsor,
  createSponsorKey,
  createStaffKey,
} from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'
import { freePurchase, type ListBody } from './voucher-http.ts'

const app = useTestApp({ env: { FAILED_LOOKUPS_PER_MINUTE: '5' } })

const notFound = { status: 404, body: { code: 'not_found' } }

describe('looking up a voucher', () => {
  it('shows the ticket shop its discount and whether it can be redeemed', async () => {
    const conference = await createConference(app)
    const shop = await createStaffKey(app, conference, ['vouchers:redeem'])
    const { code, purchase } = await freePurchase(app, conference, {
      quantity: 1,
      voucher_config: { voucher_type: 'percentage', discount_value: 25, max_uses: 2 },
    })
    const typed = encodeURIComponent(code.toLowerCase().replaceAll('-', ' '))
    const answer = await app.request('GET', `${conference.path}/vouchers/${typed}`, {
      as: shop.key,
    })
    expect(answer).toMatchObject({
      status: 200,
      body: {
        code,
        object: 'voucher',
        batch: expect.stringMatching(/^vb_/),
        purchase,
        state: 'active',
        valid: true,
        invalid_reason: null,
        times_used: 0,
        max_uses: 2,
        valid_from: null,
        valid_until: null,
        voucher_type: 'percentage',
        discount_value: 25,
        unlocks_hidden_tickets: false,
        ticket_type: null,
        add_on: null,
        assigned_to: null,
        created_at: expect.any(String),
      },
    })
  })

  it('shows why a voucher is not valid', async () => {
    const conference = await createConference(app)
    const { code } = await freePurchase(app, conference, {
      quantity: 1,
      voucher_config: { valid_from: '2099-01-01T00:00:00Z' },
    })
    const answer = await app.request('GET', `${conference.path}/vouchers/${code}`)
    expect(answer.body).toMatchObject({ valid: false, invalid_reason: 'not_yet_valid' })
  })

  it('counts failed look-ups of a key, so that codes cannot be guessed', async () => {
    const conference = await createConference(app)
    const shop = await createStaffKey(app, conference, ['vouchers:redeem'])
    const { code } = await freePurchase(app, conference, { quantity: 1 })
    const headers = { 'x-forwarded-for': '203.0.113.9' }
    const lookUp = (wanted: string) =>
      app.request('GET', `${conference.path}/vouchers/${wanted}`, { as: shop.key, headers })
    // Successful look-ups are not counted.
    for (let n = 0; n < 8; n += 1) expect((await lookUp(code)).status).toBe(200)
    for (let n = 0; n < 5; n += 1) expect(await lookUp(`GUESS-${n}`)).toMatchObject(notFound)
    const refused = await lookUp(code)
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } })
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    // The address is the same for every test of this file.
    await app.rows('delete from rate_limits')
  })
})

describe('deactivating and activating vouchers', () => {
  it('is possible for staff, and the voucher shows it', async () => {
    const conference = await createConference(app)
    const staff = await createStaffKey(app, conference, ['vouchers:write'])
    const { code } = await freePurchase(app, conference, { quantity: 2 })
    const act = (action: string) =>
      app.request('POST', `${conference.path}/vouchers/${code}/${action}`, { as: staff.key })
    const off = { state: 'deactivated', valid: false, invalid_reason: 'deactivated' }
    const on = { state: 'active', valid: true, invalid_reason: null }
    expect(await act('deactivate')).toMatchObject({ status: 200, body: off })
    expect(await act('deactivate')).toMatchObject({ status: 200, body: off })
    expect(await act('activate')).toMatchObject({ status: 200, body: on })
    expect(await act('activate')).toMatchObject({ status: 200, body: on })
  })

  it('refuses to activate a voucher of a refunded purchase', async () => {
    const conference = await createConference(app)
    const { code, purchase } = await freePurchase(app, conference, { quantity: 2 })
    await app.request('POST', `${conference.path}/vouchers/${code}/deactivate`)
    await app.rows(
      `update voucher_batches set required_inactive = count, required_frozen = count
       where purchase_id = $1`,
      [purchase],
    )
    const answer = await app.request('POST', `${conference.path}/vouchers/${code}/activate`)
    expect(answer).toMatchObject({ status: 409, body: { code: 'voucher_refunded' } })
  })

  it('runs once under one Idempotency-Key', async () => {
    const conference = await createConference(app)
    const { code } = await freePurchase(app, conference, { quantity: 1 })
    const path = `${conference.path}/vouchers/${code}`
    const headers = { 'idempotency-key': 'off-1' }
    const first = await app.request('POST', `${path}/deactivate`, { headers })
    await app.request('POST', `${path}/activate`)
    const again = await app.request('POST', `${path}/deactivate`, { headers })
    expect(again.body).toEqual(first.body)
    expect((await app.request('GET', path)).body).toMatchObject({ state: 'active' })
  })

  it('takes no parameters', async () => {
    const conference = await createConference(app)
    const answer = await app.request('POST', `${conference.path}/vouchers/ANY/deactivate`, {
      body: { reason: 'spam' },
    })
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/reason' }] } })
  })
})

describe('the list of vouchers', () => {
  it('can be filtered and is paged', async () => {
    const conference = await createConference(app)
    const one = await freePurchase(app, conference, { quantity: 3 })
    const two = await freePurchase(app, conference, { quantity: 2 })
    await app.request('POST', `${conference.path}/vouchers/${one.code}/deactivate`)
    const list = async (query: string) => {
      const { body } = await app.request<ListBody<{ code: string }>>(
        'GET',
        `${conference.path}/vouchers?${query}`,
      )
      return body.data.map(({ code }) => code)
    }
    expect(await list(`purchase=${two.purchase}`)).toEqual(two.codes.toReversed())
    expect(await list('state=deactivated')).toEqual([one.code])
    expect(await list(`code=${one.code.toLowerCase()}`)).toEqual([one.code])

    const first = await app.request<ListBody<{ code: string }>>(
      'GET',
      `${conference.path}/vouchers?limit=4`,
    )
    expect(first.body).toMatchObject({ has_more: true, next_cursor: expect.any(String) })
    const rest = await list(`cursor=${first.body.next_cursor}`)
    expect(rest).toEqual([one.code])
  })

  it.each(['state=dead', 'status=active', 'limit=0', 'limit=101', 'cursor=zzz', 'code='])(
    'refuses the query %s',
    async (query) => {
      const conference = await createConference(app)
      const answer = await app.request('GET', `${conference.path}/vouchers?${query}`)
      expect(answer).toMatchObject({
        status: 400,
        body: {
          code: 'validation_failed',
          errors: [{ pointer: `query/${query.split('=')[0]}` }],
        },
      })
    },
  )
})

describe('a sponsor', () => {
  it('reads only its own vouchers and changes none', async () => {
    const conference = await createConference(app)
    const sponsor = await createSponsor(app, conference)
    const rival = await createSponsor(app, conference)
    const { key } = await createSponsorKey(app, conference, sponsor.id)
    const own = await freePurchase(app, conference, { quantity: 2, sponsor: sponsor.id })
    const other = await freePurchase(app, conference, { quantity: 2, sponsor: rival.id })

    const list = await app.request<ListBody>('GET', `${conference.path}/vouchers`, { as: key })
    expect(list.body.data.map(({ code }) => code)).toEqual(own.codes.toReversed())
    const byCode = await app.request<ListBody>(
      'GET',
      `${conference.path}/vouchers?code=${other.code}`,
      { as: key },
    )
    expect(byCode.body.data).toEqual([])

    const read = (path: string) => app.request('GET', `${conference.path}${path}`, { as: key })
    expect(await read(`/purchases/${own.purchase}/vouchers`)).toMatchObject({ status: 200 })
    expect(await read(`/purchases/${other.purchase}/vouchers`)).toMatchObject(notFound)
    expect(await read(`/vouchers/${own.code}`)).toMatchObject({ status: 200 })
    expect(await read(`/vouchers/${other.code}`)).toMatchObject(notFound)
    const act = (action: string) =>
      app.request('POST', `${conference.path}/vouchers/${own.code}/${action}`, { as: key })
    for (const action of ['deactivate', 'activate', 'redemptions']) {
      expect(await act(action)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    }
  })
})

describe('another conference', () => {
  it('finds no voucher, purchase or batch', async () => {
    const conference = await createConference(app)
    const other = await createConference(app)
    const { code, purchase } = await freePurchase(app, conference, { quantity: 1 })
    const staff = await createStaffKey(app, other, [
      'vouchers:read',
      'vouchers:write',
      'vouchers:redeem',
    ])
    const read = (path: string) => app.request('GET', `${other.path}${path}`, { as: staff.key })
    expect(await read(`/vouchers/${code}`)).toMatchObject(notFound)
    expect(await read(`/purchases/${purchase}/vouchers`)).toMatchObject(notFound)
    expect(await read(`/vouchers?code=${code}`)).toMatchObject({ body: { data: [] } })
    expect(await read('/voucher-batches')).toMatchObject({ body: { data: [] } })
    await app.rows('delete from rate_limits')
  })
})

describe('the codes of a purchase', () => {
  const read = (path: string, accept: string) =>
    app.request<string>('GET', path, { headers: { accept } })

  it('are JSON pages in the order of issue', async () => {
    const conference = await createConference(app)
    const { purchase, codes } = await freePurchase(app, conference, { quantity: 3 })
    const path = `${conference.path}/purchases/${purchase}/vouchers`
    const first = await app.request<ListBody>('GET', `${path}?limit=2`)
    expect(first).toMatchObject({
      status: 200,
      headers: { 'content-type': 'application/json; charset=utf-8' },
      body: { data: [{ code: codes[0] }, { code: codes[1] }], has_more: true },
    })
    const second = await app.request('GET', `${path}?cursor=${first.body.next_cursor}`)
    expect(second.body).toMatchObject({
      data: [{ code: codes[2] }],
      has_more: false,
      next_cursor: null,
    })
  })

  it('can be downloaded as CSV', async () => {
    const conference = await createConference(app)
    const { purchase, codes } = await freePurchase(app, conference, { quantity: 2 })
    const path = `${conference.path}/purchases/${purchase}/vouchers`
    const answer = await read(path, 'text/csv')
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toMatch(/^text\/csv/)
    expect(answer.headers['content-disposition']).toBe(
      `attachment; filename="vouchers-${purchase}.csv"`,
    )
    expect(answer.body).toBe(
      `code,times_used,max_uses,is_active,valid_from,valid_until\n${codes
        .map((code) => `${code},0,1,true,,\n`)
        .join('')}`,
    )
  })

  it('can be downloaded as NDJSON', async () => {
    const conference = await createConference(app)
    const { purchase, codes } = await freePurchase(app, conference, { quantity: 2 })
    const path = `${conference.path}/purchases/${purchase}/vouchers`
    const answer = await read(path, 'application/x-ndjson')
    expect(answer.headers['content-type']).toMatch(/^application\/x-ndjson/)
    const lines = answer.body.trim().split('\n')
    expect(lines.map((line) => JSON.parse(line).code)).toEqual(codes)
  })

  it('have the format that the caller prefers', async () => {
    const conference = await createConference(app)
    const { purchase } = await freePurchase(app, conference, { quantity: 1 })
    const path = `${conference.path}/purchases/${purchase}/vouchers`
    const formOf = async (accept: string) => (await read(path, accept)).headers['content-type']
    expect(await formOf('application/json;q=0.5, text/csv')).toMatch(/^text\/csv/)
    expect(await formOf('text/csv;q=0.1, */*')).toMatch(/^application\/json/)
    expect(await formOf('text/csv;q=0, application/x-ndjson')).toMatch(/^application\/x-ndjson/)
    expect(await formOf('image/png')).toMatch(/^application\/json/)
  })

  it('are empty in every format before the purchase is paid', async () => {
    const conference = await createConference(app)
    const { body } = await app.request<{ id: string }>('POST', `${conference.path}/purchases`, {
      body: { quantity: 2, unit_amount: 100, description: 'Entry' },
    })
    const path = `${conference.path}/purchases/${body.id}/vouchers`
    expect(await app.request('GET', path)).toMatchObject({
      status: 200,
      body: { data: [], has_more: false, next_cursor: null },
    })
    const csv = await read(path, 'text/csv')
    expect(csv.body).toBe('code,times_used,max_uses,is_active,valid_from,valid_until\n')
  })

  it('are 404 in every format for an unknown purchase', async () => {
    const conference = await createConference(app)
    const path = `${conference.path}/purchases/bp_none/vouchers`
    for (const accept of ['application/json', 'text/csv', 'application/x-ndjson']) {
      expect((await read(path, accept)).status).toBe(404)
    }
  })
})
