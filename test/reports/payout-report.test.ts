import Stripe from 'stripe'
import { beforeAll, describe, expect, it } from 'vitest'
import { readPayout } from '../../src/reports/payout-report.ts'
import { openChargeScene } from '../billing/charges/charge-scene.ts'
import { createStaffKey } from '../support/fixtures.ts'
import { openShop, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'
import type { Body } from '../support/test-app.ts'

const { app, stripe } = useAppOnStripe()
const control = () => stripe.fake.control

type Sums = { count: number; gross: number; fee: number; net: number }
type Totals = Record<'conference' | 'payout' | 'other' | 'all', Sums>
type Item = Sums & Record<string, string | number | null>
type Report = Body & {
  amount: number
  reconciliation: string
  difference: number | null
  detail: string
  totals: Totals
  other_listed: boolean
  items: Item[]
  currencies: { currency: string; totals: Totals }[]
}
type Transaction = { id: string; amount: number; fee: number; net: number; source: string }

const staffOf = new Map<string, string>()

async function report(of: { path: string }, page: string): Promise<Report> {
  const as = staffOf.get(of.path)
  const url = `${of.path}/reports/${page}`
  const answer = await app.request<Report>('GET', url, as === undefined ? {} : { as })
  expect(answer).toMatchObject({ status: 200 })
  return answer.body
}

async function staffMayRead(conference: { path: string }): Promise<void> {
  const { path } = conference
  staffOf.set(path, (await createStaffKey(app, { path }, ['purchases:read'])).key)
}

async function paid(of: Shop, options = {}): Promise<{ id: string; session: string }> {
  const { id } = await of.buy()
  const session = await of.openSession(id)
  control().pay(session, options)
  await of.act(id, 'reconcile')
  return { id, session }
}

/** A sale of the same Stripe account that has nothing to do with the service. */
const sellElsewhere = (of: Shop, amount: number) =>
  control().call(of.stripeKey, 'POST', '/v1/payment_intents', {
    amount,
    currency: 'eur',
    confirm: true,
    payment_method: 'pm_card_visa',
    return_url: 'https://shop.example/',
  })

/** The raw transactions of a payout as the fake lists them, without the payout's own. */
function rawOf(of: Shop, payout: string): Transaction[] {
  const page = control().call(of.stripeKey, 'GET', '/v1/balance_transactions', {
    payout,
    limit: 100,
  }) as { data: Transaction[] }
  return page.data.filter(({ source }) => source !== payout)
}

/** Adds up the raw transactions whose charge, refund or dispute is of one of these payment intents. */
function rawSums(transactions: Transaction[], intents: readonly string[] | null): Sums {
  const counted = transactions.filter(({ source }) => {
    if (intents === null) return true
    const object = control().get(source) as unknown as { payment_intent?: string }
    return object.payment_intent !== undefined && intents.includes(object.payment_intent)
  })
  const sum = (of: (one: Transaction) => number) =>
    counted.reduce((total, one) => total + of(one), 0)
  return {
    count: counted.length,
    gross: sum(({ amount }) => amount),
    fee: sum(({ fee }) => fee),
    net: sum(({ net }) => net),
  }
}

const intentOf = (session: string) =>
  String((control().get(session) as unknown as Body)['payment_intent'])

let shop: Shop
beforeAll(async () => {
  shop = await openShop(app)
  await staffMayRead(shop)
})

describe('an automatic payout', () => {
  it('agrees with the sums of its purchases, refunds, disputes and other sales', async () => {
    // Both in another currency than the balance, so that fees are in another one than the payments.
    control().convert(shop.stripeKey, { from: 'eur', into: 'chf', rate: 0.95 })
    const first = await paid(shop)
    const second = await paid(shop)
    control().refund(first.session, { amount: 3_000 })
    const dispute = control().dispute(second.session, { amount: 2_000 })
    control().closeDispute(dispute.id, 'lost')
    sellElsewhere(shop, 7_700)
    const { id, amount } = control().payOut(shop.stripeKey, 'chf')
    const raw = rawOf(shop, id)
    const ours = [first, second].map(({ session }) => intentOf(session))
    const read = await report(shop, `payouts/${id}`)
    expect(read).toMatchObject({
      object: 'payout_report',
      status: 'in_transit',
      automatic: true,
      amount,
      currency: 'CHF',
      reconciliation: 'agrees',
      difference: 0,
      other_listed: true,
    })
    expect(read.totals.conference).toEqual(rawSums(raw, ours))
    expect(read.totals.all).toEqual(rawSums(raw, null))
    expect(read.totals.all.net).toBe(amount)
    expect(read.totals.other).toMatchObject({ count: 1, gross: 7_315 })
    expect(read.totals.payout.count).toBe(0)
    // The dispute's fee of 15.00 is Stripe's, in the currency of the balance.
    const lines = read.items.map((item) => [
      item['category'],
      item['purchase'],
      item.gross,
      item.fee,
    ])
    expect(lines).toEqual([
      ['charge', null, 7_315, 242],
      ['dispute', second.id, -1_900, 1_500],
      ['refund', first.id, -2_850, 0],
      ['charge', second.id, 9_500, 306],
      ['charge', first.id, 9_500, 306],
    ])
    expect(read.items[2]).toMatchObject({
      belongs_to: 'conference',
      sponsor: shop.sponsor,
      payment_intent: intentOf(first.session),
      customer_amount: -3_000,
      customer_currency: 'EUR',
      currency: 'CHF',
      exchange_rate: 0.95,
    })
    expect(read.items[0]).toMatchObject({ belongs_to: 'other', payment_intent: expect.any(String) })
  })

  it('names the charge of a sponsor beside its purchase', async () => {
    const other = await openShop(app)
    const { id } = await paid(other)
    const charges = await openChargeScene(app, stripe, other)
    charges.save()
    const charge = await charges.create()
    await charges.act(charge.id, 'charge')
    const payout = control().payOut(other.stripeKey, 'eur')
    const read = await report(other, `payouts/${payout.id}`)
    expect(read).toMatchObject({
      reconciliation: 'agrees',
      totals: { conference: { count: 2, gross: 11_234 }, other: { count: 0 } },
      items: [
        { charge: charge.id, purchase: null, sponsor: other.sponsor, gross: 1_234 },
        { charge: null, purchase: id, sponsor: other.sponsor, gross: 10_000 },
      ],
    })
  })

  it('that failed is named, and its money is part of the next one', async () => {
    const other = await openShop(app)
    const before = await paid(other)
    const failed = control().payOut(other.stripeKey, 'eur')
    control().failPayout(failed.id)
    const after = await paid(other)
    await paid(other)
    const next = control().payOut(other.stripeKey, 'eur')
    const [first, second] = [
      await report(other, `payouts/${failed.id}`),
      await report(other, `payouts/${next.id}`),
    ]
    expect(first).toMatchObject({
      status: 'failed',
      failure_code: 'account_closed',
      reconciliation: 'agrees',
      detail: expect.stringContaining('is part of a later payout'),
      items: [{ purchase: before.id }],
    })
    expect(second).toMatchObject({ reconciliation: 'agrees', difference: 0 })
    expect(second.totals.payout).toEqual({
      count: 1,
      gross: failed.amount,
      fee: 0,
      net: failed.amount,
    })
    expect(second.items.find(({ type }) => type === 'payout_failure')).toMatchObject({
      belongs_to: 'payout',
      payout: failed.id,
      purchase: null,
    })
    expect(second.totals.conference).toEqual(
      rawSums(
        rawOf(other, next.id).filter(({ source }) => source !== failed.id),
        null,
      ),
    )
    expect(second.items.map(({ purchase }) => purchase)).toContain(after.id)
  })

  it('whose entries do not add up to it names the difference', async () => {
    const other = await openShop(app)
    await paid(other)
    const payout = control().payOut(other.stripeKey, 'eur')
    const row = control().get(payout.id)
    control().put(other.stripeKey, { ...row, amount: payout.amount + 100 } as typeof row)
    expect(await report(other, `payouts/${payout.id}`)).toMatchObject({
      reconciliation: 'differs',
      difference: 100,
      detail: expect.stringMatching(/add up to \d+\.\d\d EUR, .* a difference of 1\.00 EUR/),
    })
    control().put(other.stripeKey, { ...row, reconciliation_status: 'in_progress' } as typeof row)
    expect(await report(other, `payouts/${payout.id}`)).toMatchObject({
      reconciliation: 'in_progress',
      difference: 0,
    })
  })

  it('is read completely, also if Stripe needs several pages for it', async () => {
    const other = await openShop(app)
    await paid(other)
    for (let count = 0; count < 120; count += 1) sellElsewhere(other, 1_000 + count)
    const { id, amount } = control().payOut(other.stripeKey, 'eur')
    control().clearRequests()
    const read = await report(other, `payouts/${id}`)
    expect(read.totals).toMatchObject({ conference: { count: 1 }, other: { count: 120 } })
    expect(read.totals.all.net).toBe(amount)
    const path = '/v1/balance_transactions'
    expect(control().requests({ method: 'GET', path })).toHaveLength(2)

    // More entries of other sales than a report lists: they are counted, but not kept.
    const { hostname: host, port } = new URL(stripe.fake.url)
    const client = new Stripe(other.stripeKey, { host, port: Number(port), protocol: 'http' })
    const clients = { background: async () => ({ stripe: client, livemode: false }) }
    const short = await readPayout({ db: app.db, clients, maxOthers: 50 }, other.conference, id)
    expect(short).toMatchObject({ reconciliation: 'agrees', totals: read.totals })
    expect(short.other_listed).toBe(false)
    expect(short.items).toEqual(read.items.filter((item) => item['belongs_to'] === 'conference'))
  })
})

describe('a manual payout', () => {
  it('is not itemised by Stripe; the balance of its days shows its money', async () => {
    const other = await openShop(app)
    const { id, session } = await paid(other)
    control().refund(session, { amount: 1_000 })
    await other.act(id, 'reconcile')
    sellElsewhere(other, 500)
    const payout = control().call(other.stripeKey, 'POST', '/v1/payouts', {
      amount: 4_000,
      currency: 'eur',
    }) as { id: string }
    expect(await report(other, `payouts/${payout.id}`)).toMatchObject({
      automatic: false,
      reconciliation: 'not_itemised',
      difference: null,
      items: [],
    })
    const today = control().clock.now().toISOString().slice(0, 10)
    const balance = await report(other, `balance?from=${today}&to=${today}`)
    const raw = control().list(other.stripeKey, 'balance_transaction') as unknown as Transaction[]
    const [eur] = balance.currencies
    expect(eur).toMatchObject({
      currency: 'EUR',
      totals: { payout: { gross: -4_000, net: -4_000 } },
    })
    expect(eur?.totals.all).toEqual(rawSums(raw, null))
    expect(eur?.totals.conference).toEqual(rawSums(raw, [intentOf(session)]))
    const atStripe = control().call(other.stripeKey, 'GET', '/v1/balance') as {
      available: { currency: string; amount: number }[]
      pending: { currency: string; amount: number }[]
    }
    const held = [...atStripe.available, ...atStripe.pending]
      .filter(({ currency }) => currency === 'eur')
      .reduce((sum, { amount }) => sum + amount, 0)
    expect(eur?.totals.all.net).toBe(held)
  })
})

describe('two conferences on one Stripe account', () => {
  it('see the same payout, each with its own purchases and only the sum of the others', async () => {
    const here = await openShop(app)
    const there = await openShop(app, { stripe_secret_key: here.stripeKey })
    const mine = await paid(here)
    const theirs = await paid({ ...there, stripeKey: here.stripeKey })
    sellElsewhere(here, 900)
    const { id, amount } = control().payOut(here.stripeKey, 'eur')
    const raw = rawOf(here, id)
    const [a, b] = [await report(here, `payouts/${id}`), await report(there, `payouts/${id}`)]
    for (const [read, own, other] of [
      [a, mine, theirs],
      [b, theirs, mine],
    ] as const) {
      expect(read).toMatchObject({ amount, reconciliation: 'agrees', other_listed: false })
      expect(read.totals.conference).toEqual(rawSums(raw, [intentOf(own.session)]))
      expect(read.totals.other.net).toBe(amount - read.totals.conference.net)
      expect(read.items.map(({ purchase }) => purchase)).toEqual([own.id])
      expect(JSON.stringify(read)).not.toContain(intentOf(other.session))
    }
  })
})

describe('the reports of payouts', () => {
  it('list payouts by status and day of arrival, page by page', async () => {
    const other = await openShop(app)
    const made: string[] = []
    for (let count = 0; count < 3; count += 1) {
      await paid(other)
      made.push(control().payOut(other.stripeKey, 'eur').id)
    }
    control().settlePayout(made[0] ?? '')
    const list = async (query: string) =>
      (await report(other, `payouts?${query}`)) as unknown as {
        data: { id: string; arrival_date: string }[]
        next_cursor: string | null
      }
    const first = await list('limit=2')
    expect(first.data.map(({ id }) => id)).toEqual([made[2], made[1]])
    const second = await list(`limit=2&cursor=${first.next_cursor}`)
    expect(second).toMatchObject({ data: [{ id: made[0], status: 'paid' }], next_cursor: null })
    expect((await list('status=paid')).data).toHaveLength(1)
    const day = first.data[0]?.arrival_date ?? ''
    expect((await list(`from=${day}&to=${day}`)).data).toHaveLength(3)
    expect((await list('to=2020-01-01')).data).toEqual([])
  })

  it('are CSV on request: all lines add up, also those of others', async () => {
    const here = await openShop(app)
    await openShop(app, { stripe_secret_key: here.stripeKey })
    await paid(here)
    sellElsewhere(here, 900)
    const { id, amount } = control().payOut(here.stripeKey, 'eur')
    const { body, headers } = await app.request<string>(
      'GET',
      `${here.path}/reports/payouts/${id}`,
      {
        headers: { accept: 'text/csv' },
      },
    )
    expect(headers['content-type']).toBe('text/csv; charset=utf-8; header=present')
    const [head = '', ...lines] = body.trimEnd().split('\n')
    const net = head.split(',').indexOf('net')
    expect(lines).toHaveLength(2)
    expect(lines.reduce((sum, line) => sum + Number(line.split(',')[net]), 0)).toBe(amount)
    expect(lines[1]).toMatch(/^,sum,,other,/)
  })

  it('are not for sponsors, and refuse an id that is not one of a payout', async () => {
    const refused = await app.request('GET', `${shop.path}/reports/payouts`, {
      as: shop.sponsorKey,
    })
    expect(refused.status).toBe(403)
    const read = (page: string) => app.request('GET', `${shop.path}/reports/${page}`)
    expect(await read('payouts/po_none')).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    })
    expect(await read('payouts/pi_1')).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: 'params/payout' }] },
    })
    expect(await read('balance?from=2027-01-01&to=2027-02-01')).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: 'query/to', detail: 'must be at most 30 days after from' }] },
    })
  })
})
