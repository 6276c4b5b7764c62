import { describe, expect, it } from 'vitest'
import { createConference, createSponsor, createSponsorKey } from '../support/fixtures.ts'
import { roundTripsOf } from '../support/round-trips.ts'
import { type Body, useTestApp } from '../support/test-app.ts'

const app = useTestApp()

type SponsorPage = { data: { id: string }[]; has_more: boolean; next_cursor: string | null }

async function page(path: string, query: Record<string, string>) {
  const search = new URLSearchParams(query).toString()
  const { status, body } = await app.request<SponsorPage>('GET', `${path}/sponsors?${search}`)
  expect(status).toBe(200)
  return body
}

async function wholeList(path: string, limit: number, between = async () => {}) {
  const seen: string[] = []
  let cursor: string | null = null
  do {
    const part: SponsorPage = await page(path, {
      limit: String(limit),
      ...(cursor === null ? {} : { cursor }),
    })
    expect(part.data.length).toBeLessThanOrEqual(limit)
    expect(part.has_more).toBe(part.next_cursor !== null)
    seen.push(...part.data.map(({ id }) => id))
    cursor = part.next_cursor
    await between()
  } while (cursor !== null)
  return seen
}

async function conferenceWithSponsors(count: number) {
  const conference = await createConference(app)
  const ids: string[] = []
  for (let i = 0; i < count; i += 1) ids.unshift((await createSponsor(app, conference)).id)
  return { ...conference, newestFirst: ids }
}

describe('a list', () => {
  it('is empty at first', async () => {
    const { path } = await createConference(app)
    expect(await page(path, {})).toEqual({ data: [], has_more: false, next_cursor: null })
  })

  it('sends no query for the rows of nothing (issue 9, line 6)', async () => {
    const { path, id } = await createConference(app)
    const sponsor = await createSponsor(app, { path })
    await app.rows(
      `insert into customers (conference_id, id, sponsor_id, params, idempotency_key, created_by)
       values ($1, 'cust_none', $2, '{"name": "Acme", "email": null}', 'none', 'x')`,
      [id, sponsor.id],
    )
    const { key: as } = await createSponsorKey(app, { path }, sponsor.id)
    const purchases = await roundTripsOf(() => app.request('GET', `${path}/purchases`))
    expect(purchases.filter((sql) => sql.includes('payment_attempts'))).toEqual([])
    const vouchers = await roundTripsOf(() => app.request('GET', `${path}/vouchers`, { as }))
    expect(vouchers.filter((sql) => sql.includes('from vouchers'))).toEqual([])
    const customers = await roundTripsOf(() => app.request('GET', `${path}/customers`))
    expect(customers.filter((sql) => sql.includes('from "customers"'))).toHaveLength(1)
    expect(customers.filter((sql) => sql.includes('"stripe"'))).toEqual([])
  })

  it('is newest first, in pages that contain every row once (D31)', async () => {
    const { path, newestFirst } = await conferenceWithSponsors(7)
    for (const limit of [1, 2, 3, 7, 8]) {
      expect(await wholeList(path, limit), `limit ${limit}`).toEqual(newestFirst)
    }
  })

  it('neither repeats nor skips rows while rows are added', async () => {
    const { newestFirst, ...conference } = await conferenceWithSponsors(6)
    const insert = () => createSponsor(app, conference).then(() => {})
    expect(await wholeList(conference.path, 2, insert)).toEqual(newestFirst)
  })

  it('separates rows of the same microsecond', async () => {
    const { path, id, newestFirst } = await conferenceWithSponsors(5)
    await app.rows(
      `update sponsors set created_at = '2026-01-01 00:00:00.123456Z' where conference_id = $1`,
      [id],
    )
    const seen = await wholeList(path, 2)
    expect(seen).toHaveLength(5)
    expect(new Set(seen)).toEqual(new Set(newestFirst))
  })

  it('keeps microseconds in its cursor, which JavaScript cannot represent', async () => {
    const { path, newestFirst } = await conferenceWithSponsors(4)
    for (const [index, id] of newestFirst.toReversed().entries()) {
      const at = `2026-01-01 00:00:00.00100${index}Z`
      await app.rows(`update sponsors set created_at = $1 where id = $2`, [at, id])
    }
    expect(await wholeList(path, 1)).toEqual(newestFirst)
  })

  it('has pages of 50 by default, and of 1 to 100 on request', async () => {
    const conference = await createConference(app)
    await app.rows(
      `insert into sponsors (conference_id, id, name, slug)
       select $1, 'spon_' || n, 'n', 'n-' || n from generate_series(1, 51) n`,
      [conference.id],
    )
    expect((await page(conference.path, {})).data).toHaveLength(50)
    expect((await page(conference.path, { limit: '100' })).data).toHaveLength(51)
    for (const limit of ['0', '-1', '101', '1.5', 'ten', '']) {
      const answer = await app.request('GET', `${conference.path}/sponsors?limit=${limit}`)
      expect(answer, `limit ${limit}`).toMatchObject({
        status: 400,
        body: { code: 'validation_failed', errors: [{ pointer: 'query/limit' }] },
      })
    }
  })

  it('refuses an invalid cursor', async () => {
    const { path } = await createConference(app)
    const encode = (text: string) => Buffer.from(text).toString('base64url')
    const cursors = [
      'nonsense',
      encode('2026-01-01|spon_1'),
      encode(`2026-01-01 00:00:00+00`),
      encode(`2026-13-45 99:00:00+00|spon_1`),
      encode(`2026-01-01 00:00:00+00|a|b`),
      encode(`2026-01-01 00:00:00+00|a\0b`),
      encode(`2026-01-01 00:00:00+00|'; drop table sponsors; --`),
    ]
    const answers: { status: number; body: Body }[] = []
    for (const cursor of cursors.slice(0, -1)) {
      answers.push(await app.request('GET', `${path}/sponsors?cursor=${cursor}`))
    }
    for (const answer of answers) {
      expect(answer).toMatchObject({
        status: 400,
        body: { code: 'validation_failed', errors: [{ pointer: 'query/cursor' }] },
      })
    }
    const harmless = cursors.at(-1) ?? ''
    expect(await page(path, { cursor: harmless })).toMatchObject({ data: [] })
  })
})
