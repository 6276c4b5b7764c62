import { describe, expect, it } from 'vitest'
import { createConference, createLevel, createSponsor, unique } from '../support/fixtures.ts'
import { type Body, useTestApp } from '../support/test-app.ts'

const app = useTestApp()

type Voucher = { code: string; max_uses: number; state: string }

const vouchersOf = (sponsor: string) =>
  app.rows<Voucher>(
    `select v.code, v.max_uses, v.state from vouchers v
     join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id
     where b.sponsor_id = $1 and b.source = 'comp'`,
    [sponsor],
  )

describe('the complimentary vouchers of a level', () => {
  it('are issued with a sponsor that is created at the level: single-use and unguessable', async () => {
    const conference = await createConference(app)
    const level = await createLevel(app, conference, { comp_ticket_count: 5 })
    const sponsor = await createSponsor(app, conference, { slug: 'acme', level: level.slug })
    expect(sponsor).toMatchObject({ level: level.id, comps_issued_at: expect.any(String) })
    const vouchers = await vouchersOf(sponsor.id)
    expect(vouchers).toHaveLength(5)
    expect(new Set(vouchers.map(({ code }) => code)).size).toBe(5)
    for (const voucher of vouchers) {
      expect(voucher).toMatchObject({
        max_uses: 1,
        state: 'active',
        code: expect.stringMatching(/ACME-[2-9A-Z]{12}$/),
      })
    }
    const batches = await app.rows('select * from voucher_batches where sponsor_id = $1', [
      sponsor.id,
    ])
    expect(batches).toMatchObject([
      { voucher_type: 'comp', unlocks_hidden_tickets: true, created_by: 'operator', count: 5 },
    ])
  })

  it('are issued when a sponsor gets its first level later, and only then', async () => {
    const conference = await createConference(app)
    const gold = await createLevel(app, conference, { comp_ticket_count: 2 })
    const platinum = await createLevel(app, conference, { comp_ticket_count: 9 })
    const { id } = await createSponsor(app, conference)
    const patch = (body: Body) =>
      app.request('PATCH', `${conference.path}/sponsors/${id}`, { body })
    expect(await vouchersOf(id)).toHaveLength(0)
    await patch({ level: gold.id })
    const first = await vouchersOf(id)
    expect(first).toHaveLength(2)
    const changes = [
      { level: platinum.id },
      { name: 'Renamed' },
      { level: null },
      { level: platinum.id },
    ]
    for (const change of changes) {
      expect(await patch(change)).toMatchObject({ status: 200 })
      expect(await vouchersOf(id)).toEqual(first)
    }
  })

  it('are not issued by a level without any, or by a later change of level', async () => {
    const conference = await createConference(app)
    const media = await createLevel(app, conference, { comp_ticket_count: 0 })
    const gold = await createLevel(app, conference, { comp_ticket_count: 2 })
    const { id } = await createSponsor(app, conference, { level: media.id })
    const answer = await app.request('PATCH', `${conference.path}/sponsors/${id}`, {
      body: { level: gold.id },
    })
    expect(answer).toMatchObject({ status: 200, body: { level: gold.id, comps_issued_at: null } })
    expect(await vouchersOf(id)).toHaveLength(0)
  })

  it('are issued once when two people set the level at the same time', async () => {
    const conference = await createConference(app)
    const level = await createLevel(app, conference, { comp_ticket_count: 3 })
    const { id } = await createSponsor(app, conference)
    const path = `${conference.path}/sponsors/${id}`
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => app.request('PATCH', path, { body: { level: level.id } })),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array(6).fill(200))
    expect(await vouchersOf(id)).toHaveLength(3)
  })

  it('are issued once when the request is repeated with its Idempotency-Key', async () => {
    const conference = await createConference(app)
    const level = await createLevel(app, conference, { comp_ticket_count: 3 })
    const name = unique('Repeated')
    const send = () =>
      app.request<Body & { id: string }>('POST', `${conference.path}/sponsors`, {
        body: { name, level: level.id },
        headers: { 'idempotency-key': name },
      })
    const [first, second] = [await send(), await send()]
    expect(second.body).toEqual(first.body)
    expect(await vouchersOf(first.body.id)).toHaveLength(3)
  })

  it('and the level are one commit: if codes cannot be issued, nothing changes', async () => {
    const conference = await createConference(app)
    const level = await createLevel(app, conference, { comp_ticket_count: 3 })
    const { id } = await createSponsor(app, conference)
    await app.rows(
      `create function refuse() returns trigger language plpgsql
         as $$ begin raise exception 'no'; end $$;
       create trigger refuse before insert on vouchers
         for each row when (new.conference_id = '${conference.id}') execute function refuse()`,
    )
    const path = `${conference.path}/sponsors/${id}`
    const patch = () => app.request('PATCH', path, { body: { level: level.id } })
    try {
      expect(await patch()).toMatchObject({ status: 500, body: { code: 'internal' } })
    } finally {
      await app.rows('drop function refuse() cascade')
    }
    expect(await app.request('GET', path)).toMatchObject({
      body: { level: null, comps_issued_at: null },
    })
    expect(await patch()).toMatchObject({ status: 200, body: { level: level.id } })
    expect(await vouchersOf(id)).toHaveLength(3)
  })
})
