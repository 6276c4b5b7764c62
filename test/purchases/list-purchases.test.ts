import { beforeAll, describe, expect, it } from 'vitest'
import { PURCHASE_CSV_HEADER } from '../../src/purchases/export-purchases.ts'
import {
  createAddOn,
  createSponsor,
  createSponsorKey,
  createStaffKey,
} from '../support/fixtures.ts'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'

const { app, stripe } = useAppOnStripe()
let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
})

type Page = { data: PurchaseAnswer[]; next_cursor: string | null }

const list = async (query: string, as?: string) =>
  (
    await app.request<Page>(
      'GET',
      `${shop.path}/purchases?${query}`,
      as === undefined ? {} : { as },
    )
  ).body

const idsOf = ({ data }: Page) => data.map(({ id }) => id)

async function paid(): Promise<PurchaseAnswer> {
  const { id } = await shop.buy({ quantity: 2 })
  stripe.fake.control.pay(await shop.openSession(id))
  return (await shop.act(id, 'reconcile')).body
}

const cellsOf = (line: string) =>
  [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,"]*))/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  )

/** The lines of a list as CSV, by column. */
async function csv(query: string, as?: string): Promise<Record<string, string>[]> {
  const answer = await app.request<string>('GET', `${shop.path}/purchases?${query}`, {
    headers: { accept: 'text/csv' },
    ...(as === undefined ? {} : { as }),
  })
  expect(answer.headers['content-type']).toBe('text/csv; charset=utf-8; header=present')
  const [head = [], ...rows] = String(answer.body).trimEnd().split('\n').map(cellsOf)
  return rows.map((cells) => Object.fromEntries(head.map((name, i) => [name, cells[i] ?? ''])))
}

describe('a purchase', () => {
  it('has the names of its sponsor and its ticket, when created, alone and in lists (issue 10, line 10)', async () => {
    const made = await shop.buy({ quantity: 2 })
    const [name] = String(made['ticket_name']).split('-')
    expect(name).toBe('Ticket')
    const names = { sponsor_name: made['sponsor_name'], ticket_name: made['ticket_name'] }
    expect(names.sponsor_name).toMatch(/^Sponsor-/)
    expect(await shop.get(made.id)).toMatchObject(names)
    expect((await list('limit=1')).data[0]).toMatchObject(names)
    expect((await list('limit=1', shop.sponsorKey)).data[0]).toMatchObject(names)
  })

  it('has the name of its add-on, and none for what it does not have (issue 10, line 10)', async () => {
    const addOn = await createAddOn(app, shop, { name: 'Workshop' })
    const made = await shop.buy({ ticket_type: undefined, add_on: addOn.id, quantity: 2 })
    expect(made).toMatchObject({ ticket_type: null, ticket_name: 'Workshop' })
    const { body } = await app.request<PurchaseAnswer>('POST', `${shop.path}/purchases`, {
      body: { quantity: 1, unit_amount: 500, description: 'Walk-in' },
    })
    expect(body).toMatchObject({ sponsor: null, sponsor_name: null, ticket_name: null })
    expect(await shop.get(body.id)).toMatchObject({ sponsor_name: null, ticket_name: null })
  })
})

describe('a search for a voucher code', () => {
  let purchase: string
  let code: string
  beforeAll(async () => {
    purchase = (await paid()).id
    code = (await shop.codes(purchase))[0] ?? ''
  })

  it('finds its purchase, in any case and with or without hyphens (issue 10, line 10)', async () => {
    for (const q of [code, code.toLowerCase(), code.replaceAll('-', ' ')]) {
      expect(idsOf(await list(`q=${encodeURIComponent(q)}`)), q).toEqual([purchase])
    }
    expect(idsOf(await list(`q=${code}&status=PAID`))).toEqual([purchase])
    expect(idsOf(await list(`q=${code}&status=FAILED`))).toEqual([])
  })

  it('finds nothing with a part of a code: parts are not indexed (issue 10, line 10)', async () => {
    expect(idsOf(await list(`q=${code.slice(0, -1)}`))).toEqual([])
    expect(idsOf(await list(`q=${code.slice(-12, -2)}`))).toEqual([])
  })

  it('shows a sponsor only its own (issue 10, line 10)', async () => {
    const other = await createSponsor(app, shop)
    const { key } = await createSponsorKey(app, shop, other.id)
    expect(idsOf(await list(`q=${code}`, shop.sponsorKey))).toEqual([purchase])
    expect(idsOf(await list(`q=${code}`, key))).toEqual([])
  })

  it('needs the right to read vouchers, otherwise it would tell which codes exist', async () => {
    const { key: reader } = await createStaffKey(app, shop, ['purchases:read', 'vouchers:read'])
    const { key: other } = await createStaffKey(app, shop, ['purchases:read'])
    expect(idsOf(await list(`q=${code}`, reader))).toEqual([purchase])
    expect(idsOf(await list(`q=${code}`, other))).toEqual([])
  })
})

describe('a list as CSV', () => {
  it('keeps the order of the list', async () => {
    await paid()
    const oldest = idsOf(await list('sort=oldest&limit=100'))
    expect(oldest).toEqual(idsOf(await list('limit=100')).toReversed())
    expect((await csv('sort=oldest')).map((line) => line['id'])).toEqual(oldest)
    const answer = await app.request('GET', `${shop.path}/purchases?sort=total`)
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: 'query/sort' }] } })
  })

  it('has a line for each purchase that matches, newest first, with names (issue 10, line 10)', async () => {
    const { id } = await paid()
    const lines = await csv('status=PAID')
    expect(lines.map((line) => line['id'])).toEqual(idsOf(await list('status=PAID&limit=100')))
    expect(Object.keys(lines[0] ?? {}).join(',')).toBe(PURCHASE_CSV_HEADER)
    expect(lines[0]).toMatchObject({
      id,
      status: 'PAID',
      sponsor_name: expect.stringMatching(/^Sponsor-/),
      ticket_name: expect.stringMatching(/^Ticket-/),
      total_amount: '2000',
      amount_received: '2000',
      vouchers_issued: '2',
      failure_code: '',
      paid_at: expect.stringMatching(/Z$/),
    })
  })

  it('says how money came that did not come through Stripe', async () => {
    const order = await app.request<{ id: string; total_amount: number }>(
      'POST',
      `${shop.path}/purchases`,
      { as: shop.sponsorKey, body: { ticket_type: shop.ticketType, quantity: 2 } },
    )
    const { id, total_amount: amount } = order.body
    const body = { amount, method: 'bank_transfer', reference: 'statement 17' }
    const marked = await app.request('POST', `${shop.path}/purchases/${id}/mark-paid`, { body })
    expect(marked.status).toBe(200)
    const [line] = await csv(`q=${id}`)
    expect(line).toMatchObject({
      amount_received: String(amount),
      payment_intent: '',
      recorded_method: 'bank_transfer',
      recorded_reference: 'statement 17',
    })
  })

  it('shows a sponsor its own purchases', async () => {
    const other = await createSponsor(app, shop)
    const { key } = await createSponsorKey(app, shop, other.id)
    expect(await csv('', key)).toEqual([])
    expect((await csv('', shop.sponsorKey)).length).toBeGreaterThan(0)
  })

  it('neutralises what a spreadsheet would run as a formula (issue 10, line 10)', async () => {
    const reference = '=HYPERLINK("https://evil.example";"pay")'
    const { id } = await shop.buy({ quantity: 1, reference })
    const [line] = await csv(`q=${encodeURIComponent(reference)}`)
    expect(line).toMatchObject({ id, reference: `'${reference}` })
  })

  it('reads slices in short transactions, and each purchase once (issue 10, line 10)', async () => {
    await app.rows(
      `insert into bulk_purchases (conference_id, id, quantity, unit_amount, total_amount, currency,
         description, voucher_type, discount_value, max_uses, unlocks_hidden_tickets, code_prefix, requested_by)
       select $1, 'bp_many' || n, 1, 10, 10, 'EUR', 'one of many', 'comp', 100, 1, false, 'X-', 'key'
       from generate_series(1, 450) n`,
      [shop.conference],
    )
    const ids = (await csv('q=one%20of%20many')).map((line) => line['id'])
    expect(new Set(ids).size).toBe(450)
    expect(ids).toHaveLength(450)
  })

  it('has no cursor', async () => {
    const headers = { accept: 'text/csv' }
    const { next_cursor: cursor } = await list('limit=1')
    expect(
      await app.request('GET', `${shop.path}/purchases?cursor=${cursor}`, { headers }),
    ).toMatchObject({ status: 400, body: { errors: [{ pointer: 'query/cursor' }] } })
  })
})

describe('the list of all conferences', () => {
  let other: Shop
  let theirs: string
  let code: string
  beforeAll(async () => {
    other = await openShop(app)
    for (const quantity of [1, 2, 3]) {
      await shop.buy({ quantity, reference: 'ACROSS' })
      theirs = (await other.buy({ quantity, reference: 'ACROSS' })).id
    }
    stripe.fake.control.pay(await other.openSession(theirs))
    await other.act(theirs, 'reconcile')
    code = (await other.codes(theirs))[0] ?? ''
  })

  const all = async (query: string) =>
    (await app.request<Page>('GET', `/v1/purchases?${query}`)).body
  /** The ids of all pages. */
  async function pages(query: string): Promise<string[]> {
    const found: string[] = []
    let next: string | null = ''
    while (next !== null) {
      const page: Page = await all(`${query}&limit=2${next === '' ? '' : `&cursor=${next}`}`)
      found.push(...idsOf(page))
      next = page.next_cursor
    }
    return found
  }
  /** The same by reading every purchase. */
  const expected = async (condition: string) =>
    (
      await app.rows<{ id: string }>(
        `select id from bulk_purchases where ${condition} order by created_at desc, id desc`,
      )
    ).map(({ id }) => id)

  it('is one list, newest first, page by page, for an operator (issue 10, line 10)', async () => {
    expect(await pages('created_after=2000-01-01T00:00:00Z&status=PENDING&q=ACROSS')).toEqual(
      await expected(`reference = 'ACROSS' and status = 'PENDING'`),
    )
    expect(await pages('status=PAID')).toEqual(await expected(`status = 'PAID'`))
    const newest = await all('limit=4')
    expect(idsOf(newest)).toEqual((await expected('true')).slice(0, 4))
    expect(new Set(newest.data.map(({ conference }) => conference))).toEqual(
      new Set([shop.conference, other.conference]),
    )
    expect(newest.data.find(({ id }) => id === theirs)).toEqual(await other.get(theirs))
  })

  it('finds by text, sponsor, id and code in every conference (issue 10, line 10)', async () => {
    expect(await pages('q=across')).toEqual(await expected(`reference = 'ACROSS'`))
    expect(idsOf(await all(`q=${code}`))).toEqual([theirs])
    expect(idsOf(await all(`q=${theirs}`))).toEqual([theirs])
    const name = encodeURIComponent(String((await other.get(theirs))['sponsor_name']))
    expect(await pages(`q=${name}`)).toEqual(
      await expected(`conference_id = '${other.conference}'`),
    )
    expect(await pages('q=nothing%20like%20this')).toEqual([])
  })

  it('keeps to open flags (issue 10, line 10)', async () => {
    const flags = [
      [shop.conference, (await expected(`conference_id = '${shop.conference}'`))[0]],
      [other.conference, theirs],
    ]
    for (const [conference, purchase] of flags) {
      for (const flag of ['overpaid', 'dispute']) {
        await app.rows(
          `insert into purchase_flags (conference_id, purchase_id, code, fact, detail)
           values ($1, $2, $3, 'x', 'y')`,
          [conference, purchase, flag],
        )
      }
    }
    const ids = flags.map(([, purchase]) => `'${purchase}'`).join(', ')
    const flagged = await expected(`id in (${ids})`)
    expect(await pages('flag=any')).toEqual(flagged)
    expect(await pages('flag=dispute')).toEqual(flagged)
    expect(await pages('flag=dispute&q=across')).toEqual(
      await expected(`id in (${ids}) and reference = 'ACROSS'`),
    )
  })

  it('is that of one conference with its slug or id, and then also of a sponsor (issue 10, line 10)', async () => {
    const query = `sponsor=${other.sponsorSlug}&ticket_type=${other.ticketType}`
    for (const name of [other.conference, other.path.split('/').at(-1)]) {
      expect(await pages(`conference=${name}&${query}`)).toEqual(
        await expected(`conference_id = '${other.conference}'`),
      )
    }
    for (const filter of query.split('&')) {
      expect(await app.request('GET', `/v1/purchases?${filter}`)).toMatchObject({
        status: 400,
        body: { errors: [{ pointer: `query/${filter.split('=')[0]}` }] },
      })
    }
    expect(await app.request('GET', '/v1/purchases?conference=nowhere')).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: 'query/conference' }] },
    })
  })

  it('is also CSV, with the conference of each line (issue 10, line 10)', async () => {
    const { body } = await app.request<string>('GET', '/v1/purchases?q=across', {
      headers: { accept: 'text/csv' },
    })
    const [, ...lines] = String(body).trimEnd().split('\n').map(cellsOf)
    expect(lines.map(([id]) => id)).toEqual(await expected(`reference = 'ACROSS'`))
    expect(new Set(lines.map(([, conference]) => conference))).toEqual(
      new Set([shop.conference, other.conference]),
    )
  })

  it('is refused to staff and sponsors (issue 10, line 10)', async () => {
    const { key } = await createStaffKey(app, shop, ['purchases:read'])
    for (const as of [key, shop.sponsorKey]) {
      expect(await app.request('GET', '/v1/purchases', { as })).toMatchObject({ status: 403 })
    }
  })
})
