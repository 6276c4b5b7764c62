import { beforeAll, describe, expect, it } from 'vitest'
import { containing } from '../../src/db/text-search.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { useTestApp } from '../support/test-app.ts'

const app = useTestApp()
let shop: Shop

// More than the list reads before it asks the index. The newest and the oldest have texts of their own.
const PURCHASES = 2_600
const SPECIAL = `case n when 3 then 'Zürcher ÖPNV 100% net_work' when 5 then 'back\\slash "quote" 🎫 Größe'
  when 2599 then 'Zürcher ÖPNV again' else 'Ticket ' || n % 50 end`

const SEED = `
  insert into sponsors (conference_id, id, name, slug, contact_email)
    select $1, 'spon_' || n, 'Sponsor No ' || n, 'house-' || n, 'mail' || n || '@acme.example'
    from generate_series(1, 40) n;
  insert into bulk_purchases (conference_id, id, sponsor_id, status, quantity, unit_amount, total_amount,
    currency, description, reference, voucher_type, discount_value, max_uses, unlocks_hidden_tickets,
    code_prefix, payment_intent_id, requested_by, created_at, paid_at)
  select $1, 'bp_' || left(md5('p' || n), 21), 'spon_' || 1 + n % 40,
    case n % 3 when 0 then 'PAID' else 'PENDING' end, 1, 10, 10, 'EUR', ${SPECIAL},
    case n % 4 when 0 then 'PO-' || 90000 + n end, 'percentage', 100, 1, false, 'X-',
    case n % 3 when 0 then 'pi_' || left(md5('i' || n), 24) end, 'key',
    now() - (10000 - n / 3) * interval '1 minute', case n % 3 when 0 then now() end
  from generate_series(1, ${PURCHASES}) n;`

beforeAll(async () => {
  shop = await openShop(app)
  for (const statement of SEED.split(';').filter((sql) => sql.trim() !== '')) {
    await app.rows(statement, [shop.conference])
  }
  await app.rows('analyze')
})

type Page = { data: { id: string }[]; next_cursor: string | null }

/** The ids of all pages, in their order. */
async function listed(path: string, query: Record<string, string>): Promise<string[]> {
  const ids: string[] = []
  let cursor: string | null = null
  do {
    const search: URLSearchParams = new URLSearchParams({
      limit: '40',
      ...query,
      ...(cursor === null ? {} : { cursor }),
    })
    const { body } = await app.request<Page>('GET', `${shop.path}/${path}?${search.toString()}`)
    ids.push(...body.data.map(({ id }) => id))
    cursor = body.next_cursor
  } while (cursor !== null)
  return ids
}

/** The same by reading every purchase. */
async function expected(text: string, condition = 'true'): Promise<string[]> {
  const rows = await app.rows<{ id: string }>(
    `select p.id from bulk_purchases p left join sponsors s using (conference_id)
     where p.conference_id = $1 and s.id = p.sponsor_id and ${condition} and (p.id ilike $2
       or p.description ilike $2 or p.reference ilike $2 or p.payment_intent_id ilike $2
       or s.name ilike $2 or s.slug ilike $2)
     order by p.created_at desc, p.id desc`,
    [shop.conference, containing(text)],
  )
  return rows.map(({ id }) => id)
}

describe('a search for purchases (issue 9, line 6)', () => {
  it.each([
    ['a word of the oldest and the newest', 'zürcher öpnv'],
    ['another case', 'GRÖßE'],
    ['a wildcard that is none', '100%'],
    ['another wildcard that is none', 't_w'],
    ['a backslash', 'back\\slash'],
    ['an emoji', '🎫 Gr'],
    ['a reference', 'po-90004'],
    ['a part of several references', 'PO-901'],
    ['a part of a sponsor’s name', 'sponsor no 17'],
    ['a slug', 'house-3'],
    ['a part of ids and payment intents', 'a5'],
    ['a longer part of them', 'a5f'],
    ['one character', 'ü'],
    ['what no purchase contains', 'nothing like this'],
  ])('finds exactly the purchases that contain %s', async (_, text) => {
    expect(await listed('purchases', { q: text })).toEqual(await expected(text))
  })

  it('finds a purchase by its whole id and payment intent', async () => {
    const rows = await app.rows<{ id: string; payment_intent_id: string }>(
      `select id, payment_intent_id from bulk_purchases where description = 'Zürcher ÖPNV 100% net_work'`,
    )
    const [oldest] = rows
    expect(await listed('purchases', { q: oldest?.id ?? '' })).toEqual([oldest?.id])
    expect(await listed('purchases', { q: oldest?.payment_intent_id ?? '' })).toEqual([oldest?.id])
  })

  it('finds with a whole id also the purchases that name it, page by page', async () => {
    const [named] = await expected('Ticket 11')
    const id = named ?? ''
    await app.rows(
      `update bulk_purchases set reference = 'replaces ' || upper($2)
       where conference_id = $1 and description = 'Ticket 12' and id <> $2`,
      [shop.conference, id],
    )
    const all = await expected(id)
    expect(all.length).toBeGreaterThan(40)
    expect(all).toContain(id)
    expect(await listed('purchases', { q: id.toUpperCase() })).toEqual(all)
    expect(await listed('purchases', { q: `${id}x` })).toEqual([])
  })

  it('keeps to the other filters', async () => {
    const query = { q: 'ticket 7', status: 'PAID' }
    const paid = await expected('ticket 7', `p.status = 'PAID'`)
    expect(paid.length).toBeGreaterThan(0)
    expect(await listed('purchases', query)).toEqual(paid)
    const ofOne = await expected('ticket', `p.sponsor_id = 'spon_7'`)
    expect(await listed('purchases', { q: 'ticket', sponsor: 'house-7' })).toEqual(ofOne)
  })

  it('finds only flagged purchases with a flag', async () => {
    await app.rows(
      `insert into purchase_flags (conference_id, purchase_id, code, fact, detail)
       select conference_id, id, code, 'x', 'x' from bulk_purchases,
         unnest(array['overpaid', 'dispute']) code
       where conference_id = $1 and description = 'Ticket 8' and status = 'PAID'`,
      [shop.conference],
    )
    const flagged = await expected('Ticket 8', `p.description = 'Ticket 8' and p.status = 'PAID'`)
    expect(await listed('purchases', { q: 'ticket', flag: 'any', limit: '5' })).toEqual(flagged)
    expect(await listed('purchases', { flag: 'any', limit: '5' })).toEqual(flagged)
    expect(await listed('purchases', { flag: 'dispute', limit: '5' })).toEqual(flagged)
    expect(await listed('purchases', { flag: 'refund_failed' })).toEqual([])
  })

  it.each<Record<string, string>>([
    { limit: '100' },
    { status: 'PAID', limit: '100' },
    { sponsor: 'house-7' },
    { flag: 'any', limit: '5' },
    { q: 'ticket 7' },
    { q: 'zürcher' },
    { q: 'ü' },
    { q: 'ticket', flag: 'dispute', limit: '5' },
  ])('lists the oldest first on request, page by page: %o', async (query) => {
    const newest = await listed('purchases', query)
    expect(newest.length).toBeGreaterThan(1)
    const oldest = await listed('purchases', { ...query, sort: 'oldest' })
    expect(oldest).toEqual(newest.toReversed())
  })

  it('follows a change of the text', async () => {
    const { id } = await shop.buy()
    const path = `${shop.path}/purchases/${id}`
    await app.request('PATCH', path, { body: { reference: 'Mandarinenbaum' } })
    expect(await listed('purchases', { q: 'mandarin' })).toEqual([id])
    await app.request('PATCH', path, { body: { reference: 'Apfelbaum' } })
    expect(await listed('purchases', { q: 'mandarin' })).toEqual([])
    expect(await listed('purchases', { q: 'apfel' })).toEqual([id])
  })
})

describe('a search for sponsors', () => {
  it.each(['HOUSE-1', 'mail17@acme', 'no 4', 'n', 'nobody here'])(
    'finds all with %s',
    async (text) => {
      const rows = await app.rows<{ id: string }>(
        `select id from sponsors where conference_id = $1
         and (name ilike $2 or slug ilike $2 or contact_email ilike $2)
       order by created_at desc, id desc`,
        [shop.conference, containing(text)],
      )
      expect(await listed('sponsors', { q: text })).toEqual(rows.map(({ id }) => id))
    },
  )
})
