import { describe, expect, it } from 'vitest'
import { readWebhookReceivers } from '../../src/conferences/stripe-credentials.ts'
import { createEncryption } from '../../src/shared/cryptography.ts'
import {
  createConference,
  createSponsor,
  createSponsorKey,
  createStaffKey,
} from '../support/fixtures.ts'
import { type Body, TEST_ENCRYPTION_KEY, useTestApp } from '../support/test-app.ts'

const app = useTestApp()

const SECRET = 'whsec_0123456789abcdefWXYZ'

const activeSecrets = async (conferenceId: string) => {
  const encryption = createEncryption(TEST_ENCRYPTION_KEY)
  const [receiver] = await readWebhookReceivers(app.db, encryption, [conferenceId])
  return receiver?.secrets.map(({ value }) => value)
}

describe('webhook secrets', () => {
  it('can be several until they are deleted, and are always masked', async () => {
    const conference = await createConference(app, { stripe_webhook_secret: 'whsec_firstone1' })
    const path = `${conference.path}/webhook-secrets`
    const made = await app.request('POST', path, { body: { secret: SECRET } })
    expect(made).toMatchObject({
      status: 201,
      body: {
        id: expect.stringMatching(/^whs_/),
        object: 'webhook_secret',
        secret: 'whsec_****WXYZ',
      },
    })
    expect(await activeSecrets(conference.id)).toEqual(['whsec_firstone1', SECRET])
    const list = await app.request<{ data: (Body & { id: string })[] }>('GET', path)
    expect(list.body.data.map(({ secret }) => secret)).toEqual(['whsec_****WXYZ', 'whsec_****one1'])
    const oldest = list.body.data[1]?.id
    expect(await app.request('DELETE', `${path}/${oldest}`)).toMatchObject({
      status: 204,
      body: '',
    })
    expect(await activeSecrets(conference.id)).toEqual([SECRET])
    expect(await app.request('DELETE', `${path}/${oldest}`)).toMatchObject({ status: 404 })
  })

  it('are stored encrypted', async () => {
    const conference = await createConference(app, { stripe_webhook_secret: SECRET })
    const rows = await app.rows('select * from webhook_secrets where conference_id = $1', [
      conference.id,
    ])
    expect(rows).toMatchObject([{ secret_sealed: expect.stringMatching(/^v1:/), last4: 'WXYZ' }])
    expect(JSON.stringify(rows)).not.toContain(SECRET.slice(6, -4))
  })

  it('of another format are refused without repeating them', async () => {
    const { path } = await createConference(app)
    for (const secret of ['sk_test_0123456789', 'whsec_', 'whsec_with space', 7, null]) {
      const answer = await app.request('POST', `${path}/webhook-secrets`, { body: { secret } })
      expect(answer).toMatchObject({
        status: 400,
        body: { code: 'validation_failed', errors: [{ pointer: '/secret' }] },
      })
    }
    const answer = await app.request('POST', `${path}/webhook-secrets`, {
      body: { secret: 'wrongsec_0123456789' },
    })
    expect(JSON.stringify(answer.body)).not.toContain('wrongsec')
  })

  it('require an operator key or settings:write', async () => {
    const conference = await createConference(app)
    const sponsor = await createSponsor(app, conference)
    const settings = await createStaffKey(app, conference, ['settings:write'])
    const catalog = await createStaffKey(app, conference, ['catalog:write'])
    const buyer = await createSponsorKey(app, conference, sponsor.id)
    const path = `${conference.path}/webhook-secrets`
    const body = { secret: SECRET }
    const { body: made } = await app.request('POST', path, { as: settings.key, body })
    for (const { key: as } of [catalog, buyer]) {
      const forbidden = { status: 403, body: { code: 'forbidden' } }
      expect(await app.request('POST', path, { as, body })).toMatchObject(forbidden)
      expect(await app.request('GET', path, { as })).toMatchObject(forbidden)
      expect(await app.request('DELETE', `${path}/${String(made['id'])}`, { as })).toMatchObject(
        forbidden,
      )
    }
    expect(await activeSecrets(conference.id)).toEqual([SECRET])
  })

  it('of another conference answer 404', async () => {
    const [own, other] = [await createConference(app), await createConference(app)]
    const { key } = await createStaffKey(app, own, ['settings:write'])
    const { body } = await app.request('POST', `${other.path}/webhook-secrets`, {
      body: { secret: SECRET },
    })
    for (const { path } of [own, other]) {
      const url = `${path}/webhook-secrets/${String(body['id'])}`
      expect(await app.request('DELETE', url, { as: key })).toMatchObject({ status: 404 })
    }
    expect(await activeSecrets(other.id)).toEqual([SECRET])
  })
})
