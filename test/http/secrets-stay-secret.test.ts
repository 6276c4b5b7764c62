import { describe, expect, it } from 'vitest'
import {
  createConference,
  createLevel,
  createSponsor,
  createStaffKey,
  type KeyMade,
} from '../support/fixtures.ts'
import { OPERATOR_KEY, useTestApp } from '../support/test-app.ts'

const lines: string[] = []
const app = useTestApp({ log: { write: (line) => void lines.push(line) } })

/** What was logged while `work` ran. */
async function logOf(work: () => Promise<unknown>): Promise<string> {
  const before = lines.length
  await work()
  return lines.slice(before).join('')
}

const STRIPE_KEY = 'sk_test_theStripeKey7XYZ'
const SIGNING_SECRET = 'whsec_theSigningSecret7QRS'

describe('the Stripe key and the webhook secret of a conference', () => {
  it('are in no response, in no row and in no log line', async () => {
    const answers: unknown[] = []
    const log = await logOf(async () => {
      const conference = await createConference(app, {
        stripe_secret_key: STRIPE_KEY,
        stripe_webhook_secret: SIGNING_SECRET,
      })
      answers.push(conference, await app.request('GET', conference.path))
      answers.push(await app.request('GET', '/v1/conferences'))
      answers.push(await app.request('GET', `${conference.path}/webhook-secrets`))
      answers.push(
        await app.request('PATCH', conference.path, {
          body: { stripe_secret_key: STRIPE_KEY },
          headers: { 'idempotency-key': 'patch-of-secrets' },
        }),
      )
      expect(conference).toMatchObject({ stripe_secret_key: '****7XYZ', livemode: false })
    })
    const rows = [
      await app.rows('select * from conferences'),
      await app.rows('select * from webhook_secrets'),
      await app.rows('select * from idempotency_keys'),
    ]
    for (const text of [JSON.stringify(answers), JSON.stringify(rows), log]) {
      expect(text).not.toContain('theStripeKey')
      expect(text).not.toContain('theSigningSecret')
    }
    expect(log).toContain('/v1/conferences/:conference')
  })

  it('are not repeated when a caller sends them in a wrong field', async () => {
    const { path } = await createConference(app)
    const log = await logOf(async () => {
      const wrong = [
        await app.request('PATCH', path, { body: { stripe_secret_key: SIGNING_SECRET } }),
        await app.request('POST', `${path}/webhook-secrets`, { body: { secret: STRIPE_KEY } }),
        await app.request('POST', `${path}/sponsors`, { body: { name: 'x', slug: STRIPE_KEY } }),
      ]
      for (const answer of wrong) {
        expect(answer.status).toBe(400)
        expect(JSON.stringify(answer.body)).not.toMatch(/theStripeKey|theSigningSecret/)
      }
    })
    expect(log).toContain('validation_failed')
    expect(log).not.toMatch(/theStripeKey|theSigningSecret/)
  })
})

describe('an API key', () => {
  it('is only in the response that creates it', async () => {
    let secret = ''
    const later: unknown[] = []
    const log = await logOf(async () => {
      const conference = await createConference(app)
      const { key, id } = await createStaffKey(app, conference, ['keys:write'])
      secret = key.slice(-40)
      later.push(await app.request('GET', `${conference.path}/api-keys`, { as: key }))
      const rotated = await app.request<KeyMade>(
        'POST',
        `${conference.path}/api-keys/${id}/rotate`,
        { as: key },
      )
      expect(JSON.stringify(rotated.body)).not.toContain(secret)
      later.push(await app.request('GET', conference.path, { as: `${key}x` }))
    })
    expect(JSON.stringify(later)).not.toContain(secret)
    expect(JSON.stringify(await app.rows('select * from api_keys'))).not.toContain(secret)
    expect(log).not.toContain(secret)
    expect(log).not.toContain(OPERATOR_KEY)
    expect(log).toContain('unauthenticated')
  })
})

describe('a voucher code', () => {
  it('that is sent as the name of a field is not logged', async () => {
    const { path } = await createConference(app)
    const log = await logOf(async () => {
      const body = {
        'BULK-ACME-SECRETCODE23': 1,
        count: 1,
        voucher_type: 'comp',
        discount_value: 0,
      }
      const answer = await app.request('POST', `${path}/voucher-batches`, { body })
      expect(answer).toMatchObject({
        status: 400,
        body: { errors: [{ pointer: '/BULK-ACME-SECRETCODE23' }] },
      })
    })
    expect(log).toContain('validation_failed')
    expect(log).not.toContain('SECRETCODE')
  })
})

describe('a failure of the database', () => {
  it('leaves no values or codes of its statement in the log or the response', async () => {
    const conference = await createConference(app)
    const level = await createLevel(app, conference, { comp_ticket_count: 2 })
    await app.rows(`alter table vouchers add constraint no_vouchers check (ordinal < 2) not valid`)
    let answer: unknown
    const log = await logOf(async () => {
      const path = `${conference.path}/sponsors`
      const body = { name: 'Nosy', contact_email: 'ann@private.example', level: level.id }
      answer = await app.request('POST', path, { body })
    })
    await app.rows('alter table vouchers drop constraint no_vouchers')
    expect(answer).toMatchObject({ status: 500, body: { code: 'internal' } })
    expect(log).toContain('no_vouchers')
    expect(log).not.toMatch(/NOSY-[2-9A-Z]{8}/)
    expect(JSON.stringify(answer)).not.toMatch(/no_vouchers|NOSY/)
  })

  it('is logged with its SQLSTATE', async () => {
    const conference = await createConference(app)
    const sponsor = await createSponsor(app, conference, { contact_email: 'old@private.example' })
    await app.rows(
      `alter table sponsors add constraint no_news
       check (contact_email <> 'ann@private.example') not valid`,
    )
    const log = await logOf(async () => {
      const path = `${conference.path}/sponsors/${sponsor.id}`
      const body = { contact_email: 'ann@private.example' }
      expect(await app.request('PATCH', path, { body })).toMatchObject({ status: 500 })
    })
    await app.rows('alter table sponsors drop constraint no_news')
    expect(log).toContain('23514')
    expect(log).not.toContain('private.example')
  })
})
