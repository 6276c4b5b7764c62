import { expect, it } from 'vitest'
import { claimEventCheck, releaseEventCheck } from '../../src/conferences/event-check-store.ts'
import { withTenant } from '../../src/db/tenant-scope.ts'
import {
  createConference,
  createSponsor,
  createStaffKey,
  type KeyMade,
  unique,
} from '../support/fixtures.ts'
import { type Body, useTestApp } from '../support/test-app.ts'

const app = useTestApp()

type Entry = { action: string; subject: { kind: string; id: string }; actor: Body; changes: Body }

async function logOf(path: string, query = ''): Promise<Entry[]> {
  const { body } = await app.request<{ data: Entry[] }>('GET', `${path}/audit-log${query}`)
  return body.data
}

it('The audit log says who changed which setting, from what to what', async () => {
  const conference = await createConference(app)
  const staff = await createStaffKey(app, conference, ['settings:write'], { name: 'Front desk' })
  await app.request('PATCH', conference.path, { as: staff.key, body: { name: 'Renamed' } })
  const [entry] = await logOf(conference.path)
  expect(entry).toEqual({
    id: expect.stringMatching(/^\d+$/),
    object: 'audit_entry',
    created_at: expect.any(String),
    actor: { kind: 'staff', id: staff.id, name: 'Front desk' },
    action: 'changed',
    subject: { kind: 'conference', id: conference.id, name: null },
    changes: { name: { from: conference['name'], to: 'Renamed' } },
  })
  const own = await logOf(conference.path, `?actor=${staff.id}`)
  expect(own).toEqual([entry])
  expect(await logOf(conference.path, '?kind=ticket_type')).toEqual([])
})

it('The log has no entry for a row that only the service needs, such as the lease of a check', async () => {
  const conference = await createConference(app)
  const { id: conferenceId } = conference
  await withTenant(app.db, { conferenceId }, async (trx) => {
    expect(await claimEventCheck(trx, conferenceId, 'check-1', 30)).toBe(true)
  })
  await withTenant(app.db, { conferenceId }, (trx) =>
    releaseEventCheck(trx, conferenceId, 'check-1'),
  )
  expect(await logOf(conference.path)).toMatchObject([{ action: 'created' }])
})

it('Every change of settings, keys, users, sponsors and the catalogue is in it, with its caller', async () => {
  const conference = await createConference(app)
  const { path } = conference
  const send = async (method: 'POST' | 'PATCH' | 'DELETE', to: string, body?: Body) => {
    const answer = await app.request<{ id: string }>(method, `${path}${to}`, { body })
    expect(answer.status, `${method} ${to}`).toBeLessThan(300)
    return answer.body?.id
  }
  const sponsor = await createSponsor(app, conference)
  const level = await send('POST', '/sponsor-levels', { name: 'Gold' })
  const ticket = await send('POST', '/ticket-types', { name: unique('Seat'), price: 100 })
  const addOn = await send('POST', '/add-ons', { name: unique('Dinner'), price: 100 })
  const secret = await send('POST', '/webhook-secrets', { secret: 'whsec_0123456789' })
  const hook = await send('POST', '/webhook-endpoints', { url: 'https://acme.example/hook' })
  const user = await send('POST', '/users', {
    email: 'ada@acme.example',
    role: 'sponsor',
    sponsor: sponsor.id,
  })
  const key = await createStaffKey(app, conference, [])
  await send('PATCH', `/sponsors/${sponsor.id}`, { level })
  await send('PATCH', `/ticket-types/${ticket}`, { price: 200 })
  await send('DELETE', `/webhook-secrets/${secret}`)
  await send('DELETE', `/webhook-endpoints/${hook}`)
  await send('DELETE', `/users/${user}`)
  await send('DELETE', `/api-keys/${key.id}`)
  const log = await logOf(path, '?limit=100')
  expect(
    log.toReversed().map(({ action, subject }) => `${action} ${subject.kind} ${subject.id}`),
  ).toEqual([
    `created conference ${conference.id}`,
    `created sponsor ${sponsor.id}`,
    `created sponsor_level ${level}`,
    `created ticket_type ${ticket}`,
    `created add_on ${addOn}`,
    `created webhook_secret ${secret}`,
    `created webhook_endpoint ${hook}`,
    `created user ${user}`,
    `created api_key ${key.id}`,
    `changed sponsor ${sponsor.id}`,
    `changed ticket_type ${ticket}`,
    `deleted webhook_secret ${secret}`,
    `deleted webhook_endpoint ${hook}`,
    `changed user ${user}`,
    `changed api_key ${key.id}`,
  ])
  expect(log.find(({ subject }) => subject.id === sponsor.id)?.subject).toMatchObject({
    name: sponsor['name'],
  })
  expect(log.find(({ subject }) => subject.id === key.id)?.subject).toMatchObject({
    name: key['name'],
  })
  const actors = new Set(log.map(({ actor }) => JSON.stringify(actor)))
  expect(actors).toEqual(
    new Set([JSON.stringify({ kind: 'operator', id: 'operator', name: 'Operator' })]),
  )
})

it('The log holds no secret, no name and no address of a person', async () => {
  const conference = await createConference(app)
  await createSponsor(app, conference, {
    name: 'Ada Lovelace Ltd',
    contact_email: 'ada@lovelace.example',
  })
  const invited = { email: 'grace@hopper.example', name: 'Grace Hopper', role: 'staff', scopes: [] }
  await app.request('POST', `${conference.path}/users`, { body: invited })
  await app.request('POST', `${conference.path}/webhook-secrets`, {
    body: { secret: 'whsec_neverShown123' },
  })
  const { key } = await createStaffKey(app, conference, [])
  const stored = JSON.stringify(await app.rows('select * from audit_log'))
  for (const text of [
    'Lovelace',
    'lovelace.example',
    'hopper.example',
    'Grace',
    'neverShown',
    key,
  ]) {
    expect(stored).not.toContain(text)
  }
  const rows = await app.rows<{ secret_hash: string }>('select secret_hash from api_keys')
  for (const { secret_hash: hash } of rows) expect(stored).not.toContain(hash)
})

it('The use of a key is no change, and a refused change leaves no entry', async () => {
  const conference = await createConference(app)
  const { key } = await createStaffKey(app, conference, ['catalog:write'])
  const before = await logOf(conference.path)
  await app.request('GET', `${conference.path}/sponsors`, { as: key })
  const refused = await app.request<KeyMade>('POST', `${conference.path}/sponsors`, {
    as: key,
    body: { name: 'Acme', level: 'no such level' },
  })
  expect(refused.status).toBe(400)
  expect(await logOf(conference.path)).toEqual(before)
})

it('Not even the service itself can change the log', async () => {
  await createConference(app)
  await expect(app.db.raw('delete from audit_log')).rejects.toThrow(/permission denied/)
  await expect(app.db.raw(`update audit_log set actor_id = 'x'`)).rejects.toThrow(
    /permission denied/,
  )
})
