import { describe, expect, it } from 'vitest'
import type { Scope } from '../../src/shared/caller.ts'
import {
  createConference,
  createSponsor,
  createSponsorKey,
  createStaffKey,
  type KeyMade,
  unique,
} from '../support/fixtures.ts'
import { type Body, startTestProcess, useTestApp } from '../support/test-app.ts'

const app = useTestApp()

const refusal = (pointer: string, detail?: string) => ({
  status: 400,
  body: {
    code: 'validation_failed',
    errors: [expect.objectContaining(detail === undefined ? { pointer } : { pointer, detail })],
  },
})

const forbidden = { status: 403, body: { code: 'forbidden' } }
const unauthenticated = { status: 401, body: { code: 'unauthenticated' } }
const notFound = { status: 404, body: { code: 'not_found' } }
const soon = () => new Date(Date.now() + 3_600_000).toISOString()

/** Whether the service accepts this key. */
async function isLetIn(conference: { path: string }, key: string): Promise<boolean> {
  const { status } = await app.request('GET', `${conference.path}/ticket-types`, { as: key })
  return status !== 401
}

describe('creating a key', () => {
  it('shows the key once and keeps only a hash of its secret', async () => {
    const conference = await createConference(app)
    const made = await app.request<KeyMade & { last4: string }>(
      'POST',
      `${conference.path}/api-keys`,
      { body: { role: 'staff', name: 'Box office', scopes: ['vouchers:redeem'] } },
    )
    expect(made).toMatchObject({
      status: 201,
      body: {
        id: expect.stringMatching(/^key_[0-9A-Za-z]{21}$/),
        object: 'api_key',
        role: 'staff',
        sponsor: null,
        scopes: ['vouchers:redeem'],
        name: 'Box office',
        key: expect.stringMatching(/^sv_staff_[0-9A-Za-z]{21}_[0-9A-Za-z]{40}$/),
        expires_at: null,
        revoked_at: null,
        rotated_to: null,
        last_used_at: null,
      },
    })
    const { key, last4, id } = made.body
    expect(last4).toBe(key.slice(-4))
    const list = await app.request('GET', `${conference.path}/api-keys`)
    expect(list.body).toMatchObject({ data: [{ id, key: null }] })
    const stored = JSON.stringify(await app.rows('select * from api_keys where id = $1', [id]))
    expect(stored).not.toContain(key.slice(-40))
  })

  it('lets a sponsor be named by id, slug or external id', async () => {
    const conference = await createConference(app)
    const sponsor = await createSponsor(app, conference, { external_id: 'crm 77' })
    for (const reference of [sponsor.id, sponsor.slug, 'crm 77']) {
      const key = await createSponsorKey(app, conference, reference)
      expect(key).toMatchObject({ role: 'sponsor', sponsor: sponsor.id, scopes: [] })
      expect(await isLetIn(conference, key.key)).toBe(true)
    }
  })

  it('reports the field and the rule of each error', async () => {
    const conference = await createConference(app)
    const other = await createConference(app)
    const foreign = await createSponsor(app, other)
    const post = (body: Body) => app.request('POST', `${conference.path}/api-keys`, { body })
    const staff = { role: 'staff', name: 'x' }
    const sponsor = { role: 'sponsor', name: 'x' }
    expect(await post({ role: 'operator', name: 'x' })).toMatchObject(refusal('/role'))
    expect(await post({ role: 'staff' })).toMatchObject(refusal('/name'))
    expect(await post({ ...staff, name: '  ' })).toMatchObject(refusal('/name'))
    expect(await post({ ...staff, scopes: ['all'] })).toMatchObject(refusal('/scopes/0'))
    expect(await post({ ...staff, colour: 'red' })).toMatchObject(
      refusal('/colour', 'is not a known field'),
    )
    expect(await post({ ...staff, sponsor: 'acme' })).toMatchObject(refusal('/sponsor'))
    expect(await post({ ...staff, expires_at: '2020-01-01T00:00:00Z' })).toMatchObject(
      refusal('/expires_at', 'must be in the future'),
    )
    expect(await post({ ...staff, expires_at: 'tomorrow' })).toMatchObject(refusal('/expires_at'))
    expect(await post(sponsor)).toMatchObject(
      refusal('/sponsor', 'is required for the role sponsor'),
    )
    expect(await post({ ...sponsor, sponsor: foreign.id })).toMatchObject(
      refusal('/sponsor', `This conference has no sponsor "${foreign.id}".`),
    )
    expect(
      await post({ ...sponsor, sponsor: foreign.id, scopes: ['purchases:read'] }),
    ).toMatchObject(refusal('/scopes'))
  })

  it('grants only scopes that the creating key has', async () => {
    const conference = await createConference(app)
    const { key } = await createStaffKey(app, conference, ['keys:write', 'vouchers:read'])
    const post = (body: Body) =>
      app.request('POST', `${conference.path}/api-keys`, { as: key, body })
    expect(await post({ role: 'staff', name: 'less', scopes: ['vouchers:read'] })).toMatchObject({
      status: 201,
      body: { scopes: ['vouchers:read'] },
    })
    expect(
      await post({ role: 'staff', name: 'more', scopes: ['vouchers:read', 'refunds:write'] }),
    ).toMatchObject({
      ...forbidden,
      body: { detail: 'This key cannot grant scopes that it lacks: refunds:write.' },
    })
  })

  it('A key gets no sponsor key, new or rotated, without what a sponsor may do (issue 8, line 17)', async () => {
    const conference = await createConference(app)
    const sponsor = await createSponsor(app, conference)
    const buyer = await createSponsorKey(app, conference, sponsor.id)
    const path = `${conference.path}/api-keys`
    const attempts = async (scopes: Scope[]) => {
      const { key: as } = await createStaffKey(app, conference, ['keys:write', ...scopes])
      const body = { role: 'sponsor', name: 'buyer', sponsor: sponsor.slug }
      return [
        await app.request('POST', path, { as, body }),
        await app.request('POST', `${path}/${buyer.id}/rotate`, { as }),
      ]
    }
    const lacks = (scopes: string) => ({
      ...forbidden,
      body: { detail: `This key cannot grant scopes that it lacks: ${scopes}.` },
    })
    for (const refused of await attempts([])) {
      expect(refused).toMatchObject(lacks('purchases:write, vouchers:read'))
    }
    for (const refused of await attempts(['vouchers:read', 'purchases:read'])) {
      expect(refused).toMatchObject(lacks('purchases:write'))
    }
    for (const made of await attempts(['vouchers:read', 'purchases:write'])) {
      expect(made).toMatchObject({ status: 201, body: { role: 'sponsor', sponsor: sponsor.id } })
    }
  })

  it('requires keys:write, and an operator key for operator keys', async () => {
    const conference = await createConference(app)
    const sponsor = await createSponsor(app, conference)
    const every = await createStaffKey(app, conference, ['keys:write', 'settings:write'])
    const none = await createStaffKey(app, conference, ['catalog:write'])
    const buyer = await createSponsorKey(app, conference, sponsor.id)
    const path = `${conference.path}/api-keys`
    const body = { role: 'staff', name: 'x' }
    for (const { key } of [none, buyer]) {
      expect(await app.request('POST', path, { as: key, body })).toMatchObject(forbidden)
      expect(await app.request('GET', path, { as: key })).toMatchObject(forbidden)
      expect(await app.request('DELETE', `${path}/${every.id}`, { as: key })).toMatchObject(
        forbidden,
      )
      expect(await app.request('POST', `${path}/${every.id}/rotate`, { as: key })).toMatchObject(
        forbidden,
      )
    }
    expect(
      await app.request('POST', '/v1/api-keys', { as: every.key, body: { name: 'x' } }),
    ).toMatchObject(forbidden)
  })
})

describe('operator keys', () => {
  it('are created by the bootstrap key, allow everything and belong to no conference', async () => {
    const conference = await createConference(app)
    const made = await app.request<KeyMade>('POST', '/v1/api-keys', { body: { name: 'Ops' } })
    expect(made).toMatchObject({ status: 201, body: { role: 'operator', scopes: [] } })
    const { id, key } = made.body
    expect(key).toMatch(/^sv_operator_/)
    expect(await app.request('GET', '/v1/conferences', { as: key })).toMatchObject({ status: 200 })
    expect(await app.request('GET', conference.path, { as: key })).toMatchObject({ status: 200 })
    expect(await app.request('DELETE', `${conference.path}/api-keys/${id}`)).toMatchObject(notFound)
    const staff = await createStaffKey(app, conference, [])
    expect(await app.request('DELETE', `/v1/api-keys/${staff.id}`)).toMatchObject(notFound)
    const list = await app.request<{ data: Body[] }>('GET', '/v1/api-keys')
    expect(list.body.data.map((item) => item['role'])).toEqual(['operator'])
  })

  it('can be rotated and revoked', async () => {
    const { body } = await app.request<KeyMade>('POST', '/v1/api-keys', { body: { name: 'Ops' } })
    const rotated = await app.request<KeyMade>('POST', `/v1/api-keys/${body.id}/rotate`)
    expect(rotated.status).toBe(201)
    const use = (key: string) => app.request('GET', '/v1/conferences', { as: key })
    expect(await use(body.key)).toMatchObject({ status: 200 })
    expect(await use(rotated.body.key)).toMatchObject({ status: 200 })
    expect(await app.request('DELETE', `/v1/api-keys/${rotated.body.id}`)).toMatchObject({
      status: 204,
    })
    expect(await use(rotated.body.key)).toMatchObject(unauthenticated)
  })

  it('refuse a conference role, a past expiry and unknown fields', async () => {
    const post = (body: Body) => app.request('POST', '/v1/api-keys', { body })
    expect(await post({ name: 'x', role: 'staff' })).toMatchObject(refusal('/role'))
    expect(await post({ name: 'x', scopes: [] })).toMatchObject(refusal('/scopes'))
    expect(await post({ name: 'x', expires_at: '2020-01-01T00:00:00Z' })).toMatchObject(
      refusal('/expires_at'),
    )
  })
})

describe('the end of an API key', () => {
  it('comes immediately with a revocation, which is idempotent', async () => {
    const conference = await createConference(app)
    const { id, key } = await createStaffKey(app, conference, ['catalog:write'])
    expect(await isLetIn(conference, key)).toBe(true)
    const path = `${conference.path}/api-keys/${id}`
    expect(await app.request('DELETE', path)).toMatchObject({ status: 204, body: '' })
    expect(await isLetIn(conference, key)).toBe(false)
    const revokedAt = () => app.rows('select revoked_at from api_keys where id = $1', [id])
    const before = await revokedAt()
    expect(await app.request('DELETE', path)).toMatchObject({ status: 204 })
    expect(await revokedAt()).toEqual(before)
    expect(await app.request('DELETE', `${conference.path}/api-keys/key_none`)).toMatchObject(
      notFound,
    )
  })

  it('comes immediately for requests that share a look-up, also by another process', async () => {
    const conference = await createConference(app)
    const { id, key } = await createStaffKey(app, conference, ['catalog:write'])
    const other = await startTestProcess(app.connectionString)
    const sending = new AbortController()
    const keepSending = async () => {
      while (!sending.signal.aborted) await isLetIn(conference, key)
    }
    const senders = Array.from({ length: 8 }, keepSending)
    expect(await isLetIn(conference, key)).toBe(true)
    await other.request('DELETE', `${conference.path}/api-keys/${id}`)
    const after = await Promise.all(Array.from({ length: 20 }, () => isLetIn(conference, key)))
    sending.abort()
    await Promise.all(senders)
    await other.close()
    expect(after).toEqual(Array(20).fill(false))
  })

  it('comes with its expiry', async () => {
    const conference = await createConference(app)
    const { id, key } = await createStaffKey(app, conference, ['catalog:write'], {
      expires_at: soon(),
    })
    expect(await isLetIn(conference, key)).toBe(true)
    await app.rows('update api_keys set expires_at = now() where id = $1', [id])
    expect(await isLetIn(conference, key)).toBe(false)
  })

  it('refuses a key with a wrong secret, id or role', async () => {
    const conference = await createConference(app)
    const { key } = await createStaffKey(app, conference, ['catalog:write'])
    const last = key.endsWith('A') ? 'B' : 'A'
    const wrong = [
      `${key.slice(0, -1)}${last}`,
      key.replace('sv_staff_', 'sv_operator_'),
      key.replace(/_[0-9A-Za-z]{21}_/, '_000000000000000000000_'),
      key.slice(0, -1),
      `${key}A`,
      'operator-key-of-the-test',
    ]
    for (const text of wrong) {
      expect(await app.request('GET', conference.path, { as: text })).toMatchObject(unauthenticated)
    }
    expect(await app.request('GET', conference.path, { as: null })).toMatchObject({
      ...unauthenticated,
      headers: { 'www-authenticate': 'Bearer' },
    })
  })
})

describe('last_used_at', () => {
  it('is written on the first use and then at most once per minute', async () => {
    const conference = await createConference(app)
    const { id, key } = await createStaffKey(app, conference, ['catalog:write'])
    const lastUsed = async () => {
      const sql = 'select last_used_at::text as at from api_keys where id = $1'
      return (await app.rows<{ at: string | null }>(sql, [id]))[0]?.at
    }
    expect(await lastUsed()).toBeNull()
    await isLetIn(conference, key)
    const first = await lastUsed()
    expect(first).toEqual(expect.any(String))
    await isLetIn(conference, key)
    expect(await lastUsed()).toBe(first)
    await app.rows(`update api_keys set last_used_at = now() - interval '61 s' where id = $1`, [id])
    const old = await lastUsed()
    await isLetIn(conference, key)
    expect(await lastUsed()).not.toBe(old)
  })

  it('neither delays nor fails a request while the row of the key is locked', async () => {
    const conference = await createConference(app)
    const { id, key } = await createStaffKey(app, conference, ['catalog:write'])
    await app.db.transaction(async (trx) => {
      await trx.raw(`select set_config('app.system_task', 'authenticate', true)`)
      await trx('api_keys').where({ id }).forUpdate().select('id')
      expect(await isLetIn(conference, key)).toBe(true)
    })
  })

  it('does not fail a request when it cannot be written', async () => {
    const conference = await createConference(app)
    const { id, key } = await createStaffKey(app, conference, ['catalog:write'])
    await app.rows(
      `create function refuse() returns trigger language plpgsql
         as $$ begin raise exception 'no'; end $$;
       create trigger refuse before update on api_keys
         for each row when (old.id = '${id}') execute function refuse()`,
    )
    try {
      expect(await isLetIn(conference, key)).toBe(true)
    } finally {
      await app.rows('drop function refuse() cascade')
    }
  })
})

describe('keys of another conference', () => {
  it('answer 404 to a staff key', async () => {
    const [own, other] = [await createConference(app), await createConference(app)]
    const { key } = await createStaffKey(app, own, ['keys:write'])
    const foreign = await createStaffKey(app, other, [])
    const ask = (method: 'DELETE' | 'POST', path: string) => app.request(method, path, { as: key })
    expect(await ask('DELETE', `${own.path}/api-keys/${foreign.id}`)).toMatchObject(notFound)
    expect(await ask('POST', `${own.path}/api-keys/${foreign.id}/rotate`)).toMatchObject(notFound)
    expect(await ask('DELETE', `${other.path}/api-keys/${foreign.id}`)).toMatchObject(notFound)
    expect(await isLetIn(other, foreign.key)).toBe(true)
  })

  it('cannot refer to a sponsor of this one, even in SQL', async () => {
    const [own, other] = [await createConference(app), await createConference(app)]
    const sponsor = await createSponsor(app, other)
    const insert = app.rows(
      `insert into api_keys (id, conference_id, role, sponsor_id, name, secret_hash, last4, created_by)
       values ($1, $2, 'sponsor', $3, 'x', 'x', 'x', 'x')`,
      [unique('key'), own.id, sponsor.id],
    )
    await expect(insert).rejects.toMatchObject({ constraint: 'api_keys_sponsor_fkey' })
  })
})
