import { describe, expect, it } from 'vitest'
import { createConference, createStaffKey } from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'

const limited = {
  status: 429,
  body: { code: 'rate_limited', status: 429 },
  headers: {
    'content-type': expect.stringMatching(/^application\/problem\+json/),
    'retry-after': expect.stringMatching(/^[1-9]\d*$/),
  },
}

describe('requests', () => {
  const app = useTestApp({ env: { RATE_LIMIT_PER_MINUTE: '10' } })

  it('are limited per key, from any address', async () => {
    const conference = await createConference(app)
    const one = await createStaffKey(app, conference, [])
    const two = await createStaffKey(app, conference, [])
    const ask = (key: string) => app.request('GET', conference.path, { as: key })
    for (let left = 9; left >= 0; left -= 1) {
      expect(await ask(one.key)).toMatchObject({
        status: 200,
        headers: {
          'x-ratelimit-limit': '10',
          'x-ratelimit-remaining': String(left),
          'x-ratelimit-reset': expect.stringMatching(/^([1-5]?\d|60)$/),
        },
      })
    }
    const refused = await ask(one.key)
    expect(refused).toMatchObject(limited)
    expect(refused).toMatchObject({ headers: { 'x-ratelimit-remaining': '0' } })
    expect(await ask(two.key)).toMatchObject({ status: 200 })
  })
})

describe('logins', () => {
  const app = useTestApp({ env: { FAILED_LOOKUPS_PER_MINUTE: '2' } })

  it('that fail are counted per address, which then has to wait', async () => {
    const conference = await createConference(app)
    const { key } = await createStaffKey(app, conference, [])
    const guess = () => app.request('GET', conference.path, { as: 'sv_staff_guess' })
    for (let i = 0; i < 6; i += 1) expect(await guess()).toMatchObject({ status: 401 })
    expect(await guess()).toMatchObject(limited)
    const right = () => app.request('GET', conference.path, { as: key })
    expect(await right(), 'a good key from the same address').toMatchObject({ status: 200 })
  })
})
