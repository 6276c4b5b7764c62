import { describe, expect, it } from 'vitest'
import {
  createConference,
  createLevel,
  createSponsor,
  createSponsorKey,
  createStaffKey,
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

const taken = (pointer: string) => ({
  status: 409,
  body: { code: 'already_exists', errors: [{ pointer, detail: 'is taken' }] },
})

const notFound = { status: 404, body: { code: 'not_found' } }
const forbidden = { status: 403, body: { code: 'forbidden' } }

describe('a sponsor', () => {
  it('is created with all its fields', async () => {
    const conference = await createConference(app)
    const level = await createLevel(app, conference)
    const body = {
      name: 'Acme',
      slug: 'acme-corp',
      external_id: 'CRM/17',
      contact_email: 'ann@acme.example',
      level: level.slug,
    }
    const made = await app.request('POST', `${conference.path}/sponsors`, { body })
    expect(made).toMatchObject({
      status: 201,
      body: {
        ...body,
        id: expect.stringMatching(/^spon_/),
        object: 'sponsor',
        level: level.id,
        comps_issued_at: null,
        created_at: expect.stringMatching(/Z$/),
      },
    })
    for (const reference of [made.body['id'], 'acme-corp', encodeURIComponent('CRM/17')]) {
      const path = `${conference.path}/sponsors/${String(reference)}`
      expect(await app.request('GET', path)).toMatchObject({ status: 200, body: made.body })
    }
  })

  it('derives its slug from its name, with a number if that is taken', async () => {
    const conference = await createConference(app)
    const slugs: string[] = []
    for (const name of ['Café Ørsted', 'Cafe Orsted', 'CAFÉ ØRSTED!', '株式会社', '株式会社']) {
      slugs.push((await createSponsor(app, conference, { name })).slug)
    }
    expect(slugs).toEqual(['cafe-orsted', 'cafe-orsted-2', 'cafe-orsted-3', 'sponsor', 'sponsor-2'])
    await createSponsor(app, conference, { slug: 'cafe-orsted-5' })
    const next = [1, 2].map(() => createSponsor(app, conference, { name: 'Cafe Orsted' }))
    const numbered = (await Promise.all(next)).map(({ slug }) => slug)
    expect(new Set(numbered)).toEqual(new Set(['cafe-orsted-4', 'cafe-orsted-6']))
  })

  it('gets a unique slug even when many with one name are created at the same time', async () => {
    const conference = await createConference(app)
    const made = await Promise.all(
      Array.from({ length: 8 }, () => createSponsor(app, conference, { name: 'Rush' })),
    )
    expect(new Set(made.map(({ slug }) => slug)).size).toBe(8)
  })

  it('has a slug and an external id that are unique in its conference', async () => {
    const conference = await createConference(app)
    const other = await createConference(app)
    const first = { slug: 'acme', external_id: 'crm-1' }
    await createSponsor(app, conference, first)
    const second = await createSponsor(app, conference)
    const post = (body: Body) => app.request('POST', `${conference.path}/sponsors`, { body })
    const patch = (body: Body) =>
      app.request('PATCH', `${conference.path}/sponsors/${second.id}`, { body })
    expect(await post({ name: 'x', slug: 'acme' })).toMatchObject(taken('/slug'))
    expect(await post({ name: 'x', external_id: 'crm-1' })).toMatchObject(taken('/external_id'))
    expect(await patch({ slug: 'acme' })).toMatchObject(taken('/slug'))
    expect(await patch({ external_id: 'crm-1' })).toMatchObject(taken('/external_id'))
    expect(await createSponsor(app, other, first)).toMatchObject(first)
  })

  it('can be updated in part, and cleared with null', async () => {
    const conference = await createConference(app)
    const level = await createLevel(app, conference)
    const { id } = await createSponsor(app, conference, {
      name: 'Old',
      external_id: 'x-1',
      contact_email: 'a@b.example',
      level: level.id,
    })
    const path = `${conference.path}/sponsors/${id}`
    expect(await app.request('PATCH', path, { body: { name: 'New' } })).toMatchObject({
      status: 200,
      body: { name: 'New', external_id: 'x-1', contact_email: 'a@b.example', level: level.id },
    })
    const empty = { external_id: null, contact_email: null, level: null }
    expect(await app.request('PATCH', path, { body: empty })).toMatchObject({
      status: 200,
      body: { name: 'New', ...empty },
    })
  })

  it('reports the field and the rule of invalid input', async () => {
    const conference = await createConference(app)
    const foreign = await createLevel(app, await createConference(app))
    const sponsor = await createSponsor(app, conference)
    const cases: [Body, string][] = [
      [{ name: '' }, '/name'],
      [{ name: 'x'.repeat(201) }, '/name'],
      [{ name: null }, '/name'],
      [{ slug: 'Not a slug' }, '/slug'],
      [{ slug: 'x'.repeat(201) }, '/slug'],
      [{ slug: null }, '/slug'],
      [{ external_id: '' }, '/external_id'],
      [{ contact_email: 'nobody' }, '/contact_email'],
      [{ level: foreign.id }, '/level'],
      [{ level: foreign.slug }, '/level'],
      [{ price: 5 }, '/price'],
      [{ comps_issued_at: '2026-01-01T00:00:00Z' }, '/comps_issued_at'],
    ]
    for (const [body, pointer] of cases) {
      const post = { body: { name: 'x', ...body } }
      expect(await app.request('POST', `${conference.path}/sponsors`, post)).toMatchObject(
        refusal(pointer),
      )
      const path = `${conference.path}/sponsors/${sponsor.id}`
      expect(await app.request('PATCH', path, { body })).toMatchObject(refusal(pointer))
    }
    expect(await app.request('POST', `${conference.path}/sponsors`, { body: {} })).toMatchObject(
      refusal('/name'),
    )
  })
})

describe('the list of sponsors', () => {
  it('filters by external id, level and text', async () => {
    const conference = await createConference(app)
    const gold = await createLevel(app, conference, { name: 'Gold' })
    const acme = await createSponsor(app, conference, { name: 'Acme 100%', external_id: 'a/1' })
    const beta = await createSponsor(app, conference, {
      name: 'Beta',
      level: gold.id,
      contact_email: 'Joe@Beta.example',
    })
    const find = async (query: Record<string, string>) => {
      const search = new URLSearchParams(query).toString()
      const { body } = await app.request<{ data: Body[] }>(
        'GET',
        `${conference.path}/sponsors?${search}`,
      )
      return body.data.map(({ id }) => id)
    }
    expect(await find({})).toEqual([beta.id, acme.id])
    expect(await find({ external_id: 'a/1' })).toEqual([acme.id])
    expect(await find({ external_id: 'a/2' })).toEqual([])
    expect(await find({ level: gold.slug })).toEqual([beta.id])
    expect(await find({ level: gold.id, q: 'acme' })).toEqual([])
    expect(await find({ q: 'JOE@' })).toEqual([beta.id])
    expect(await find({ q: '0%' })).toEqual([acme.id])
    expect(await find({ q: '%' })).toEqual([acme.id])
    expect(await find({ q: '_' })).toEqual([])
  })

  it('refuses unknown filters', async () => {
    const { path } = await createConference(app)
    const get = (query: string) => app.request('GET', `${path}/sponsors?${query}`)
    expect(await get('level=none')).toMatchObject(refusal('query/level'))
    expect(await get('colour=red')).toMatchObject(refusal('query/colour'))
    expect(await get('q=')).toMatchObject(refusal('query/q'))
    expect(await get('q=a&q=b')).toMatchObject(refusal('query/q'))
  })
})

describe('a sponsor level', () => {
  it('is created, listed, read by id or slug, and changed', async () => {
    const conference = await createConference(app)
    const path = `${conference.path}/sponsor-levels`
    const made = await app.request('POST', path, {
      body: { name: 'Größte Förderer', comp_ticket_count: 3 },
    })
    expect(made).toMatchObject({
      status: 201,
      body: {
        id: expect.stringMatching(/^lvl_/),
        object: 'sponsor_level',
        slug: 'grosste-forderer',
        comp_ticket_count: 3,
      },
    })
    expect(await createLevel(app, conference, { name: 'Größte Förderer' })).toMatchObject({
      slug: 'grosste-forderer-2',
      comp_ticket_count: 0,
    })
    for (const reference of [made.body['id'], 'grosste-forderer']) {
      expect(await app.request('GET', `${path}/${String(reference)}`)).toMatchObject({
        status: 200,
        body: made.body,
      })
    }
    expect(
      await app.request('PATCH', `${path}/grosste-forderer`, { body: { comp_ticket_count: 5 } }),
    ).toMatchObject({ status: 200, body: { name: 'Größte Förderer', comp_ticket_count: 5 } })
    expect(await app.request('GET', path)).toMatchObject({
      body: { data: [{ slug: 'grosste-forderer-2' }, { comp_ticket_count: 5 }] },
    })
  })

  it('reports the field and the rule of invalid input', async () => {
    const conference = await createConference(app)
    const level = await createLevel(app, conference, { slug: 'gold' })
    await createLevel(app, conference, { slug: 'silver' })
    const path = `${conference.path}/sponsor-levels`
    for (const count of [-1, 1.5, 10_001, '3', null]) {
      const body = { name: 'x', comp_ticket_count: count }
      expect(await app.request('POST', path, { body })).toMatchObject(refusal('/comp_ticket_count'))
    }
    expect(await app.request('POST', path, { body: { name: 'x', tier: 1 } })).toMatchObject(
      refusal('/tier'),
    )
    expect(await app.request('POST', path, { body: { name: 'x', slug: 'gold' } })).toMatchObject(
      taken('/slug'),
    )
    expect(
      await app.request('PATCH', `${path}/${level.id}`, { body: { slug: 'silver' } }),
    ).toMatchObject(taken('/slug'))
    expect(await app.request('GET', `${path}/bronze`)).toMatchObject(notFound)
    expect(await app.request('PATCH', `${path}/bronze`, { body: {} })).toMatchObject(notFound)
  })
})

describe('sponsors and levels', () => {
  it('require catalog:write to write; staff who sell find sponsors, a sponsor may do neither', async () => {
    const conference = await createConference(app)
    const sponsor = await createSponsor(app, conference)
    const level = await createLevel(app, conference)
    const manager = await createStaffKey(app, conference, ['catalog:write'])
    const reader = await createStaffKey(app, conference, ['purchases:read', 'keys:write'])
    const buyer = await createSponsorKey(app, conference, sponsor.id)
    for (const [collection, id] of [
      ['sponsors', sponsor.id],
      ['sponsor-levels', level.id],
    ]) {
      const path = `${conference.path}/${collection}`
      const reads = [
        (as: string) => app.request('GET', path, { as }),
        (as: string) => app.request('GET', `${path}/${id}`, { as }),
      ]
      for (const call of reads) {
        expect((await call(reader.key)).status).toBe(collection === 'sponsors' ? 200 : 403)
        expect(await call(buyer.key)).toMatchObject(forbidden)
      }
      const calls = [
        (as: string) => app.request('PATCH', `${path}/${id}`, { as, body: {} }),
        (as: string) => app.request('POST', path, { as, body: { name: unique('New') } }),
      ]
      for (const call of calls) {
        expect([200, 201]).toContain((await call(manager.key)).status)
        expect(await call(reader.key)).toMatchObject(forbidden)
        expect(await call(buyer.key)).toMatchObject(forbidden)
      }
    }
  })

  it('of another conference answer 404', async () => {
    const [own, other] = [await createConference(app), await createConference(app)]
    const sponsor = await createSponsor(app, other, { external_id: 'crm' })
    const level = await createLevel(app, other)
    const { key } = await createStaffKey(app, own, ['catalog:write'])
    const get = (path: string) => app.request('GET', path, { as: key })
    for (const reference of [sponsor.id, sponsor.slug, 'crm']) {
      expect(await get(`${own.path}/sponsors/${reference}`)).toMatchObject(notFound)
      expect(await get(`${other.path}/sponsors/${reference}`)).toMatchObject(notFound)
    }
    expect(await get(`${own.path}/sponsor-levels/${level.id}`)).toMatchObject(notFound)
    expect(await get(`${own.path}/sponsors`)).toMatchObject({ body: { data: [] } })
  })
})
