import { describe, expect, it } from 'vitest'
import { createConference } from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'

const PORTAL = 'https://portal.example.org'

const ask = (origin: string) => ({ headers: { origin } })

const preflight = (origin: string) => ({
  as: null,
  headers: {
    origin,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization,idempotency-key',
  },
})

describe('a web page of an origin in CORS_ORIGINS', () => {
  const app = useTestApp({ env: { CORS_ORIGINS: `${PORTAL}, https://staff.example.org` } })

  it('may call the API with a key and read its headers', async () => {
    const { path } = await createConference(app)
    const asked = await app.app.inject({ method: 'OPTIONS', url: path, ...preflight(PORTAL) })
    expect(asked.statusCode).toBe(204)
    expect(asked.headers).toMatchObject({
      'access-control-allow-origin': PORTAL,
      'access-control-allow-methods': expect.stringContaining('POST'),
      'access-control-allow-headers': expect.stringContaining('Idempotency-Key'),
    })
    const answer = await app.request('GET', path, ask(PORTAL))
    expect(answer).toMatchObject({
      status: 200,
      headers: {
        'access-control-allow-origin': PORTAL,
        'access-control-expose-headers': expect.stringContaining('Request-Id'),
      },
    })
    expect(answer.headers).not.toHaveProperty('access-control-allow-credentials')
  })

  it('reads errors too', async () => {
    const { headers, status } = await app.request('GET', '/v1/conferences', {
      as: 'sv_staff_wrong',
      ...ask(PORTAL),
    })
    expect(status).toBe(401)
    expect(headers).toMatchObject({ 'access-control-allow-origin': PORTAL })
  })

  it('is the only one: pages of other origins may not', async () => {
    const { path } = await createConference(app)
    const { headers } = await app.request('GET', path, ask('https://evil.example'))
    expect(headers).not.toHaveProperty('access-control-allow-origin')
  })
})

describe('without CORS_ORIGINS', () => {
  const app = useTestApp()

  it('no web page of another origin may call the API', async () => {
    const { path } = await createConference(app)
    const { headers } = await app.request('GET', path, ask(PORTAL))
    expect(headers).not.toHaveProperty('access-control-allow-origin')
    const asked = await app.app.inject({ method: 'OPTIONS', url: path, ...preflight(PORTAL) })
    expect(asked.statusCode).toBe(405)
  })
})
