import { describe, expect, it } from 'vitest'
import { findCatalogItem } from '../../src/catalog/catalog-items.ts'
import { withTenant } from '../../src/db/tenant-scope.ts'
import {
  createAddOn,
  createConference,
  createSponsor,
  createSponsorKey,
  createStaffKey,
  createTicketType,
  unique,
} from '../support/fixtures.ts'
import { type Body, useTestApp } from '../support/test-app.ts'

const app = useTestApp()

const refusal = (pointer: string, detail?: string) => ({
  status: 400,
  body: {
    code: 'validation_failed',
    errors: [expect.objectContaining(detail === undefined ? { pointer } : { pointer, detail })],
  },
})

const notFound = { status: 404, body: { code: 'not_found' } }
const forbidden = { status: 403, body: { code: 'forbidden' } }

const KINDS = [
  { path: 'ticket-types', object: 'ticket_type', prefix: 'tkt', create: createTicketType },
  { path: 'add-ons', object: 'add_on', prefix: 'add', create: createAddOn },
] as const

describe.each(KINDS)('$path', ({ path, object, prefix, create }) => {
  it('are created with price, window and voucher defaults', async () => {
    const conference = await createConference(app)
    const body = {
      name: 'Workshop',
      description: 'Two days',
      price: 12_345,
      bulk_enabled: true,
      active_from: '2026-01-01T00:00:00.000Z',
      active_until: '2026-06-01T00:00:00.000Z',
      voucher_defaults: {
        voucher_type: 'percentage',
        discount_value: 12.5,
        max_uses: 3,
        valid_from: '2026-01-01T00:00:00.000Z',
        valid_until: null,
        unlocks_hidden_tickets: true,
        prefix: 'EARLY-',
      },
    }
    const made = await app.request('POST', `${conference.path}/${path}`, { body })
    expect(made).toMatchObject({
      status: 201,
      body: { ...body, object, id: expect.stringMatching(new RegExp(`^${prefix}_`)) },
    })
    expect(
      await app.request('GET', `${conference.path}/${path}/${String(made.body['id'])}`),
    ).toMatchObject({ status: 200, body: made.body })
  })

  it('require only a name and a price, and are not sold in bulk by default', async () => {
    const conference = await createConference(app)
    const body = { name: 'Plain', price: 0 }
    expect(await app.request('POST', `${conference.path}/${path}`, { body })).toMatchObject({
      status: 201,
      body: {
        ...body,
        description: null,
        bulk_enabled: false,
        active_from: null,
        active_until: null,
        voucher_defaults: {},
      },
    })
  })

  it('store times in UTC', async () => {
    const conference = await createConference(app)
    const item = await create(app, conference, {
      active_from: '2026-05-01T02:00:00+02:00',
      voucher_defaults: { valid_from: '2026-05-01T02:00:00+02:00' },
    })
    expect(item).toMatchObject({
      active_from: '2026-05-01T00:00:00.000Z',
      voucher_defaults: { valid_from: '2026-05-01T00:00:00.000Z' },
    })
  })

  it('can be updated in part', async () => {
    const conference = await createConference(app)
    const item = await create(app, conference, {
      name: 'Old',
      active_until: '2026-06-01T00:00:00.000Z',
      voucher_defaults: { max_uses: 2, prefix: 'X' },
    })
    const patch = (body: Body) =>
      app.request('PATCH', `${conference.path}/${path}/${item.id}`, { body })
    expect(await patch({ price: 1 })).toMatchObject({
      status: 200,
      body: { name: 'Old', price: 1, voucher_defaults: { max_uses: 2, prefix: 'X' } },
    })
    const { body } = await patch({ active_until: null, voucher_defaults: { max_uses: 5 } })
    expect(body['active_until']).toBeNull()
    expect(body['voucher_defaults']).toEqual({ max_uses: 5 })
  })

  it('have a name that is unique in their kind and conference', async () => {
    const conference = await createConference(app)
    await create(app, conference, { name: 'Day' })
    const other = await create(app, conference)
    const taken = {
      status: 409,
      body: { code: 'already_exists', errors: [{ pointer: '/name', detail: 'is taken' }] },
    }
    const collection = `${conference.path}/${path}`
    expect(
      await app.request('POST', collection, { body: { name: 'Day', price: 1 } }),
    ).toMatchObject(taken)
    expect(
      await app.request('PATCH', `${collection}/${other.id}`, { body: { name: 'Day' } }),
    ).toMatchObject(taken)
    expect(await create(app, await createConference(app), { name: 'Day' })).toMatchObject({
      name: 'Day',
    })
  })

  it('report the field and the rule of invalid input', async () => {
    const conference = await createConference(app)
    const item = await create(app, conference)
    const defaults = (fields: Body) => ({ voucher_defaults: fields })
    const cases: [Body, string][] = [
      [{ name: ' ' }, '/name'],
      [{ price: -1 }, '/price'],
      [{ price: 1.5 }, '/price'],
      [{ price: '100' }, '/price'],
      [{ price: 100_000_000 }, '/price'],
      [{ price: null }, '/price'],
      [{ currency: 'USD' }, '/currency'],
      [{ bulk_enabled: 'yes' }, '/bulk_enabled'],
      [{ active_from: '2026-02-30T00:00:00Z' }, '/active_from'],
      [{ active_from: '0001-01-01T00:00:00Z' }, '/active_from'],
      [{ active_from: '2026-01-01' }, '/active_from'],
      [
        { active_from: '2026-05-01T00:00:00Z', active_until: '2026-05-01T00:00:00Z' },
        '/active_until',
      ],
      [{ voucher_defaults: null }, '/voucher_defaults'],
      [defaults({ colour: 'red' }), '/voucher_defaults/colour'],
      [defaults({ voucher_type: 'free' }), '/voucher_defaults/voucher_type'],
      [
        defaults({ voucher_type: 'percentage', discount_value: 100.01 }),
        '/voucher_defaults/discount_value',
      ],
      [
        defaults({ voucher_type: 'percentage', discount_value: 33.333 }),
        '/voucher_defaults/discount_value',
      ],
      [
        defaults({ voucher_type: 'percentage', discount_value: -1 }),
        '/voucher_defaults/discount_value',
      ],
      [defaults({ voucher_type: 'percentage' }), '/voucher_defaults/discount_value'],
      [
        defaults({ voucher_type: 'fixed_amount', discount_value: 0.5 }),
        '/voucher_defaults/discount_value',
      ],
      [
        defaults({ voucher_type: 'fixed_amount', discount_value: 100_000_000 }),
        '/voucher_defaults/discount_value',
      ],
      [defaults({ voucher_type: 'comp', discount_value: 50 }), '/voucher_defaults/discount_value'],
      [defaults({ discount_value: 50 }), '/voucher_defaults/discount_value'],
      [defaults({ max_uses: 0 }), '/voucher_defaults/max_uses'],
      [defaults({ max_uses: 1_000_001 }), '/voucher_defaults/max_uses'],
      [defaults({ prefix: 'lower-' }), '/voucher_defaults/prefix'],
      [defaults({ prefix: 'X'.repeat(69) }), '/voucher_defaults/prefix'],
      [
        defaults({ valid_from: '2026-05-01T00:00:00Z', valid_until: '2026-05-01T02:00:00+02:00' }),
        '/voucher_defaults/valid_until',
      ],
    ]
    const collection = `${conference.path}/${path}`
    for (const [fields, pointer] of cases) {
      const body = { name: unique('Bad'), price: 100, ...fields }
      expect(await app.request('POST', collection, { body }), `${pointer}`).toMatchObject(
        refusal(pointer),
      )
      expect(
        await app.request('PATCH', `${collection}/${item.id}`, { body: fields }),
        `${pointer}`,
      ).toMatchObject(refusal(pointer))
    }
    expect(await app.request('POST', collection, { body: { name: 'x' } })).toMatchObject(
      refusal('/price'),
    )
  })

  it('accept the limits of all rules', async () => {
    const conference = await createConference(app)
    for (const fields of [
      { voucher_type: 'percentage', discount_value: 100 },
      { voucher_type: 'percentage', discount_value: 0.01 },
      { voucher_type: 'fixed_amount', discount_value: 99_999_999 },
      { voucher_type: 'comp', discount_value: 100 },
      { voucher_type: 'comp' },
      { max_uses: 1_000_000 },
      { prefix: 'X'.repeat(68) },
      { prefix: '' },
      {},
    ]) {
      const item = await create(app, conference, { price: 99_999_999, voucher_defaults: fields })
      expect(item).toMatchObject({ voucher_defaults: fields })
    }
  })

  it('check a new sale period against the stored one', async () => {
    const conference = await createConference(app)
    const item = await create(app, conference, { active_from: '2026-05-01T00:00:00Z' })
    const patch = (body: Body) =>
      app.request('PATCH', `${conference.path}/${path}/${item.id}`, { body })
    expect(await patch({ active_until: '2026-04-01T00:00:00Z' })).toMatchObject(
      refusal('/active_until', 'must be after active_from'),
    )
    expect(await patch({ active_until: '2026-04-01T00:00:00Z', active_from: null })).toMatchObject({
      status: 200,
    })
    expect(await patch({ active_from: '2026-04-01T00:00:00Z' })).toMatchObject(
      refusal('/active_until'),
    )
  })

  it('are visible to a sponsor if sold in bulk, and only staff can change them', async () => {
    const conference = await createConference(app)
    const sponsor = await createSponsor(app, conference)
    const { key } = await createSponsorKey(app, conference, sponsor.id)
    const shown = await create(app, conference)
    const hidden = await create(app, conference, { bulk_enabled: false })
    const collection = `${conference.path}/${path}`
    const as = key
    const list = await app.request<{ data: Body[] }>('GET', collection, { as })
    expect(list.body.data.map(({ id }) => id)).toEqual([shown.id])
    expect(await app.request('GET', `${collection}/${shown.id}`, { as })).toMatchObject({
      status: 200,
    })
    expect(await app.request('GET', `${collection}/${hidden.id}`, { as })).toMatchObject(notFound)
    const body = { name: 'Mine', price: 1 }
    expect(await app.request('POST', collection, { as, body })).toMatchObject(forbidden)
    expect(
      await app.request('PATCH', `${collection}/${shown.id}`, { as, body: { price: 1 } }),
    ).toMatchObject(forbidden)
  })

  it('require a staff key with catalog:write to change them; the door may read their names', async () => {
    const conference = await createConference(app)
    const item = await create(app, conference)
    const manager = await createStaffKey(app, conference, ['catalog:write'])
    const reader = await createStaffKey(app, conference, ['vouchers:redeem'])
    const collection = `${conference.path}/${path}`
    for (const { key: as } of [manager, reader]) {
      expect((await app.request('GET', collection, { as })).status).toBe(200)
      expect((await app.request('GET', `${collection}/${item.id}`, { as })).status).toBe(200)
    }
    const calls = [
      (as: string) => app.request('PATCH', `${collection}/${item.id}`, { as, body: { price: 2 } }),
      (as: string) =>
        app.request('POST', collection, { as, body: { name: unique('n'), price: 1 } }),
    ]
    for (const call of calls) {
      expect([200, 201]).toContain((await call(manager.key)).status)
      expect(await call(reader.key)).toMatchObject(forbidden)
    }
  })

  it('of another conference answer 404', async () => {
    const [own, other] = [await createConference(app), await createConference(app)]
    const item = await create(app, other)
    const { key } = await createStaffKey(app, own, ['catalog:write'])
    for (const place of [own, other]) {
      const url = `${place.path}/${path}/${item.id}`
      expect(await app.request('GET', url, { as: key })).toMatchObject(notFound)
      expect(await app.request('PATCH', url, { as: key, body: { price: 1 } })).toMatchObject(
        notFound,
      )
    }
    expect(await app.request('GET', `${own.path}/${path}`, { as: key })).toMatchObject({
      body: { data: [] },
    })
  })

  it('are found for a purchase by kind, with their terms', async () => {
    const conference = await createConference(app)
    const item = await create(app, conference, { price: 700, voucher_defaults: { max_uses: 2 } })
    const find = (kind: 'ticket_type' | 'add_on', conferenceId: string) =>
      withTenant(app.db, { conferenceId: conference.id }, (trx) =>
        findCatalogItem(trx, conferenceId, kind, item.id),
      )
    expect(await find(object, conference.id)).toMatchObject({
      id: item.id,
      kind: object,
      price: 700,
      bulkEnabled: true,
      activeFrom: null,
      voucherDefaults: { max_uses: 2 },
    })
    expect(await find(object === 'add_on' ? 'ticket_type' : 'add_on', conference.id)).toBeNull()
    expect(await find(object, 'conf_other')).toBeNull()
  })
})
