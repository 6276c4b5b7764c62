import { beforeAll, describe, expect, it } from 'vitest'
import { createConference } from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'
import { useOutgoingScene } from './outbound-webhook-scene.ts'

const app = useOutgoingScene()
const strict = useTestApp()

let path = ''
beforeAll(async () => {
  path = (await createConference(app)).path
})

const url = 'https://receiver.example/hooks'

describe('an endpoint', () => {
  it('shows its secret once, and stores it encrypted', async () => {
    const made = await app.addEndpoint(path, { url, event_types: ['purchase.paid'] })
    expect(made).toMatchObject({
      object: 'webhook_endpoint',
      url,
      description: null,
      event_types: ['purchase.paid'],
      enabled: true,
    })
    expect(made.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    const masked = `whsec_****${made.secret.slice(-4)}`
    const read = await app.request('GET', `${path}/webhook-endpoints/${made.id}`)
    expect(read.body).toEqual({ ...made, secret: masked })
    const list = await app.request('GET', `${path}/webhook-endpoints`)
    expect(list.body['data']).toContainEqual(read.body)
    const rows = JSON.stringify(await app.rows('select * from webhook_endpoints'))
    expect(rows).not.toContain(made.secret.slice(6))
  })

  it('is created once per Idempotency-Key, and a repeat shows the same secret', async () => {
    const { path } = await createConference(app)
    const make = () =>
      app.request('POST', `${path}/webhook-endpoints`, {
        body: { url },
        headers: { 'idempotency-key': 'the-portal' },
      })
    const [first, second] = [await make(), await make()]
    expect(second.body).toEqual(first.body)
    const list = await app.request<{ data: unknown[] }>('GET', `${path}/webhook-endpoints`)
    expect(list.body.data).toHaveLength(1)
  })

  it('is changed, disabled, enabled and deleted', async () => {
    const { id } = await app.addEndpoint(path, { url, description: 'Portal' })
    const one = `${path}/webhook-endpoints/${id}`
    const patch = (body: object) => app.request('PATCH', one, { body })
    expect(
      (await patch({ event_types: ['vouchers.issued'], description: null })).body,
    ).toMatchObject({ url, description: null, event_types: ['vouchers.issued'], enabled: true })
    expect((await patch({ event_types: null, enabled: false })).body).toMatchObject({
      event_types: null,
      enabled: false,
      disabled_by: 'staff',
    })
    expect((await patch({ enabled: true })).body).toMatchObject({
      enabled: true,
      disabled_by: null,
      disabled_at: null,
    })
    expect((await app.request('DELETE', one)).status).toBe(204)
    expect((await app.request('GET', one)).status).toBe(404)
    expect((await app.request('DELETE', one)).status).toBe(404)
  })

  it.each([
    ['http://receiver.example/hooks', 'must begin with https://'],
    ['ftp://receiver.example/', 'must begin with https://'],
    ['receiver.example', 'must be a URL such as https://example.org/hooks'],
    ['https://user:word@receiver.example/', 'must not contain a user name or password'],
    ['https://receiver.example/#part', 'must not contain a fragment'],
    [`https://receiver.example/${'x'.repeat(2_000)}`, 'must have at most 2000 characters'],
  ])('is not %s', async (wrong, detail) => {
    const answer = await app.request('POST', `${path}/webhook-endpoints`, { body: { url: wrong } })
    expect(answer).toMatchObject({
      status: 400,
      body: { code: 'validation_failed', errors: [{ pointer: '/url', detail }] },
    })
  })

  it.each(['http://127.0.0.1:9999/', 'https://localhost/', 'https://[::1]/'])(
    'may be on this machine (%s) only if a setting allows it',
    async (wrong) => {
      await app.addEndpoint(path, { url: wrong })
      const { path: there } = await createConference(strict)
      const body = { url: wrong }
      const answer = await strict.request('POST', `${there}/webhook-endpoints`, { body })
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/url' }] } })
    },
  )

  it('refuses an unknown type and an unknown field', async () => {
    const post = (body: object) => app.request('POST', `${path}/webhook-endpoints`, { body })
    expect(await post({ url, event_types: ['purchase.exploded'] })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/event_types/0' }] },
    })
    expect(await post({ url, event_types: [] })).toMatchObject({ status: 400 })
    expect(await post({ url, secret: 'whsec_mine' })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/secret' }] },
    })
  })

  it('is one of sixteen at most, also when many are added at the same time', async () => {
    const { path } = await createConference(app)
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        app.request('POST', `${path}/webhook-endpoints`, { body: { url } }),
      ),
    )
    const statuses = answers.map(({ status }) => status).toSorted((a, b) => a - b)
    expect(statuses).toEqual([...Array(16).fill(201), ...Array(4).fill(400)])
  })
})
