import { describe, expect, it } from 'vitest'
import { createConference, createStaffKey, type KeyMade } from '../support/fixtures.ts'
import { type Body, useTestApp } from '../support/test-app.ts'

const app = useTestApp()

const refusal = (pointer: string) => ({
  status: 400,
  body: { code: 'validation_failed', errors: [expect.objectContaining({ pointer })] },
})

const forbidden = { status: 403, body: { code: 'forbidden' } }
const notFound = { status: 404, body: { code: 'not_found' } }
const soon = () => new Date(Date.now() + 3_600_000).toISOString()

/** Whether the service accepts this key. */
async function isLetIn(conference: { path: string }, key: string): Promise<boolean> {
  const { status } = await app.request('GET', `${conference.path}/ticket-types`, { as: key })
  return status !== 401
}

describe('rotating a key', () => {
  it('issues a successor with the same rights, and both keys work for a day', async () => {
    const conference = await createConference(app)
    const old = await createStaffKey(app, conference, ['catalog:write'], { name: 'Importer' })
    const path = `${conference.path}/api-keys/${old.id}/rotate`
    const { status, body } = await app.request<KeyMade>('POST', path, { body: {} })
    expect(status).toBe(201)
    expect(body).toMatchObject({
      role: 'staff',
      scopes: ['catalog:write'],
      name: 'Importer',
      expires_at: null,
    })
    expect(body.id).not.toBe(old.id)
    expect(await isLetIn(conference, old.key)).toBe(true)
    expect(await isLetIn(conference, body.key)).toBe(true)
    const [row] = await app.rows<{ rotated_to: string; days: number }>(
      `select rotated_to, extract(epoch from expires_at - now())::float / 86400 as days
       from api_keys where id = $1`,
      [old.id],
    )
    expect(row?.rotated_to).toBe(body.id)
    expect(row?.days).toBeCloseTo(1, 2)
  })

  it('expires the old key after overlap_seconds, here 0', async () => {
    const conference = await createConference(app)
    const old = await createStaffKey(app, conference, ['catalog:write'])
    const path = `${conference.path}/api-keys/${old.id}/rotate`
    const { body } = await app.request<KeyMade>('POST', path, { body: { overlap_seconds: 0 } })
    expect(await isLetIn(conference, old.key)).toBe(false)
    expect(await isLetIn(conference, body.key)).toBe(true)
  })

  it('never extends the expiry of a key or of its successor', async () => {
    const conference = await createConference(app)
    const expiresAt = soon()
    const old = await createStaffKey(app, conference, [], { expires_at: expiresAt })
    const path = `${conference.path}/api-keys/${old.id}/rotate`
    const { body } = await app.request('POST', path)
    expect(body).toMatchObject({ expires_at: expiresAt })
    const list = await app.request('GET', `${conference.path}/api-keys`)
    expect(list.body).toMatchObject({
      data: [{ expires_at: expiresAt }, { id: old.id, expires_at: expiresAt }],
    })
  })

  it('is refused for a rotated, revoked or expired key', async () => {
    const conference = await createConference(app)
    const rotate = (id: string) => app.request('POST', `${conference.path}/api-keys/${id}/rotate`)
    const wrongState = { status: 409, body: { code: 'wrong_state' } }
    const twice = await createStaffKey(app, conference, [])
    const { body } = await rotate(twice.id)
    expect(await rotate(twice.id)).toMatchObject({
      ...wrongState,
      body: { detail: expect.stringContaining(String(body['id'])) },
    })
    const revoked = await createStaffKey(app, conference, [])
    await app.request('DELETE', `${conference.path}/api-keys/${revoked.id}`)
    expect(await rotate(revoked.id)).toMatchObject(wrongState)
    const expired = await createStaffKey(app, conference, [], { expires_at: soon() })
    await app.rows('update api_keys set expires_at = now() where id = $1', [expired.id])
    expect(await rotate(expired.id)).toMatchObject(wrongState)
    expect(await rotate('key_none')).toMatchObject(notFound)
  })

  it('grants no scope that the rotating key lacks', async () => {
    const conference = await createConference(app)
    const strong = await createStaffKey(app, conference, ['refunds:write'])
    const weak = await createStaffKey(app, conference, ['keys:write'])
    const rotate = (id: string, body: Body = {}) =>
      app.request('POST', `${conference.path}/api-keys/${id}/rotate`, { as: weak.key, body })
    expect(await rotate(strong.id)).toMatchObject(forbidden)
    expect(await rotate(weak.id)).toMatchObject({ status: 201 })
  })

  it('accepts an overlap of 0 seconds to 30 days', async () => {
    const conference = await createConference(app)
    const { id } = await createStaffKey(app, conference, [])
    const path = `${conference.path}/api-keys/${id}/rotate`
    for (const overlap of [-1, 1.5, 30 * 86_400 + 1, '60', null]) {
      expect(await app.request('POST', path, { body: { overlap_seconds: overlap } })).toMatchObject(
        refusal('/overlap_seconds'),
      )
    }
    expect(
      await app.request('POST', path, { body: { overlap_seconds: 30 * 86_400 } }),
    ).toMatchObject({ status: 201 })
  })

  it('creates one successor when two people rotate at the same time', async () => {
    const conference = await createConference(app)
    const { id } = await createStaffKey(app, conference, [])
    const path = `${conference.path}/api-keys/${id}/rotate`
    const answers = await Promise.all([1, 2, 3].map(() => app.request('POST', path)))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(2)
  })
})
