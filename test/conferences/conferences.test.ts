import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import type { Tx } from '../../src/db/connect.ts'
import { withTenant } from '../../src/db/tenant-scope.ts'
import {
  createConference,
  createSponsor,
  createSponsorKey,
  createStaffKey,
  unique,
} from '../support/fixtures.ts'
import { type Body, startTestProcess, useTestApp } from '../support/test-app.ts'

const app = useTestApp()

const forbidden = { status: 403, body: { code: 'forbidden' } }
const notFound = { status: 404, body: { code: 'not_found' } }

const refusal = (pointer: string) => ({
  status: 400,
  body: { code: 'validation_failed', errors: [expect.objectContaining({ pointer })] },
})

const patch = (path: string, body: Body, as?: string) =>
  app.request('PATCH', path, as === undefined ? { body } : { body, as })

async function insertPurchase(trx: Tx, conferenceId: string): Promise<void> {
  await trx('bulk_purchases').insert({
    conference_id: conferenceId,
    id: unique('bp'),
    quantity: 1,
    unit_amount: 100,
    total_amount: 100,
    currency: 'EUR',
    description: 'A purchase',
    voucher_type: 'comp',
    discount_value: 0,
    max_uses: 1,
    unlocks_hidden_tickets: false,
    code_prefix: '',
    requested_by: 'test',
  })
}

describe('a conference', () => {
  it('is created with the given settings and defaults for the rest', async () => {
    const slug = unique('pycon')
    const made = await app.request('POST', '/v1/conferences', {
      body: { slug, name: ' PyCon ', currency: 'eur' },
    })
    expect(made).toMatchObject({
      status: 201,
      body: {
        id: expect.stringMatching(/^conf_/),
        object: 'conference',
        slug,
        name: 'PyCon',
        currency: 'EUR',
        livemode: null,
        stripe_secret_key: null,
        max_quantity: 500,
        code_length: 12,
        allowed_origins: [],
        checkout_expires_after_minutes: 1440,
        invoice_creation: false,
        tax_id_collection: false,
      },
    })
    for (const reference of [slug, String(made.body['id'])]) {
      expect(await app.request('GET', `/v1/conferences/${reference}`)).toMatchObject({
        status: 200,
        body: made.body,
      })
    }
  })

  it('has a unique slug', async () => {
    const { slug } = await createConference(app)
    const body = { slug, name: 'Again', currency: 'EUR' }
    expect(await app.request('POST', '/v1/conferences', { body })).toMatchObject({
      status: 409,
      body: { code: 'already_exists', errors: [{ pointer: '/slug', detail: 'is taken' }] },
    })
  })

  it('is refused with invalid settings, naming the field', async () => {
    const { path } = await createConference(app)
    const cases: [Body, string][] = [
      [{ name: '' }, '/name'],
      [{ max_quantity: 1_000_001 }, '/max_quantity'],
      [{ code_length: 7 }, '/code_length'],
      [{ checkout_expires_after_minutes: 30 }, '/checkout_expires_after_minutes'],
      [{ checkout_expires_after_minutes: 1436 }, '/checkout_expires_after_minutes'],
      [{ allowed_origins: ['https://example.org/path'] }, '/allowed_origins/0'],
      [{ allowed_origins: ['ftp://example.org'] }, '/allowed_origins/0'],
      [{ stripe_secret_key: 'pk_test_0123456789' }, '/stripe_secret_key'],
      [{ slug: 'other' }, '/slug'],
      [{ currency: 'USD' }, '/currency'],
    ]
    for (const [body, pointer] of cases)
      expect(await patch(path, body)).toMatchObject(refusal(pointer))
  })

  it('is listed only for operators, newest first', async () => {
    const conference = await createConference(app)
    const { key } = await createStaffKey(app, conference, ['settings:write'])
    expect(await app.request('GET', '/v1/conferences?limit=1')).toMatchObject({
      status: 200,
      body: { data: [{ id: conference.id }], has_more: true },
    })
    expect(await app.request('GET', '/v1/conferences', { as: key })).toMatchObject(forbidden)
    const body = { slug: unique('mine'), name: 'Mine', currency: 'EUR' }
    expect(await app.request('POST', '/v1/conferences', { as: key, body })).toMatchObject(forbidden)
  })

  it('is visible to its staff, not to its sponsors or to another conference', async () => {
    const [own, other] = [await createConference(app), await createConference(app)]
    const sponsor = await createSponsor(app, own)
    const staff = await createStaffKey(app, own, [])
    const buyer = await createSponsorKey(app, own, sponsor.id)
    const get = (path: string, as: string) => app.request('GET', path, { as })
    expect(await get(own.path, staff.key)).toMatchObject({ status: 200, body: { id: own.id } })
    expect(await get(own.path, buyer.key)).toMatchObject(forbidden)
    for (const { key } of [staff, buyer]) {
      expect(await get(other.path, key)).toMatchObject(notFound)
      expect(await get(`/v1/conferences/${other.id}`, key)).toMatchObject(notFound)
      expect(await get('/v1/conferences/no-such-one', key)).toMatchObject(notFound)
    }
  })

  it('lets staff with settings:write change only its name, origins and bank details', async () => {
    const conference = await createConference(app)
    const settings = await createStaffKey(app, conference, ['settings:write'])
    const other = await createStaffKey(app, conference, ['catalog:write'])
    const body = {
      name: 'Renamed',
      allowed_origins: ['https://example.org'],
      bank_details: 'PyCon e.V., IBAN DE02 1203 0000 0000 2020 51',
    }
    expect(await patch(conference.path, body, other.key)).toMatchObject(forbidden)
    expect(await patch(conference.path, body, settings.key)).toMatchObject({ status: 200, body })
    for (const field of [{ max_quantity: 1000 }, { stripe_secret_key: 'sk_test_0123456789' }]) {
      expect(await patch(conference.path, { ...body, ...field }, settings.key)).toMatchObject(
        forbidden,
      )
    }
    expect(await patch(conference.path, { max_quantity: 1000 })).toMatchObject({
      status: 200,
      body: { ...body, max_quantity: 1000 },
    })
  })

  it('shows a sponsor the limit of a purchase and the ways to pay', async () => {
    const conference = await createConference(app, { max_quantity: 300 })
    const sponsor = await createSponsor(app, conference)
    const { key } = await createSponsorKey(app, conference, sponsor.id)
    const options = {
      object: 'purchase_options',
      currency: 'EUR',
      max_quantity: 300,
      checkout: true,
    }
    const path = `${conference.path}/purchase-options`
    expect(await app.request('GET', path, { as: key })).toMatchObject({
      status: 200,
      body: { ...options, bank_details: null },
    })
    const bank_details = 'PyCon e.V.\nIBAN DE02 1203 0000 0000 2020 51'
    await patch(conference.path, { bank_details })
    expect(await app.request('GET', path, { as: key })).toMatchObject({
      body: { ...options, bank_details },
    })
    await patch(conference.path, { bank_details: null })
    expect(await app.request('GET', path, { as: key })).toMatchObject({
      body: { ...options, bank_details: null },
    })
  })

  it('does not call Stripe for a key that the caller may not set', async () => {
    let asked = 0
    const stripe = createServer((_request, response) => {
      asked += 1
      response.writeHead(401, { 'content-type': 'application/json' }).end('{"error":{}}')
    })
    await new Promise<void>((resolve) => stripe.listen(0, '127.0.0.1', resolve))
    const { port } = stripe.address() as AddressInfo
    const env = { STRIPE_API_BASE: `http://127.0.0.1:${port}` }
    const process = await startTestProcess(app.connectionString, { env })
    try {
      const { path } = await createConference(app)
      const { key } = await createStaffKey(app, { path }, ['settings:write'])
      const body = { stripe_secret_key: 'sk_test_9876543210' }
      expect(await process.request('PATCH', path, { as: key, body })).toMatchObject(forbidden)
      expect(asked).toBe(0)
      expect(await process.request('PATCH', path, { body })).toMatchObject({ status: 200 })
      expect(asked).toBe(1)
    } finally {
      await process.close()
      await new Promise((resolve) => stripe.close(resolve))
    }
  })
})

const WAITING = `select from pg_stat_activity
  where datname = current_database() and wait_event_type = 'Lock'`

describe('the mode of a conference', () => {
  const live = (id: string) =>
    app.rows('update conferences set livemode = true where id = $1', [id])
  const setTestKey = (path: string) => patch(path, { stripe_secret_key: 'sk_test_anotherkey99' })
  const fixed = { status: 409, body: { code: 'mode_fixed' } }

  it('may change until the first purchase, and never after', async () => {
    const conference = await createConference(app)
    await live(conference.id)
    expect(await setTestKey(conference.path)).toMatchObject({
      status: 200,
      body: { livemode: false, stripe_secret_key: '****ey99' },
    })
    await live(conference.id)
    await withTenant(app.db, { conferenceId: conference.id }, (trx) =>
      insertPurchase(trx, conference.id),
    )
    expect(await setTestKey(conference.path)).toMatchObject(fixed)
    expect(await patch(conference.path, { name: 'Still fine' })).toMatchObject({ status: 200 })
  })

  it('waits for a purchase that is created at the same time', async () => {
    const conference = await createConference(app)
    await live(conference.id)
    const change = await withTenant(app.db, { conferenceId: conference.id }, async (trx) => {
      await insertPurchase(trx, conference.id)
      const answer = setTestKey(conference.path)
      await expect.poll(() => app.rows(WAITING)).toHaveLength(1)
      return { answer }
    })
    expect(await change.answer).toMatchObject(fixed)
  })
})
