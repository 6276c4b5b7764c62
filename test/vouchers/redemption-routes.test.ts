import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { createConference, createStaffKey } from '../support/fixtures.ts'
import { roundTripsOf } from '../support/round-trips.ts'
import { type Body, startTestProcess, useTestApp } from '../support/test-app.ts'
import { freePurchase, type ListBody } from './voucher-http.ts'

const app = useTestApp()

const times = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

async function shopWith(maxUses: number) {
  const conference = await createConference(app)
  const shop = await createStaffKey(app, conference, ['vouchers:redeem'])
  const voucher = await freePurchase(app, conference, {
    quantity: 1,
    voucher_config: { max_uses: maxUses },
  })
  const take = (body: Body, headers: Record<string, string> = {}) =>
    app.request<{ id: string }>('POST', `${conference.path}/vouchers/${voucher.code}/redemptions`, {
      as: shop.key,
      body,
      headers,
    })
  const redeem = (reference: unknown, headers: Record<string, string> = {}) =>
    take({ reference }, headers)
  const hold = (reference: string, seconds: unknown = 900, headers: Record<string, string> = {}) =>
    take({ reference, hold_seconds: seconds }, headers)
  const confirm = (id: string, headers: Record<string, string> = {}) =>
    app.request('POST', `${conference.path}/redemptions/${id}/confirm`, { as: shop.key, headers })
  const release = (id: string) =>
    app.request('DELETE', `${conference.path}/redemptions/${id}`, { as: shop.key })
  const show = async () =>
    (await app.request('GET', `${conference.path}/vouchers/${voucher.code}`, { as: shop.key })).body
  const timesUsed = async () => (await show())['times_used']
  return { conference, shop, ...voucher, redeem, hold, confirm, release, show, timesUsed }
}

describe('redeeming over HTTP', () => {
  it('answers 201, and 200 for the same reference again', async () => {
    const { code, purchase, shop, redeem, timesUsed } = await shopWith(2)
    const first = await redeem(' order-1 ')
    expect(first).toMatchObject({
      status: 201,
      body: {
        id: expect.stringMatching(/^red_/),
        object: 'redemption',
        voucher: code,
        purchase,
        reference: 'order-1',
        status: 'redeemed',
        redeemed_by: shop.id,
        expires_at: null,
        confirmed_at: null,
        released_at: null,
        released_by: null,
      },
    })
    expect(await redeem('order-1')).toMatchObject({ status: 200, body: first.body })
    expect(await timesUsed()).toBe(1)
  })

  it('lets exactly 10 of 50 parallel redemptions use a voucher with 10 uses', async () => {
    const { redeem, timesUsed } = await shopWith(10)
    const answers = await Promise.all(times(50).map((n) => redeem(`order-${n}`)))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(10)
    const refused = answers.filter(({ status }) => status !== 201)
    expect(refused).toHaveLength(40)
    for (const answer of refused) {
      expect(answer).toMatchObject({
        status: 409,
        body: { code: 'voucher_invalid', invalid_reason: 'used_up' },
      })
    }
    expect(await timesUsed()).toBe(10)
  })

  it('takes one use when two parallel requests have the same Idempotency-Key', async () => {
    const { redeem, timesUsed } = await shopWith(5)
    const headers = { 'idempotency-key': 'redeem-1' }
    const answers = await Promise.all([redeem('order-1', headers), redeem('order-1', headers)])
    expect(answers.every(({ status }) => [201, 409].includes(status))).toBe(true)
    const again = await redeem('order-1', headers)
    expect(again.status).toBe(201)
    expect(await timesUsed()).toBe(1)
  })

  it.each([undefined, null, '', '   ', 7, 'x'.repeat(201)])(
    'refuses the reference %j',
    async (reference) => {
      const { redeem, timesUsed } = await shopWith(1)
      expect(await redeem(reference)).toMatchObject({
        status: 400,
        body: { errors: [{ pointer: '/reference' }] },
      })
      expect(await timesUsed()).toBe(0)
    },
  )

  it('requires the scope vouchers:redeem', async () => {
    const { conference, code } = await shopWith(1)
    const other = await createStaffKey(app, conference, ['vouchers:read', 'vouchers:write'])
    const path = `${conference.path}/vouchers/${code}/redemptions`
    const answer = await app.request('POST', path, { as: other.key, body: { reference: 'x' } })
    expect(answer.status).toBe(403)
  })
})

describe('a redemption', () => {
  it('takes two round trips to the database after the authentication, and so does its release (issue 9, line 2)', async () => {
    const { redeem, release } = await shopWith(3)
    // The first request of a key also writes when the key was last used.
    const { body } = await redeem('order-1')
    const afterAuthentication = async (work: () => Promise<unknown>) => {
      const sent = await roundTripsOf(work)
      return sent.slice(sent.findIndex((sql) => sql.includes('from api_keys')) + 1)
    }
    for (const reference of ['order-2', 'order-2']) {
      expect(await afterAuthentication(() => redeem(reference))).toEqual([
        expect.stringContaining('rate_limits'),
        expect.stringContaining('insert into redemptions'),
      ])
    }
    expect(await afterAuthentication(() => release(body.id))).toEqual([
      expect.stringContaining('update redemptions'),
      expect.stringMatching(/^commit/i),
    ])
  })
})

describe('holding over HTTP (issue 10, line 16)', () => {
  it('takes a use until the hold is confirmed or given back', async () => {
    const { hold, confirm, release, show, shop } = await shopWith(1)
    const held = await hold('order-1')
    expect(held).toMatchObject({ status: 201, body: { status: 'held', redeemed_by: shop.id } })
    expect(await hold('order-1', 60)).toMatchObject({ status: 200, body: held.body })
    const full = { valid: false, invalid_reason: 'used_up' }
    expect(await show()).toMatchObject({ times_used: 0, uses_held: 1, ...full })
    expect(await hold('order-2')).toMatchObject({
      status: 409,
      body: { code: 'voucher_invalid', invalid_reason: 'used_up' },
    })
    expect(await release(held.body.id)).toMatchObject({ status: 200, body: { status: 'released' } })
    expect(await confirm(held.body.id)).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', status_now: 'released' },
    })

    const { body: second } = await hold('order-2')
    const confirmed = await confirm(second.id)
    expect(confirmed).toMatchObject({ status: 200, body: { id: second.id, status: 'redeemed' } })
    expect(await confirm(second.id)).toMatchObject({ status: 200, body: confirmed.body })
    expect(await show()).toMatchObject({ times_used: 1, uses_held: 0, ...full })
  })

  it('answers an Idempotency-Key with the same hold and the same confirmation', async () => {
    const { hold, confirm, show } = await shopWith(3)
    const held = await hold('order-1', 900, { 'idempotency-key': 'hold-1' })
    const again = await hold('order-1', 900, { 'idempotency-key': 'hold-1' })
    expect(again).toMatchObject({ status: 201, body: held.body })
    const { id } = held.body
    const confirmed = await confirm(id, { 'idempotency-key': 'confirm-1' })
    expect(await confirm(id, { 'idempotency-key': 'confirm-1' })).toMatchObject({
      status: 200,
      body: confirmed.body,
    })
    expect(await show()).toMatchObject({ times_used: 1, uses_held: 0, valid: true })
  })

  it('lets exactly 20 of 200 parallel requests hold a voucher with 20 uses', async () => {
    const { hold, confirm, show } = await shopWith(20)
    const answers = await Promise.all(times(200).map((n) => hold(`order-${n}`)))
    const held = answers.filter(({ status }) => status === 201)
    expect(held).toHaveLength(20)
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(180)
    expect(await show()).toMatchObject({ times_used: 0, uses_held: 20 })
    const confirmed = await Promise.all(
      times(200).map((n) => confirm(held[n % held.length]?.body.id ?? '')),
    )
    expect(new Set(confirmed.map(({ status }) => status))).toEqual(new Set([200]))
    expect(await show()).toMatchObject({ times_used: 20, uses_held: 0 })
  })

  it.each([0, 3_601, 1.5, '900', null])('refuses hold_seconds of %j', async (seconds) => {
    const { hold, show } = await shopWith(1)
    expect(await hold('order-1', seconds)).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/hold_seconds' }] },
    })
    expect(await show()).toMatchObject({ uses_held: 0, valid: true })
  })
})

describe('releasing over HTTP', () => {
  it('is idempotent', async () => {
    const { redeem, release, timesUsed, shop } = await shopWith(1)
    const { body } = await redeem('order-1')
    const released = await release(body.id)
    expect(released).toMatchObject({
      status: 200,
      body: { id: body.id, released_at: expect.any(String), released_by: shop.id },
    })
    expect(await release(body.id)).toMatchObject({ status: 200, body: released.body })
    expect(await timesUsed()).toBe(0)
    expect(await redeem('order-2')).toMatchObject({ status: 201 })
  })

  it('is 404 for a redemption of another conference', async () => {
    const one = await shopWith(1)
    const two = await shopWith(1)
    const { body } = await one.redeem('order-1')
    expect(await two.release(body.id)).toMatchObject({ status: 404 })
    expect(await one.timesUsed()).toBe(1)
  })
})

it('lists redemptions by voucher, purchase and reference', async () => {
  const { conference, shop, code, purchase, redeem } = await shopWith(3)
  for (const n of times(3)) await redeem(`order-${n}`)
  const list = async (query: string) => {
    const path = `${conference.path}/redemptions?${query}`
    const { body } = await app.request<ListBody>('GET', path, { as: shop.key })
    return body.data.map(({ reference }) => reference)
  }
  const all = ['order-3', 'order-2', 'order-1']
  expect(await list(`voucher=${code.toLowerCase()}`)).toEqual(all)
  expect(await list(`purchase=${purchase}`)).toEqual(all)
  expect(await list('purchase=bp_other')).toEqual([])
  expect(await list('reference=order-2')).toEqual(['order-2'])
})

it('writes no code into the log, also for failed requests', async () => {
  const log = new PassThrough()
  const lines = text(log)
  const process = await startTestProcess(app.connectionString, { log })
  const conference = await createConference(process)
  const { code, purchase } = await freePurchase(process, conference, { quantity: 1 })
  const path = `${conference.path}/vouchers/${code}`
  await process.request('GET', path)
  await process.request('GET', `${path}X`)
  await process.request('GET', `${conference.path}/vouchers?code=${code}`)
  await process.request('POST', `${path}/redemptions`, { body: { reference: 'order-1' } })
  await process.request('POST', `${path}/redemptions`, { body: { reference: 'order-2' } })
  await process.request('POST', `${path}/redemptions`, { body: { wrong: code } })
  await process.request('POST', `${path}/deactivate`)
  const person = { email: 'ada@acme.example', name: code }
  await process.request('PUT', `${path}/assignment`, { body: person })
  await process.request('PUT', `${path}/assignment`, { body: { email: code } })
  const csv = { headers: { 'content-type': 'text/csv' }, body: `${code},ada@acme.example\n` }
  await process.request('POST', `${conference.path}/purchases/${purchase}/assignments`, csv)
  await process.close()
  log.end()
  const written = await lines
  expect(written).toContain('/vouchers/:code/redemptions')
  expect(written.toUpperCase()).not.toContain(code)
  expect(written).not.toContain('ada@acme')
})
