import { describe, expect, it } from 'vitest'
import {
  createConference,
  createSponsor,
  createStaffKey,
  type KeyMade,
  unique,
} from '../support/fixtures.ts'
import { type Body, startTestProcess, useTestApp } from '../support/test-app.ts'

const app = useTestApp()

type Options = { as?: string; key: string; body: Body }

const post = (path: string, { key, ...options }: Options) =>
  app.request<Body & { id: string }>('POST', path, {
    ...options,
    headers: { 'idempotency-key': key },
  })

async function sponsorsNamed(name: string): Promise<number> {
  return (await app.rows('select from sponsors where name = $1', [name])).length
}

const inProgress = {
  status: 409,
  body: { code: 'idempotency_in_progress' },
  headers: { 'retry-after': '1' },
}
const reused = { status: 422, body: { code: 'idempotency_key_reused' } }

describe('a write with an Idempotency-Key', () => {
  it('happens once, and a repeat gets the first response', async () => {
    const { path } = await createConference(app)
    const [key, name] = [unique('key'), unique('Once')]
    const first = await post(`${path}/sponsors`, { key, body: { name } })
    const again = await post(`${path}/sponsors`, { key, body: { name } })
    expect(first.status).toBe(201)
    expect(again.status).toBe(201)
    expect(again.body).toEqual(first.body)
    expect(await sponsorsNamed(name)).toBe(1)
    expect(first.headers).not.toHaveProperty('idempotent-replayed')
    expect(again.headers).toMatchObject({ 'idempotent-replayed': 'true' })
  })

  it('happens twice without the key', async () => {
    const { path } = await createConference(app)
    const body = { name: unique('Twice') }
    await app.request('POST', `${path}/sponsors`, { body })
    await app.request('POST', `${path}/sponsors`, { body })
    expect(await sponsorsNamed(body.name)).toBe(2)
  })

  it('is the same for any formatting of its body', async () => {
    const { path } = await createConference(app)
    const key = unique('key')
    const send = (body: string) =>
      app.request('POST', `${path}/sponsors`, { body, headers: { 'idempotency-key': key } })
    const first = await send('{"name":"Same","slug":"same"}')
    expect(await send('{ "slug": "same", "name": "Same" }')).toMatchObject({
      status: 201,
      body: first.body,
    })
  })

  it('is refused with the key of another body or path', async () => {
    const { path } = await createConference(app)
    const [key, name] = [unique('key'), unique('First')]
    await post(`${path}/sponsors`, { key, body: { name } })
    expect(await post(`${path}/sponsors`, { key, body: { name: 'Other' } })).toMatchObject(reused)
    expect(await post(`${path}/sponsor-levels`, { key, body: { name } })).toMatchObject(reused)
    expect(await sponsorsNamed('Other')).toBe(0)
  })

  it('is refused with a key that the operator used for another conference', async () => {
    const [one, two] = [await createConference(app), await createConference(app)]
    const [key, name] = [unique('key'), unique('Acme')]
    expect(await post(`${one.path}/sponsors`, { key, body: { name } })).toMatchObject({
      status: 201,
    })
    expect(await post(`${two.path}/sponsors`, { key, body: { name } })).toMatchObject(reused)
    expect(await sponsorsNamed(name)).toBe(1)
  })

  it('happens once for many parallel requests', async () => {
    const { path } = await createConference(app)
    const [key, name] = [unique('key'), unique('Parallel')]
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => post(`${path}/sponsors`, { key, body: { name } })),
    )
    expect(await sponsorsNamed(name)).toBe(1)
    const made = answers.filter(({ status }) => status === 201)
    expect(made.length).toBeGreaterThan(0)
    expect(new Set(made.map(({ body }) => body.id)).size).toBe(1)
    const others = answers.filter(({ status }) => status !== 201)
    for (const answer of others) expect(answer).toMatchObject(inProgress)
  })

  it('is 409 while the first request is still running', async () => {
    const { path } = await createConference(app)
    const [key, name] = [unique('key'), unique('Slow')]
    await app.db.transaction(async (trx) => {
      await trx.raw('select pg_advisory_xact_lock(hashtextextended(?, 0))', [
        `idempotency_keys:operator:${key}`,
      ])
      expect(await post(`${path}/sponsors`, { key, body: { name } })).toMatchObject(inProgress)
    })
    expect(await post(`${path}/sponsors`, { key, body: { name } })).toMatchObject({ status: 201 })
  })

  it('is independent of the same key of another caller', async () => {
    const conference = await createConference(app)
    const one = await createStaffKey(app, conference, ['catalog:write'])
    const two = await createStaffKey(app, conference, ['catalog:write'])
    const [key, name] = [unique('key'), unique('Both')]
    const path = `${conference.path}/sponsors`
    const first = await post(path, { as: one.key, key, body: { name } })
    const second = await post(path, { as: two.key, key, body: { name } })
    expect(first.status).toBe(201)
    expect(second.status).toBe(201)
    expect(second.body.id).not.toBe(first.body.id)
  })

  it('may be repeated with its key after a refusal, which is not stored', async () => {
    const conference = await createConference(app)
    const [key, slug] = [unique('key'), unique('late')]
    const path = `${conference.path}/api-keys`
    const body = { role: 'sponsor', sponsor: slug, name: 'x' }
    expect(await post(path, { key, body })).toMatchObject({ status: 400 })
    await createSponsor(app, conference, { slug })
    expect(await post(path, { key, body })).toMatchObject({ status: 201 })
  })

  it('is forgotten after 24 hours', async () => {
    const { path } = await createConference(app)
    const [key, name] = [unique('key'), unique('Daily')]
    await post(`${path}/sponsors`, { key, body: { name } })
    const age = (text: string) =>
      app.rows(
        'update idempotency_keys set created_at = created_at - cast($2 as interval) where key = $1',
        [key, text],
      )
    await age('23:59:00')
    await post(`${path}/sponsors`, { key, body: { name } })
    expect(await sponsorsNamed(name)).toBe(1)
    await age('00:01:01')
    await post(`${path}/sponsors`, { key, body: { name } })
    expect(await sponsorsNamed(name)).toBe(2)
  })

  it('is answered by any process', async () => {
    const { path } = await createConference(app)
    const [key, name] = [unique('key'), unique('Shared')]
    const first = await post(`${path}/sponsors`, { key, body: { name } })
    const other = await startTestProcess(app.connectionString)
    try {
      const again = await other.request('POST', `${path}/sponsors`, {
        body: { name },
        headers: { 'idempotency-key': key },
      })
      expect(again).toMatchObject({ status: 201, body: first.body })
    } finally {
      await other.close()
    }
    expect(await sponsorsNamed(name)).toBe(1)
  })

  it('may be a PATCH', async () => {
    const conference = await createConference(app)
    const sponsor = await createSponsor(app, conference)
    const path = `${conference.path}/sponsors/${sponsor.id}`
    const patch = (name: string, key?: string) =>
      app.request('PATCH', path, {
        body: { name },
        headers: key === undefined ? {} : { 'idempotency-key': key },
      })
    const key = unique('key')
    const first = await patch('One', key)
    await patch('Two')
    expect(await patch('One', key)).toMatchObject({ status: 200, body: first.body })
    expect(await app.request('GET', path)).toMatchObject({ body: { name: 'Two' } })
  })
})

describe('the stored response', () => {
  it('is encrypted, because it may contain a secret', async () => {
    const { path } = await createConference(app)
    const key = unique('key')
    const body = { role: 'staff', name: 'Sealed' }
    const first = await post(`${path}/api-keys`, { key, body })
    const again = await post(`${path}/api-keys`, { key, body })
    const { key: secret } = first.body as KeyMade
    expect(secret).toMatch(/^sv_staff_/)
    expect(again.body).toEqual(first.body)
    const rows = await app.rows<Body>('select * from idempotency_keys where key = $1', [key])
    expect(rows).toMatchObject([{ answer_sealed: expect.stringMatching(/^v1:/) }])
    const stored = JSON.stringify(rows)
    expect(stored).not.toContain(secret)
    expect(stored).not.toContain(secret.slice(-40))
    expect(stored).not.toContain('Sealed')
  })
})
