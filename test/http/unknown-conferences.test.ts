import { describe, expect, it } from 'vitest'
import { createSignInLink, signInWithLink } from '../../src/access/sign-in.ts'
import { createConference, createStaffKey, unique } from '../support/fixtures.ts'
import { roundTripsOf } from '../support/round-trips.ts'
import { useTestApp } from '../support/test-app.ts'

const app = useTestApp({ env: { FAILED_LOOKUPS_PER_MINUTE: '4' } })

/** Counts the transactions that `work` begins; a scoped statement is one of its own. */
async function transactionsOf(work: () => Promise<void>): Promise<number> {
  const messages = await roundTripsOf(work)
  return messages.filter((text) => /^begin/i.test(text)).length
}

const notFound = { status: 404, body: { code: 'not_found' } }

describe('conferences that do not exist', () => {
  it('cost webhooks without a signature no transaction each, and delay no known conference (issue 8, line 23)', async () => {
    const { slug } = await createConference(app)
    const send = (name: string) =>
      app.request('POST', `/webhooks/stripe/${name}`, { as: null, body: {} })
    expect(await send(slug)).toMatchObject({ status: 400, body: { code: 'invalid_signature' } })
    const same = await transactionsOf(async () => {
      for (let i = 0; i < 30; i += 1) expect(await send('gone')).toMatchObject(notFound)
    })
    expect(same).toBe(1)
    const distinct = await transactionsOf(async () => {
      for (let i = 0; i < 100; i += 1) await send(`unknown-${i}`)
    })
    expect(distinct).toBeLessThanOrEqual(12)
    const refused = await send('one-more')
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } })
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    expect(await send(slug)).toMatchObject({ status: 400, body: { code: 'invalid_signature' } })
  })

  it('cost a key of another conference no transaction each (issue 8, line 23)', async () => {
    const conference = await createConference(app)
    const { key } = await createStaffKey(app, conference, [])
    const get = (name: string) => app.request('GET', `/v1/conferences/${name}`, { as: key })
    expect(await get(conference.slug)).toMatchObject({ status: 200 })
    const authentication = 100
    const begun = await transactionsOf(async () => {
      for (let i = 0; i < 100; i += 1) await get(`other-${i}`)
    })
    expect(begun).toBeLessThanOrEqual(authentication + 12 + 1)
    expect(await get('other-one')).toMatchObject({ status: 429, body: { code: 'rate_limited' } })
    expect(await get(conference.slug)).toMatchObject({ status: 200 })
  })

  it('are counted for a person, not for each of their sessions', async () => {
    const { path } = await createConference(app)
    const email = `${unique('person')}@example.org`
    const body = { email, role: 'staff', scopes: [] }
    expect(await app.request('POST', `${path}/users`, { body })).toMatchObject({ status: 201 })
    const get = async (name: string) => {
      const link = await createSignInLink(app.db, email, 'https://vouchers.example', 100)
      const { cookie } = await signInWithLink(app.db, link?.split('=')[1] ?? '', undefined)
      const headers = { cookie: `sv_session=${cookie}` }
      return app.request('GET', `/v1/conferences/${name}`, { as: null, headers })
    }
    for (let i = 0; i < 12; i += 1) expect(await get(unique('nowhere'))).toMatchObject(notFound)
    expect(await get('nowhere-else')).toMatchObject({ status: 429 })
  })
})
