import { beforeEach, describe, expect, it } from 'vitest'
import { down, up } from '../../migrations/0066_voucher_assignments.ts'
import type { Tx } from '../../src/db/connect.ts'
import { startMailServer } from '../notifications/mail-server.ts'
import { createSponsor, createSponsorKey, createStaffKey } from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'
import { openAssignments } from './assignment-scene.ts'
import { freePurchase } from './voucher-http.ts'

const app = useTestApp({ env: { FAILED_LOOKUPS_PER_MINUTE: '5' } })

// The address is the same for every test of this file.
beforeEach(() => app.rows('delete from rate_limits'))

const ADA = { email: 'ada@acme.example', name: 'Ada Lovelace' }
const GRACE = { email: 'grace@acme.example', name: null }
const notFound = { status: 404, body: { code: 'not_found' } }
const conflict = (code: string) => ({ status: 409, body: { code } })

describe('a voucher that a sponsor assigns', () => {
  it('shows its person, also to the sponsor that looks it up by its code', async () => {
    const { assign, read, code } = await openAssignments(app, 1)
    const assigned = await assign(code.toLowerCase().replaceAll('-', ' '), ADA)
    const person = { ...ADA, assigned_at: expect.stringMatching(/Z$/), sent_at: null }
    expect(assigned).toMatchObject({ status: 200, body: { code, assigned_to: person } })
    expect(await read(code)).toMatchObject({ status: 200, body: assigned.body })
  })

  it('stays as it is when the same person is assigned again, and sends one e-mail', async () => {
    const { assign, code, mails } = await openAssignments(app, 1)
    const first = await assign(code, ADA)
    const again = await assign(code, { email: 'ADA@Acme.example' })
    expect(again).toMatchObject({ status: 200, body: first.body })
    expect(await mails.waiting()).toBe(1)
  })

  it('takes a new name of the same person without another e-mail', async () => {
    const { assign, code, mails } = await openAssignments(app, 1)
    const first = await assign(code, { email: ADA.email })
    expect(first.body.assigned_to).toMatchObject({ name: null })
    const named = await assign(code, ADA)
    expect(named.body.assigned_to).toEqual({ ...first.body.assigned_to, name: ADA.name })
    expect(await mails.waiting()).toBe(1)
  })

  it('loses its person, and a repeat changes nothing', async () => {
    const { assign, unassign, code } = await openAssignments(app, 1)
    await assign(code, ADA)
    expect(await unassign(code)).toMatchObject({ status: 200, body: { assigned_to: null } })
    expect(await unassign(code)).toMatchObject({ status: 200, body: { assigned_to: null } })
  })

  it.each([
    [{}, '/email', 'is required'],
    [{ email: 'ada' }, '/email', 'must be an email address'],
    [{ email: 'a@b.example, c@d.example' }, '/email', 'must be an email address'],
    [{ ...ADA, name: 'Ada\nYour code is void' }, '/name', 'must not contain control characters'],
    [{ ...ADA, name: '' }, '/name', 'must not be empty'],
    [{ ...ADA, ticket: 1 }, '/ticket', 'is not a known field'],
  ])('needs a person who can get an e-mail: %j', async (body, pointer, detail) => {
    const { assign, code } = await openAssignments(app, 1)
    expect(await assign(code, body)).toMatchObject({
      status: 400,
      body: { errors: [{ pointer, detail: expect.stringContaining(detail) }] },
    })
  })

  it('is final once it was redeemed, until the redemption is released', async () => {
    const { assign, unassign, redeem, code, codes, conference } = await openAssignments(app, 2)
    await assign(code, ADA)
    const { body: redemption } = await redeem(code)
    expect(await assign(code, GRACE)).toMatchObject(conflict('wrong_state'))
    expect(await unassign(code)).toMatchObject(conflict('wrong_state'))
    expect(await assign(code, ADA)).toMatchObject({ status: 200 })
    // One that was redeemed without a person gets none.
    await redeem(codes[1] ?? '')
    expect(await assign(codes[1] ?? '', ADA)).toMatchObject(conflict('wrong_state'))
    await app.request('DELETE', `${conference.path}/redemptions/${redemption.id}`)
    expect(await assign(code, GRACE)).toMatchObject({ body: { assigned_to: GRACE } })
  })

  it('keeps its person when it is deactivated, but gets no new one', async () => {
    const { assign, unassign, send, code, codes, conference } = await openAssignments(app, 2)
    await assign(code, ADA)
    for (const each of codes) {
      await app.request('POST', `${conference.path}/vouchers/${each}/deactivate`)
    }
    expect(await assign(codes[1] ?? '', ADA)).toMatchObject({
      status: 409,
      body: { code: 'wrong_state', invalid_reason: 'deactivated' },
    })
    expect(await assign(code, ADA)).toMatchObject({ status: 200, body: { assigned_to: ADA } })
    expect(await send(code)).toMatchObject(conflict('wrong_state'))
    expect(await unassign(code)).toMatchObject({ status: 200, body: { assigned_to: null } })
  })
})

describe('two people who assign one voucher', () => {
  it('replace each other, since the last one decides', async () => {
    const { assign, read, code } = await openAssignments(app, 1)
    expect(await assign(code, ADA)).toMatchObject({ status: 200 })
    expect(await assign(code, GRACE)).toMatchObject({ status: 200 })
    expect((await read(code)).body.assigned_to).toMatchObject({ ...GRACE, sent_at: null })
  })

  it('at the same time get one 200 and one 409 if they name who may be replaced', async () => {
    const { assign, code, codes } = await openAssignments(app, 8)
    for (const each of codes) {
      const answers = await Promise.all(
        [ADA, GRACE].map((person) => assign(each, { ...person, replaces: null })),
      )
      expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 409])
      expect(answers.find(({ status }) => status === 409)?.body).toMatchObject({
        code: 'already_assigned',
      })
    }
    const holder =
      (await assign(code, { ...ADA, replaces: ADA.email })).status === 200 ? ADA : GRACE
    const other = holder === ADA ? GRACE : ADA
    expect(await assign(code, { email: 'new@acme.example', replaces: other.email })).toMatchObject(
      conflict('already_assigned'),
    )
    expect(
      await assign(code, { email: 'new@acme.example', replaces: holder.email.toUpperCase() }),
    ).toMatchObject({ status: 200 })
  })

  it('never assign a voucher that is redeemed at the same time and was not assigned before', async () => {
    const { assign, redeem, read, codes } = await openAssignments(app, 10)
    for (const code of codes) {
      const [assigned, redeemed] = await Promise.all([assign(code, ADA), redeem(code)])
      expect(redeemed.status).toBe(201)
      const { body } = await read(code)
      expect(body.assigned_to === null).toBe(assigned.status === 409)
    }
  })
})

describe('the e-mail with a code', () => {
  it('says who gives what for which conference, and is recorded as sent', async () => {
    const terms = { max_uses: 2, valid_until: '2099-05-06T07:08:00Z' }
    const { assign, read, code, conference, mails } = await openAssignments(app, 1, terms)
    await assign(code, ADA)
    const server = await startMailServer()
    const log: string[] = []
    await mails.deliver(server, { log })
    const [mail] = server.mails
    expect(mail?.to).toEqual([ADA.email])
    expect(mail?.header('Subject')).toBe(`Your ticket voucher for ${String(conference['name'])}`)
    const text = mail?.raw.replaceAll('=\r\n', '').replaceAll('\r\n', '\n') ?? ''
    for (const part of [
      'Dear Ada Lovelace,',
      `Acme Robotics has a ticket voucher for ${String(conference['name'])} for you.`,
      `Your code: ${code}\nYour ticket is free.`,
      'The code can be used 2 times.',
      'Valid until: 2099-05-06 07:08 UTC',
    ]) {
      expect(text).toContain(part)
    }
    expect((await read(code)).body.assigned_to?.sent_at).toMatch(/Z$/)
    expect(log.join('')).toContain('sent a code')
    expect(log.join('')).not.toMatch(new RegExp(`${code}|acme.example|Lovelace`))
  })

  it('goes only to the person who has the voucher when it is sent', async () => {
    const { assign, unassign, codes, mails } = await openAssignments(app, 2)
    const [first = '', second = ''] = codes
    await assign(first, ADA)
    await assign(first, GRACE)
    await assign(second, ADA)
    await unassign(second)
    const server = await startMailServer()
    await mails.deliver(server)
    expect(server.mails.map(({ to }) => to)).toEqual([[GRACE.email]])
  })

  it('goes to no one when a voucher is replaced or removed after it was sent', async () => {
    const { assign, unassign, code, mails } = await openAssignments(app, 1)
    const server = await startMailServer()
    await assign(code, ADA)
    await mails.deliver(server)
    await assign(code, GRACE)
    await mails.deliver(server)
    await unassign(code)
    await mails.deliver(server)
    expect(server.mails.map(({ to }) => to)).toEqual([[ADA.email], [GRACE.email]])
  })

  it('is not sent on request of the caller, nor while the voucher cannot be redeemed', async () => {
    const { assign, codes, conference, mails } = await openAssignments(app, 2)
    const [silent = '', off = ''] = codes
    await assign(silent, { ...ADA, send: false })
    expect(await mails.waiting()).toBe(0)
    await assign(off, ADA)
    await app.request('POST', `${conference.path}/vouchers/${off}/deactivate`)
    const server = await startMailServer()
    await mails.deliver(server)
    expect(server.mails).toEqual([])
  })

  it('is sent again when the sponsor asks for it, once under one Idempotency-Key', async () => {
    const { assign, send, read, code, conference, key, mails } = await openAssignments(app, 1)
    expect(await send(code)).toMatchObject(conflict('wrong_state'))
    const server = await startMailServer()
    await assign(code, ADA)
    await mails.deliver(server)
    const sentAt = (await read(code)).body.assigned_to?.sent_at ?? ''
    const path = `${conference.path}/vouchers/${code}/assignment/send`
    const headers = { 'idempotency-key': 'send-1' }
    await app.request('POST', path, { as: key, headers })
    await app.request('POST', path, { as: key, headers })
    expect(await mails.waiting()).toBe(1)
    await mails.deliver(server)
    expect(server.mails.map(({ to }) => to)).toEqual([[ADA.email], [ADA.email]])
    expect((await read(code)).body.assigned_to?.sent_at).not.toBe(sentAt)
  })

  it('has the same id when a worker died between sending and recording it', async () => {
    const { assign, code, mails } = await openAssignments(app, 1)
    await assign(code, ADA)
    const server = await startMailServer()
    await mails.deliver(server, { keep: true })
    await mails.deliver(server)
    const ids = server.mails.map((mail) => mail.header('Message-ID'))
    expect(new Set(ids).size).toBe(1)
    expect(ids).toHaveLength(2)
  })

  it('is logged without the address and not retried when the server refuses it', async () => {
    const { assign, read, code, mails } = await openAssignments(app, 1)
    await assign(code, ADA)
    const server = await startMailServer()
    server.meetWith({ at: 'recipient', code: 550 }, { at: 'message', code: 451 })
    const log: string[] = []
    await mails.deliver(server, { keep: true, log })
    expect(log.join('')).toContain('permanently refused')
    expect(log.join('')).not.toMatch(new RegExp(`${code}|acme.example|Lovelace`))
    // A deferred one is: the job fails.
    await expect(mails.deliver(server)).rejects.toThrow(/…/)
    expect((await read(code)).body.assigned_to).toMatchObject({ sent_at: null })
  })
})

describe('who may assign a voucher', () => {
  it('is the sponsor that owns it, and staff with vouchers:write', async () => {
    const { assign, unassign, send, read, code, conference, list } = await openAssignments(app, 1)
    const rival = await createSponsor(app, conference)
    const { key } = await createSponsorKey(app, conference, rival.id)
    const other = await freePurchase(app, conference, { quantity: 1, sponsor: rival.id })
    for (const answer of [
      await assign(other.code, ADA),
      await unassign(other.code),
      await send(other.code),
      await read(other.code),
    ]) {
      expect(answer).toMatchObject(notFound)
    }
    await app.rows('delete from rate_limits')
    expect(await list(`assigned_to=${ADA.email}`, key)).toEqual([])
    const writer = await createStaffKey(app, conference, ['vouchers:write'])
    expect(await assign(other.code, ADA, writer.key)).toMatchObject({ status: 200 })
    expect(await list(`assigned_to=${ADA.email}`, key)).toEqual([other.code])
    const reader = await createStaffKey(app, conference, ['vouchers:read'])
    expect(await assign(code, ADA, reader.key)).toMatchObject({ status: 403 })
  })

  it('is counted when it guesses codes of others', async () => {
    const { assign, read, code, conference } = await openAssignments(app, 1)
    const other = await freePurchase(app, conference, { quantity: 1 })
    for (let n = 0; n < 4; n += 1) expect(await read(`GUESS-${n}`)).toMatchObject(notFound)
    expect(await assign(other.code, ADA)).toMatchObject(notFound)
    const limited = { status: 429, body: { code: 'rate_limited' } }
    expect(await read(code)).toMatchObject(limited)
    expect(await assign(code, ADA)).toMatchObject(limited)
  })
})

describe('a search in the vouchers', () => {
  it('finds parts of the name or address of a person, in any case, and whole codes only', async () => {
    const { assign, unassign, list, codes, code } = await openAssignments(app, 3)
    const [, second = '', third = ''] = codes
    await assign(code, ADA)
    await assign(second, { email: 'grace@navy.example', name: 'Grace 100% Hopper' })
    expect(await list('q=LOVE')).toEqual([code])
    expect(await list('q=acme.ex')).toEqual([code])
    expect(await list(`q=${encodeURIComponent('100% h')}`)).toEqual([second])
    expect(await list(`q=${encodeURIComponent('0%_h')}`)).toEqual([])
    expect(await list('q=.example')).toEqual([second, code])
    expect(await list(`q=.example&limit=1`)).toEqual([second])
    expect(await list('q=a@')).toEqual([code])
    expect(await list(`q=${third.toLowerCase().replaceAll('-', '')}`)).toEqual([third])
    expect(await list(`q=${third.slice(0, -1)}`)).toEqual([])
    expect(await list(`q=lovelace&state=frozen`)).toEqual([])
    // What is no longer so is not found.
    await assign(code, { email: 'emmy@acme.example', name: 'Emmy Noether' })
    expect(await list('q=lovelace')).toEqual([])
    expect(await list('q=noether')).toEqual([code])
    await unassign(code)
    expect(await list('q=noether')).toEqual([])
  })

  it('finds the vouchers of one address, in any case', async () => {
    const { assign, list, codes, code, purchase } = await openAssignments(app, 3)
    await assign(code, ADA)
    await assign(codes[2] ?? '', { email: 'Ada@Acme.example' })
    expect(await list('assigned_to=ADA@acme.EXAMPLE')).toEqual([codes[2], code])
    expect(await list(`assigned_to=ada@acme.example&purchase=${purchase}`)).toEqual([
      codes[2],
      code,
    ])
    expect(await list('assigned_to=da@acme.example')).toEqual([])
  })

  it('shows every match once, page by page', async () => {
    const { assign, conference, key, codes } = await openAssignments(app, 3)
    for (const each of codes) await assign(each, ADA)
    const seen: string[] = []
    let cursor = ''
    do {
      const path = `${conference.path}/vouchers?q=ada&limit=1${cursor && `&cursor=${cursor}`}`
      const { body } = await app.request<{
        data: { code: string }[]
        next_cursor: string | null
      }>('GET', path, { as: key })
      seen.push(...body.data.map(({ code }) => code))
      cursor = body.next_cursor ?? ''
    } while (cursor !== '')
    expect(seen).toEqual(codes.toReversed())
  })
})

describe('the migration to assignments', () => {
  it('moves addresses there and back, keeps other texts, and lets a search find them', async () => {
    const { conference, codes, code, read, list } = await openAssignments(app, 2)
    const migrate = (work: (trx: Tx) => Promise<void>) => app.db.transaction((trx) => work(trx))
    const stored = async () => {
      const of = [conference.id]
      const rows = await app.rows<{ assigned_to: string | null }>(
        'select assigned_to from vouchers where conference_id = $1 order by ordinal',
        of,
      )
      return rows.map(({ assigned_to: text }) => text)
    }
    await migrate(down)
    for (const [of, text] of [
      [code, 'Ada@acme.example'],
      [codes[1], 'the speaker of room 7'],
    ]) {
      await app.rows('update vouchers set assigned_to = $2 where code = $1', [of, text])
    }
    await migrate(up)
    expect((await read(code)).body.assigned_to).toMatchObject({
      email: 'Ada@acme.example',
      name: null,
      sent_at: null,
    })
    expect(await list('q=ada@')).toEqual([code])
    expect(await stored()).toEqual([null, 'the speaker of room 7'])
    await migrate(down)
    expect(await stored()).toEqual(['Ada@acme.example', 'the speaker of room 7'])
    await migrate(up)
  })
})
