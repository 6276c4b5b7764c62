import { expect, it } from 'vitest'
import { createSignInLink, signInWithLink } from '../../src/access/sign-in.ts'
import { createConference, unique } from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'

const app = useTestApp()

async function invite(email: string, { path }: { path: string }): Promise<string> {
  const body = { email, role: 'staff', scopes: [] }
  const made = await app.request<{ id: string }>('POST', `${path}/users`, { body })
  expect(made.status).toBe(201)
  return made.body.id
}

async function tokenFor(email: string): Promise<string> {
  const link = await createSignInLink(app.db, email, 'https://vouchers.example.org', 100)
  return link?.split('#token=')[1] ?? ''
}

/** Reads with a new session of the address. */
async function signIn(email: string) {
  const { cookie } = await signInWithLink(app.db, await tokenFor(email), undefined)
  const headers = { cookie: `sv_session=${cookie}` }
  return async (path: string) => (await app.request('GET', path, { as: null, headers })).status
}

it('a session does not come back to life when a removed person is invited again', async () => {
  const [conference, other, third] = [
    await createConference(app),
    await createConference(app),
    await createConference(app),
  ]
  const email = `${unique('person')}@example.org`
  const user = await invite(email, conference)
  await invite(email, other)
  const stolen = await signIn(email)
  expect(await stolen(conference.path)).toBe(200)
  await app.request('DELETE', `${conference.path}/users/${user}`)
  await invite(email, conference)
  expect(await stolen(conference.path)).toBe(404)
  expect(await stolen(other.path)).toBe(200)
  const own = await signIn(email)
  expect(await own(conference.path)).toBe(200)
  await invite(email, third)
  expect(await own(third.path)).toBe(200)
  expect(await stolen(third.path)).toBe(404)
})

it('a session does not begin when another site sends the link of an attacker', async () => {
  const email = `${unique('person')}@example.org`
  await invite(email, await createConference(app))
  const body = { token: await tokenFor(email) }
  const send = (headers: Record<string, string>) =>
    app.request('POST', '/v1/sessions', { as: null, body, headers })
  for (const site of ['cross-site', 'same-site', 'none']) {
    expect(await send({ 'sec-fetch-site': site })).toMatchObject({ status: 403 })
  }
  // What a form of another site can send.
  expect(await send({ 'content-type': 'text/plain' })).toMatchObject({ status: 400 })
  expect(await send({ 'sec-fetch-site': 'same-origin' })).toMatchObject({ status: 201 })
})
