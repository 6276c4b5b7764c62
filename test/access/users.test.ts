import { beforeAll, describe, expect, it } from 'vitest'
import { createSignInLink, signInWithLink } from '../../src/access/sign-in.ts'
import { SCOPES } from '../../src/shared/caller.ts'
import {
  createConference,
  createSponsor,
  createSponsorKey,
  createStaffKey,
  unique,
} from '../support/fixtures.ts'
import { type Body, startTestProcess, useTestApp } from '../support/test-app.ts'

const app = useTestApp({ env: { FAILED_LOOKUPS_PER_MINUTE: '100000' } })

type Conference = Awaited<ReturnType<typeof createConference>>
type User = Body & { id: string }
type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE'

let conference: Conference
let other: Conference
let sponsor: string
beforeAll(async () => {
  conference = await createConference(app)
  other = await createConference(app)
  sponsor = (await createSponsor(app, conference)).id
})

const address = () => `${unique('Person')}@example.org`
const WEB = 'https://vouchers.example.org'

/** Invites a person as the operator does. */
async function invite(body: Body, path = `${conference.path}/users`): Promise<User> {
  const made = await app.request<User>('POST', path, { body })
  expect(made.status, JSON.stringify(made.body)).toBe(201)
  return made.body
}

async function linkFor(email: string): Promise<string | null> {
  return createSignInLink(app.db, email, WEB, 100)
}

const tokenOf = (link: string | null) => link?.split('#token=')[1] ?? ''

/** Signs a person in, and sends requests as a browser on our own pages does. */
async function signIn(email: string) {
  const { cookie } = await signInWithLink(app.db, tokenOf(await linkFor(email)), 'A browser')
  return browserWith(`sv_session=${cookie}`)
}

function browserWith(
  cookie: string,
  from: Record<string, string> = { 'sec-fetch-site': 'same-origin' },
) {
  return (method: Method, path: string, body?: unknown) =>
    app.request<Body>(method, path, { as: null, body, headers: { cookie, ...from } })
}

describe('inviting people', () => {
  it('makes staff with scopes, who appear in the list of the conference only', async () => {
    const email = address()
    const user = await invite({ email, name: 'Grace', role: 'staff', scopes: ['purchases:read'] })
    expect(user).toMatchObject({
      object: 'user',
      id: expect.stringMatching(/^usr_/),
      email,
      name: 'Grace',
      role: 'staff',
      sponsor: null,
      scopes: ['purchases:read'],
      last_seen_at: null,
    })
    const here = await app.request<{ data: User[] }>('GET', `${conference.path}/users`)
    expect(here.body.data).toContainEqual(user)
    const there = await app.request<{ data: User[] }>('GET', `${other.path}/users`)
    expect(there.body.data).toEqual([])
    const jobs = await app.rows<{ payload: Body }>(
      `select payload from graphile_worker._private_jobs j join graphile_worker._private_tasks t
       on t.id = j.task_id where t.identifier = 'mail_invitation' and payload->>'email' = $1`,
      [email],
    )
    expect(jobs).toEqual([{ payload: expect.objectContaining({ email, to: conference['name'] }) }])
  })

  it('takes an address once for each conference, whatever its case', async () => {
    const email = address()
    await invite({ email, role: 'staff', scopes: [] })
    const again = { email: email.toUpperCase(), role: 'sponsor', sponsor }
    expect(await app.request('POST', `${conference.path}/users`, { body: again })).toMatchObject({
      status: 409,
      body: { code: 'already_exists', errors: [{ pointer: '/email', detail: 'is taken' }] },
    })
    await invite({ email, role: 'staff', scopes: [] }, `${other.path}/users`)
  })

  it('names the field and the rule of each error', async () => {
    const post = async (body: Body) => {
      const { status, body: problem } = await app.request<{ errors?: unknown[] }>(
        'POST',
        `${conference.path}/users`,
        { body: { email: address(), ...body } },
      )
      return [status, problem.errors?.[0]]
    }
    expect(await post({ role: 'operator' })).toMatchObject([400, { pointer: '/role' }])
    expect(await post({ role: 'staff', email: 'nobody' })).toMatchObject([
      400,
      { pointer: '/email' },
    ])
    expect(await post({ role: 'sponsor' })).toEqual([
      400,
      { pointer: '/sponsor', detail: 'is required for the role sponsor' },
    ])
    expect(await post({ role: 'staff', colour: 'red' })).toEqual([
      400,
      { pointer: '/colour', detail: 'is not a known field' },
    ])
    expect(await post({ role: 'sponsor', sponsor, scopes: ['keys:write'] })).toMatchObject([
      400,
      { pointer: '/scopes' },
    ])
  })

  it('lets nobody grant scopes that they lack, now or later', async () => {
    const { key } = await createStaffKey(app, conference, ['keys:write', 'vouchers:read'])
    const post = (body: Body) =>
      app.request<User>('POST', `${conference.path}/users`, { as: key, body })
    const more = { email: address(), role: 'staff', scopes: ['refunds:write'] }
    expect(await post(more)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    const less = await post({ ...more, scopes: ['vouchers:read'] })
    expect(less.status).toBe(201)
    const change = (scopes: string[]) =>
      app.request('PATCH', `${conference.path}/users/${less.body.id}`, {
        as: key,
        body: { scopes },
      })
    expect(await change(['vouchers:read', 'refunds:write'])).toMatchObject({ status: 403 })
    expect(await change([])).toMatchObject({ status: 200, body: { scopes: [] } })
  })

  it('lets a sponsor invite and remove its own colleagues, and see nobody else', async () => {
    const { key } = await createSponsorKey(app, conference, sponsor)
    const rival = (await createSponsor(app, conference)).id
    const stranger = await invite({ email: address(), role: 'sponsor', sponsor: rival })
    const post = (body: Body) =>
      app.request<User>('POST', `${conference.path}/users`, {
        as: key,
        body: { email: address(), ...body },
      })
    const colleague = await post({ role: 'sponsor' })
    expect(colleague).toMatchObject({ status: 201, body: { sponsor } })
    expect(await post({ role: 'staff' })).toMatchObject({ status: 403 })
    expect(await post({ role: 'sponsor', sponsor: rival })).toMatchObject({ status: 400 })
    const list = await app.request<{ data: User[] }>('GET', `${conference.path}/users`, { as: key })
    expect(new Set(list.body.data.map((user) => user['sponsor']))).toEqual(new Set([sponsor]))
    const remove = (id: string) =>
      app.request('DELETE', `${conference.path}/users/${id}`, { as: key })
    expect(await remove(stranger.id)).toMatchObject({ status: 404 })
    expect(await remove(colleague.body.id)).toMatchObject({ status: 204 })
    expect(await remove(colleague.body.id)).toMatchObject({ status: 404 })
  })

  it('makes operators, who may use every conference', async () => {
    const email = address()
    const user = await invite({ email, name: 'Ada' }, '/v1/users')
    expect(user).toMatchObject({ role: 'operator', sponsor: null, scopes: [] })
    const browser = await signIn(email)
    expect(await browser('GET', conference.path)).toMatchObject({ status: 200 })
    expect(await browser('GET', other.path)).toMatchObject({ status: 200 })
    expect(await browser('GET', '/v1/conferences')).toMatchObject({ status: 200 })
  })
})

describe('signing in', () => {
  it('answers the same for every address, and adds a job for each', async () => {
    const email = address()
    await invite({ email, role: 'staff', scopes: [] })
    const ask = (body: Body) => app.request('POST', '/v1/sign-in', { as: null, body })
    const known = await ask({ email })
    const unknown = await ask({ email: 'nobody@example.org' })
    expect(known).toMatchObject({ status: 202, body: { object: 'sign_in_request' } })
    expect([unknown.status, unknown.body]).toEqual([known.status, known.body])
    expect(await linkFor('nobody@example.org')).toBeNull()
    expect(await ask({ email: 'x' })).toMatchObject({ status: 400 })
  })

  it('sets a cookie that scripts cannot read, for a link that works once', async () => {
    const email = address()
    await invite({ email, role: 'staff', scopes: ['catalog:write'] })
    const link = await linkFor(email.toUpperCase())
    expect(link).toMatch(/^https:\/\/vouchers\.example\.org\/sign-in#token=[0-9A-Za-z]{21}_\w{40}$/)
    const open = () =>
      app.request('POST', '/v1/sessions', { as: null, body: { token: tokenOf(link) } })
    const opened = await open()
    expect(opened.status).toBe(201)
    const cookie = String(opened.headers['set-cookie'])
    expect(cookie).toMatch(/^sv_session=\w+; Expires=.*; Path=\/; HttpOnly; SameSite=Lax$|HttpOnly/)
    expect(cookie).not.toContain('Secure')
    const [text = ''] = cookie.split(';')
    expect(await browserWith(text)('GET', '/v1/me')).toMatchObject({
      status: 200,
      body: {
        email,
        access: [
          {
            role: 'staff',
            conference: { slug: conference.slug, currency: 'EUR' },
            sponsor: null,
            scopes: ['catalog:write'],
          },
        ],
      },
    })
    expect(await open()).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
    const stored = JSON.stringify([
      await app.rows('select * from sessions'),
      await app.rows('select * from sign_in_links'),
    ])
    expect(stored).not.toContain(text.slice(-40))
    expect(stored).not.toContain(tokenOf(link).slice(-40))
  })

  it('uses a link once when it is opened twice at the same moment', async () => {
    const email = address()
    await invite({ email, role: 'staff', scopes: [] })
    const token = tokenOf(await linkFor(email))
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, () => signInWithLink(app.db, token, undefined)),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('refuses a link after 15 minutes, and a wrong secret', async () => {
    const email = address()
    await invite({ email, role: 'staff', scopes: [] })
    const token = tokenOf(await linkFor(email))
    await expect(signInWithLink(app.db, `${token.slice(0, -1)}!`, '')).rejects.toThrow(
      'Request another one',
    )
    const [id, secret = ''] = token.split('_')
    const wrong = `${id}_${secret.slice(1)}${secret.slice(0, 1)}`
    await expect(signInWithLink(app.db, wrong, '')).rejects.toThrow('used already')
    await app.rows(`update sign_in_links set expires_at = now() where email_key = lower($1)`, [
      email,
    ])
    await expect(signInWithLink(app.db, token, '')).rejects.toThrow('older than 15 minutes')
  })

  it('gives an address at most as many links as it may have', async () => {
    const email = address()
    await invite({ email, role: 'staff', scopes: [] })
    const links = []
    for (let count = 0; count < 4; count += 1) {
      links.push(await createSignInLink(app.db, email, WEB, 3))
    }
    expect(links.map((link) => link !== null)).toEqual([true, true, true, false])
  })
})

describe('a session', () => {
  it('acts with the scopes of the user in each conference, and appears in the history by its id', async () => {
    const email = address()
    const buyer = await invite({ email, role: 'sponsor', sponsor })
    await invite({ email, role: 'staff', scopes: ['catalog:write'] }, `${other.path}/users`)
    const browser = await signIn(email)
    expect(await browser('GET', `${other.path}/sponsors`)).toMatchObject({ status: 200 })
    expect(await browser('GET', `${conference.path}/sponsors`)).toMatchObject({ status: 403 })
    const third = await createConference(app)
    expect(await browser('GET', third.path)).toMatchObject({ status: 404 })
    const ticket = await app.request<{ id: string }>('POST', `${conference.path}/ticket-types`, {
      body: { name: unique('Seat'), price: 1_000, bulk_enabled: true },
    })
    const bought = await browser('POST', `${conference.path}/purchases`, {
      ticket_type: ticket.body.id,
      quantity: 2,
    })
    expect(bought).toMatchObject({
      status: 201,
      body: { sponsor, requested_by: buyer.id, requested_by_name: email },
    })
  })

  it('ends with the removal of the user, in every process', async () => {
    const email = address()
    const user = await invite({ email, role: 'staff', scopes: [...SCOPES] })
    const browser = await signIn(email)
    expect(await browser('GET', conference.path)).toMatchObject({ status: 200 })
    const second = await startTestProcess(app.connectionString)
    try {
      await second.request('DELETE', `${conference.path}/users/${user.id}`)
    } finally {
      await second.close()
    }
    expect(await browser('GET', conference.path)).toMatchObject({ status: 401 })
  })

  it('is refused for a write that another site makes the browser send', async () => {
    const email = address()
    await invite({ email, role: 'staff', scopes: ['catalog:write'] })
    const { cookie } = await signInWithLink(app.db, tokenOf(await linkFor(email)), '')
    const post = (from: Record<string, string>) =>
      browserWith(`sv_session=${cookie}`, from)('POST', `${conference.path}/sponsors`, {
        name: unique('Acme'),
      })
    const foreign = { status: 403, body: { code: 'forbidden' } }
    expect(await post({})).toMatchObject(foreign)
    expect(await post({ 'sec-fetch-site': 'cross-site' })).toMatchObject(foreign)
    expect(await post({ 'sec-fetch-site': 'same-site' })).toMatchObject(foreign)
    expect(await post({ origin: 'https://evil.example' })).toMatchObject(foreign)
    expect(await post({ origin: 'null' })).toMatchObject(foreign)
    expect(await post({ origin: 'http://localhost', host: 'localhost' })).toMatchObject({
      status: 201,
    })
    expect(await post({ 'sec-fetch-site': 'same-origin' })).toMatchObject({ status: 201 })
  })

  it('is listed with the others of the person, and each of them can be ended', async () => {
    const email = address()
    await invite({ email, role: 'staff', scopes: [] })
    const phone = await signIn(email)
    const laptop = await signIn(email)
    type Sessions = { data: { id: string; current: boolean; user_agent: string }[] }
    const { body } = await phone('GET', '/v1/sessions')
    const { data } = body as Sessions
    expect(data.map(({ current }) => current)).toEqual(expect.arrayContaining([false, true]))
    expect(data[0]).toMatchObject({ method: 'link', user_agent: 'A browser' })
    const stranger = address()
    await invite({ email: stranger, role: 'staff', scopes: [] })
    const another = data.find(({ current }) => !current)?.id ?? ''
    expect(await (await signIn(stranger))('DELETE', `/v1/sessions/${another}`)).toMatchObject({
      status: 404,
    })
    expect(await phone('DELETE', `/v1/sessions/${another}`)).toMatchObject({ status: 204 })
    expect(await laptop('GET', '/v1/me')).toMatchObject({ status: 401 })
    const left = await phone('DELETE', '/v1/sessions/current')
    expect(left.status).toBe(204)
    expect(String(left.headers['set-cookie'])).toMatch(/^sv_session=;/)
    expect(await phone('GET', '/v1/me')).toMatchObject({ status: 401 })
  })

  it('ends after twelve hours without a request, and after seven days', async () => {
    const email = address()
    await invite({ email, role: 'staff', scopes: [] })
    const browser = await signIn(email)
    const age = (changes: string) =>
      app.rows(`update sessions set ${changes} where email_key = lower($1)`, [email])
    await age(`last_seen_at = now() - interval '11 hours'`)
    expect(await browser('GET', '/v1/me')).toMatchObject({ status: 200 })
    const [seen] = await app.rows<{ recent: boolean }>(
      `select last_seen_at > now() - interval '1 minute' as recent from sessions
       where email_key = lower($1)`,
      [email],
    )
    expect(seen).toEqual({ recent: true })
    await age(`last_seen_at = now() - interval '12 hours'`)
    expect(await browser('GET', '/v1/me')).toMatchObject({ status: 401 })
    await age(`last_seen_at = now(), expires_at = now()`)
    expect(await browser('GET', '/v1/me')).toMatchObject({ status: 401 })
  })

  it('has a cookie for https only, bound to the host, when the service has an https address', async () => {
    const secure = await startTestProcess(app.connectionString, { env: { PUBLIC_URL: WEB } })
    try {
      const email = address()
      await invite({ email, role: 'staff', scopes: [] })
      const body = { token: tokenOf(await linkFor(email)) }
      const { headers } = await secure.request('POST', '/v1/sessions', { as: null, body })
      const cookie = String(headers['set-cookie'])
      expect(cookie).toMatch(/^__Host-sv_session=/)
      expect(cookie).toContain('Secure')
    } finally {
      await secure.close()
    }
  })
})

describe('an API key', () => {
  it('learns who it is, and has no sessions', async () => {
    const { key, id } = await createSponsorKey(app, conference, sponsor)
    const get = (path: string) => app.request('GET', path, { as: key })
    expect(await get('/v1/me')).toMatchObject({
      body: {
        email: null,
        session: null,
        access: [{ id, role: 'sponsor', sponsor: { id: sponsor } }],
      },
    })
    expect(await get('/v1/sessions')).toMatchObject({ body: { data: [] } })
  })
})
