import { describe, expect, it } from 'vitest'
import { startMailServer } from '../notifications/mail-server.ts'
import { createSponsor, createSponsorKey } from '../support/fixtures.ts'
import { useTestApp } from '../support/test-app.ts'
import { openAssignments, type UploadBody } from './assignment-scene.ts'
import { freePurchase } from './voucher-http.ts'

const app = useTestApp()

const persons = (count: number, word = 'p') =>
  Array.from({ length: count }, (_, i) => `${word}${i + 1}@acme.example`)

describe('a file of persons', () => {
  it('gives each line the next free voucher, and sends each person the code', async () => {
    const { upload, codes, people, assign, redeem, conference, mails } = await openAssignments(
      app,
      6,
    )
    const [used = '', off = '', , taken = ''] = codes
    await redeem(used)
    await app.request('POST', `${conference.path}/vouchers/${off}/deactivate`)
    await assign(taken, { email: 'first@acme.example', send: false })
    const done = await upload(['email,name', 'ada@acme.example,Ada', 'grace@acme.example,'])
    expect(done).toMatchObject({
      status: 200,
      body: {
        object: 'assignment_upload',
        dry_run: false,
        assigned: 2,
        unchanged: 0,
        errors: [],
        data: [
          { line: 2, code: codes[2], email: 'ada@acme.example', name: 'Ada', outcome: 'assigned' },
          { line: 3, code: codes[4], email: 'grace@acme.example', name: null, outcome: 'assigned' },
        ],
      },
    })
    expect(await people()).toEqual([
      null,
      null,
      'ada@acme.example',
      'first@acme.example',
      'grace@acme.example',
      null,
    ])
    const server = await startMailServer()
    await mails.deliver(server)
    expect(server.mails.map(({ to }) => to)).toEqual([['ada@acme.example'], ['grace@acme.example']])
  })

  it('changes and sends nothing when it is uploaded again, and only what is new when it grows', async () => {
    const { upload, people, mails } = await openAssignments(app, 5)
    const file = ['email', 'ada@acme.example', 'ada@acme.example', 'grace@acme.example']
    expect((await upload(file)).body).toMatchObject({ assigned: 3 })
    const again = await upload([...file, 'emmy@acme.example', 'ADA@acme.example'])
    expect(again.body).toMatchObject({ assigned: 2, unchanged: 3 })
    expect(await people()).toEqual([
      'ada@acme.example',
      'ada@acme.example',
      'grace@acme.example',
      'emmy@acme.example',
      'ADA@acme.example',
    ])
    expect(await mails.waiting()).toBe(5)
  })

  it('gives lines with a code that voucher, and replaces persons only on request', async () => {
    const { upload, codes, people, mails } = await openAssignments(app, 4)
    const [one = '', two = '', three = ''] = codes
    await upload(['code,email', `${one.toLowerCase()},ada@acme.example`], 'send=false')
    const file = [
      'name;email;code',
      `Grace;grace@acme.example;${one}`,
      `;emmy@acme.example;${three}`,
      'Ada;ada@acme.example;',
    ]
    const refused = await upload(file)
    expect(refused).toMatchObject({
      status: 400,
      body: {
        code: 'validation_failed',
        error_count: 1,
        errors: [{ pointer: 'line/2/code', detail: 'The voucher is assigned to another person.' }],
      },
    })
    expect(await people()).toEqual(['ada@acme.example', null, null, null])
    expect((await upload(file, 'replace=true')).body).toMatchObject({ assigned: 2, replaced: 1 })
    expect(await people()).toEqual([
      'grace@acme.example',
      'ada@acme.example',
      'emmy@acme.example',
      null,
    ])
    expect(two).not.toBe('')
    expect(await mails.waiting()).toBe(3)
  })

  it('takes the exported file with two more columns, and skips lines without a person', async () => {
    const { upload, conference, purchase, key, people } = await openAssignments(app, 3)
    const path = `${conference.path}/purchases/${purchase}/vouchers`
    const headers = { accept: 'text/csv' }
    const { body } = await app.request<string>('GET', path, { as: key, headers })
    const [header, first, second, third] = body.trim().split('\n')
    const filled = [
      `${header},email,name`,
      `${first},ada@acme.example,Ada`,
      `${second},,`,
      third ?? '',
    ]
    expect((await upload(filled)).body).toMatchObject({ assigned: 1, skipped: 2 })
    expect(await people()).toEqual(['ada@acme.example', null, null])
  })

  it('takes the export with its persons, also with quotes and formulas in their names', async () => {
    const { upload, conference, purchase, key } = await openAssignments(app, 3)
    await upload(['email,name', 'ada@acme.example,"Lovelace, ""Ada"""', 'eve@acme.example,=1+1'])
    const path = `${conference.path}/purchases/${purchase}/vouchers?include=assignment`
    const headers = { accept: 'text/csv' }
    const { body } = await app.request<string>('GET', path, { as: key, headers })
    const [header, first, second, third] = body.trim().split('\n')
    expect(header).toBe(
      'code,times_used,max_uses,is_active,valid_from,valid_until,email,name,assigned_at,sent_at',
    )
    expect(first).toMatch(
      /,0,1,true,,,ada@acme.example,"Lovelace, ""Ada""",20\d\d-[\d-]+T[\d:.]+Z,$/,
    )
    expect(second).toContain(",eve@acme.example,'=1+1,")
    expect(third).toMatch(/,0,1,true,,,,,,$/)
    const exported = [header ?? '', first ?? '', second ?? '', third ?? '']
    expect((await upload(exported)).body).toMatchObject({ unchanged: 2, skipped: 1, errors: [] })
  })

  it('takes the empty cells with which spreadsheets end lines', async () => {
    const { upload, people } = await openAssignments(app, 2)
    const file = ['email;name;;', 'ada@acme.example;Ada;;', ';;;', '', 'eve@acme.example']
    expect((await upload(file)).body).toMatchObject({ assigned: 2, skipped: 1, errors: [] })
    expect(await people()).toEqual(['ada@acme.example', 'eve@acme.example'])
  })

  it('runs once under one Idempotency-Key', async () => {
    const { upload, mails } = await openAssignments(app, 2)
    const headers = { 'idempotency-key': 'upload-1' }
    const first = await upload(['email', 'ada@acme.example'], '', headers)
    const again = await upload(['email', 'ada@acme.example'], '', headers)
    expect(again.body).toEqual(first.body)
    expect(again.headers['idempotent-replayed']).toBe('true')
    expect(await mails.waiting()).toBe(1)
    const other = await upload(['email', 'grace@acme.example'], '', headers)
    expect(other).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
  })
})

describe('a preview of a file', () => {
  it('shows all errors by line and what would be assigned, and changes nothing', async () => {
    const { upload, codes, people, redeem, mails, conference } = await openAssignments(app, 3)
    const [used = '', free = ''] = codes
    await redeem(used)
    const foreign = await freePurchase(app, conference, { quantity: 1 })
    const preview = await upload(
      [
        'code,email,name',
        `${used},ada@acme.example,Ada`,
        `${free},grace@acme,Grace`,
        ',emmy@acme.example,Emmy',
        `${foreign.code},eve@acme.example,Eve`,
        ',,Nameless',
        '',
        `${free},olga@acme.example,Olga,extra`,
        ',one@acme.example,',
        ',two@acme.example,',
      ],
      'dry_run=true',
    )
    expect(preview).toMatchObject({
      status: 200,
      body: {
        dry_run: true,
        assigned: 2,
        errors: [
          { line: 2, column: 'code', detail: expect.stringContaining('was redeemed') },
          { line: 3, column: 'email', detail: 'must be an email address' },
          { line: 5, column: 'code', detail: 'is not a code of these vouchers' },
          { line: 6, column: 'email', detail: 'is required' },
          { line: 8, column: null, detail: expect.stringContaining('more cells') },
          { line: 10, column: null, detail: expect.stringContaining('2 are free, and 3 lines') },
        ],
        data: [
          { line: 4, code: free, email: 'emmy@acme.example', outcome: 'assigned' },
          { line: 9, code: codes[2], email: 'one@acme.example', outcome: 'assigned' },
        ],
      },
    })
    expect(await people()).toEqual([null, null, null])
    expect(await mails.waiting()).toBe(0)
  })

  it('is what the upload then does', async () => {
    const { upload } = await openAssignments(app, 3)
    const file = ['email', ...persons(3)]
    const preview = await upload(file, 'dry_run=true')
    const done = await upload(file)
    expect(done.body).toEqual({ ...preview.body, dry_run: false })
  })
})

describe('a file that is not valid', () => {
  it.each([
    [[], 'line/1', 'The file is empty'],
    [['ada@acme.example'], 'line/1', 'Column 1 is not known'],
    [['name', 'Ada'], 'line/1/email', 'is required in the header'],
    [['email,Email', 'a@b.example,c@d.example'], 'line/1/email', 'appears twice'],
    [['email,name', 'a@b.example,"Ada'], 'line/2', 'quotation mark'],
    [['email,name', 'a@b.example,Ada "x" y'], 'line/2', 'quotation marks do not match'],
    [['email,name', 'a@b.example,"Ada', 'void"'], 'line/3/name', 'control characters'],
    [['email', ...persons(5_001)], 'line/5002', 'at most 5000'],
    [['code,email', 'X,a@b.example', 'X,c@d.example'], 'line/2/code', 'is not a code'],
  ])('names the line and the rule: %j', async (lines, pointer, detail) => {
    const { upload } = await openAssignments(app, 1)
    const answer = await upload(lines)
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } })
    const [first] = answer.body.errors as unknown as { pointer: string; detail: string }[]
    expect(first).toMatchObject({ pointer, detail: expect.stringContaining(detail) })
  })

  it('names the earlier line of a code that appears twice', async () => {
    const { upload, code } = await openAssignments(app, 1)
    const lines = ['code,email', `${code},a@b.example`, `${code.toLowerCase()},c@d.example`]
    expect((await upload(lines, 'dry_run=true')).body.errors).toEqual([
      { line: 3, column: 'code', detail: 'is also in line 2' },
    ])
  })

  it('must be UTF-8, text/csv, and at most a megabyte', async () => {
    const { upload } = await openAssignments(app, 1)
    expect(await upload(Buffer.from('email,name\na@b.example,J\xfcrgen', 'latin1'))).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/', detail: expect.stringContaining('UTF-8') }] },
    })
    const json = { 'content-type': 'application/json' }
    expect(await upload(['{}'], '', json)).toMatchObject({
      status: 415,
      body: { detail: expect.stringContaining('text/csv') },
    })
    expect(await upload(Buffer.alloc(1_100_000, 'x'))).toMatchObject({ status: 413 })
    const bom = Buffer.from('\uFEFFemail,name\r\na@b.example,Jürgen\r\n')
    expect((await upload(bom)).body.data).toMatchObject([{ line: 2, name: 'Jürgen' }])
  })

  it('is refused before a purchase has vouchers, and hidden for others', async () => {
    const { conference, sponsor, key } = await openAssignments(app, 1)
    const made = await app.request<{ id: string }>('POST', `${conference.path}/purchases`, {
      body: { quantity: 2, unit_amount: 100, description: 'Entry', sponsor: sponsor.id },
    })
    const headers = { 'content-type': 'text/csv' }
    const path = `${conference.path}/purchases/${made.body.id}/assignments`
    const body = 'email\nada@acme.example'
    expect(await app.request('POST', path, { as: key, headers, body })).toMatchObject({
      status: 409,
      body: { code: 'wrong_state' },
    })
    const rival = await createSponsor(app, conference)
    const other = await createSponsorKey(app, conference, rival.id)
    expect(await app.request('POST', path, { as: other.key, headers, body })).toMatchObject({
      status: 404,
    })
  })
})

describe('uploads at the same time', () => {
  it('give every line a voucher of its own, and leave none out', async () => {
    const { upload, people, codes, mails } = await openAssignments(app, 60)
    const files = ['a', 'b', 'c', 'd', 'e', 'f'].map((word) => persons(10, word))
    const answers = await Promise.all(files.map((file) => upload(['email', ...file])))
    expect(answers.map(({ status }) => status)).toEqual(files.map(() => 200))
    const given = answers.flatMap(({ body }) => body.data.map(({ code }) => code))
    expect(given.toSorted()).toEqual(codes.toSorted())
    expect(new Set(await people())).toEqual(new Set(files.flat()))
    expect(await mails.waiting()).toBe(60)
  })

  it('of one file assign each line once, with redemptions and single assignments in between', async () => {
    const { upload, people, codes, assign, redeem, read } = await openAssignments(app, 30)
    const file = ['email', ...persons(20)]
    const [uploads, singles, redeemed] = await Promise.all([
      Promise.all([upload(file), upload(file)]),
      Promise.all(
        codes
          .slice(0, 5)
          .map((code, i) => assign(code, { email: `s${i}@acme.example`, replaces: null })),
      ),
      Promise.all(codes.slice(3, 8).map((code) => redeem(code))),
    ])
    expect(uploads.map(({ status }) => status)).toEqual([200, 200])
    expect(redeemed.map(({ status }) => status)).toEqual([201, 201, 201, 201, 201])
    const assigned = await people()
    const mine = singles.filter(({ status }) => status === 200).length
    expect(new Set(assigned.filter((email) => email?.startsWith('p'))).size).toBe(20)
    expect(assigned.filter((email) => email !== null)).toHaveLength(20 + mine)
    // A voucher that was redeemed first got no person afterwards.
    for (const { status, body } of singles.filter(({ status }) => status !== 200)) {
      expect(status).toBe(409)
      expect(['already_assigned', 'wrong_state']).toContain(body['code'])
    }
    expect((await read(codes[29] ?? '')).status).toBe(200)
  })

  it('that need more than is left fail as a whole', async () => {
    const { upload, people } = await openAssignments(app, 10)
    const answers = await Promise.all(
      ['a', 'b', 'c'].map((word) => upload(['email', ...persons(4, word)])),
    )
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 200, 400])
    const refused = answers.find(({ status }) => status === 400)
    expect(refused?.body).toMatchObject({ error_count: 2 })
    expect((await people()).filter((email) => email !== null)).toHaveLength(8)
  })
})

describe('a large file', () => {
  it('assigns 5,000 lines of a batch, and a search finds the oldest of them by the index', async () => {
    const { conference, sponsor, key, list } = await openAssignments(app, 1)
    await app.rows('update conferences set max_quantity = 5000 where id = $1', [conference.id])
    const { body: batch } = await app.request<{ id: string }>(
      'POST',
      `${conference.path}/voucher-batches`,
      { body: { count: 5_000, voucher_type: 'comp', sponsor: sponsor.id } },
    )
    const path = `${conference.path}/voucher-batches/${batch.id}/assignments`
    const body = ['email,name', ...persons(5_000).map((email, i) => `${email},Person ${i + 1}`)]
    const done = await app.request<UploadBody>('POST', `${path}?send=false`, {
      as: key,
      headers: { 'content-type': 'text/csv' },
      body: body.join('\n'),
    })
    expect(done).toMatchObject({ status: 200, body: { assigned: 5_000 } })
    const [, , third] = done.body.data
    expect(await list('q=p3@acme')).toEqual([third?.code])
    expect(await list('q=person%204999')).toHaveLength(1)
    expect(await list('q=no%20such')).toEqual([])
  })
})
