import { beforeAll, describe, expect, it } from 'vitest'
import { openChargeScene } from '../billing/charges/charge-scene.ts'
import { createSponsor, createSponsorKey, createStaffKey } from '../support/fixtures.ts'
import { openShop, type PurchaseAnswer, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'
import type { Body } from '../support/test-app.ts'

const { app, stripe } = useAppOnStripe()
const control = () => stripe.fake.control

type Entry = { type: string; amount: number; balance: number; purchase: string | null } & Body
type Account = {
  currency: string
  opening_balance: number
  closing_balance: number
  entries: Entry[]
  totals: Record<'orders' | 'credits' | 'payments' | 'refunds' | 'disputes', number>
}
type Statement = { from: string | null; time_zone: string; accounts: Account[] }

let shop: Shop
let staff = ''

const reconcile = (id: string) => shop.act(id, 'reconcile')

async function read(query = '', as = staff, sponsor = shop.sponsor): Promise<Statement> {
  const url = `${shop.path}/sponsors/${sponsor}/statement${query}`
  const { status, body } = await app.request<Statement>('GET', url, { as })
  expect(status).toBe(200)
  return body
}

/** Buys 10 codes at 10.00 EUR and pays on the payment page. */
async function paid(options = {}): Promise<{ id: string; session: string }> {
  const { id } = await shop.buy()
  const session = await shop.openSession(id)
  control().pay(session, options)
  await reconcile(id)
  return { id, session }
}

const sum = (amounts: number[]) => amounts.reduce((total, amount) => total + amount, 0)

/** What the objects of the sponsor's purchases and charges at Stripe add up to, by currency. */
function moneyAtStripe(currency: string) {
  const all = (kind: string) =>
    control()
      .list(shop.stripeKey, kind)
      .map((object) => object as unknown as Body & { amount: number })
      .filter((object) => object['currency'] === currency)
  return {
    charged: sum(all('charge').flatMap((one) => (one['paid'] === true ? [one.amount] : []))),
    refunded: sum(
      all('refund').flatMap((one) => (one['status'] === 'succeeded' ? [one.amount] : [])),
    ),
    lost: sum(all('dispute').flatMap((one) => (one['status'] === 'lost' ? [one.amount] : []))),
  }
}

const purchases: Record<string, string> = {}

beforeAll(async () => {
  shop = await openShop(app)
  staff = (await createStaffKey(app, shop, ['purchases:read'])).key

  const refunded = await paid()
  control().refund(refunded.session, { amount: 3_000 })
  await reconcile(refunded.id)

  const transfer = await shop.buy({ reference: 'PO-2027-7' })
  await shop.act(transfer.id, 'mark-paid', {
    amount: 10_000,
    method: 'bank_transfer',
    reference: 'RE-118',
    paid_at: '2026-03-01T00:00:00Z',
  })
  await shop.act(transfer.id, 'refund', { quantity: 2 })

  const disputed = await paid()
  const dispute = control().dispute(disputed.session)
  await reconcile(disputed.id)
  control().closeDispute(dispute.id, 'lost')
  await reconcile(disputed.id)

  const cancelled = await shop.buy()
  await shop.openSession(cancelled.id)
  await shop.act(cancelled.id, 'cancel')

  const open = await shop.buy({ quantity: 4 })

  const twice = await paid()
  const intent = control().call(shop.stripeKey, 'POST', '/v1/payment_intents', {
    amount: 10_000,
    currency: 'eur',
    confirm: true,
    payment_method: 'pm_card_visa',
    return_url: 'https://shop.example/',
    metadata: { purchase_id: twice.id, conference_id: shop.conference },
  }) as Body
  await shop.act(twice.id, 'reconcile', { payment_intent: intent['id'] })

  const inYen = await paid({ amount: 1_500_000, currency: 'jpy' })
  await shop.act(inYen.id, 'resolve-flag', {
    code: 'amount_mismatch',
    action: 'accept_payment',
    note: 'agreed',
  })

  const failed = await paid()
  const refund = control().refund(failed.session, { amount: 4_000 })
  await reconcile(failed.id)
  control().failRefund(refund.id)
  await reconcile(failed.id)

  const charges = await openChargeScene(app, stripe, shop)
  charges.save()
  const charge = await charges.create()
  await charges.act(charge.id, 'charge')
  await charges.act(charge.id, 'refund', { amount: 234 })
  const dropped = await charges.create()
  await charges.act(dropped.id, 'cancel')

  Object.assign(purchases, {
    refunded: refunded.id,
    transfer: transfer.id,
    disputed: disputed.id,
    cancelled: cancelled.id,
    open: open.id,
    twice: twice.id,
    inYen: inYen.id,
    failed: failed.id,
  })
})

describe('the statement of a sponsor', () => {
  it('has the sums of the objects at Stripe and of what staff recorded', async () => {
    const { accounts } = await read()
    const [eur, jpy] = accounts
    const atStripe = moneyAtStripe('eur')
    expect(atStripe).toEqual({ charged: 51_234, refunded: 3_234, lost: 10_000 })
    expect(eur?.totals).toMatchObject({
      payments: -(atStripe.charged + 10_000),
      refunds: atStripe.refunded + 2_000,
      disputes: atStripe.lost,
    })
    expect(jpy).toMatchObject({
      currency: 'JPY',
      totals: { orders: 1_500_000, payments: -1_500_000 },
      closing_balance: 0,
    })
  })

  it('balances what is left of the orders with what is left of the money', async () => {
    const { accounts } = await read()
    const eur = accounts[0]
    // Independent of money: the price of the codes that work, and what is not paid yet.
    const worth = await Promise.all(
      ['refunded', 'transfer', 'disputed', 'twice', 'failed'].map(async (name) => {
        const { body } = await app.request<PurchaseAnswer>(
          'GET',
          `${shop.path}/purchases/${purchases[name]}`,
        )
        return body.vouchers.active * 1_000
      }),
    )
    expect(worth).toEqual([7_000, 8_000, 0, 10_000, 10_000])
    const owed = sum(worth) + 4_000 + 1_000
    expect((eur?.totals.orders ?? 0) + (eur?.totals.credits ?? 0)).toBe(owed)
    // The order that is not paid, less the payment that came twice.
    expect(eur).toMatchObject({ opening_balance: 0, closing_balance: 4_000 - 10_000 })
    let balance = 0
    for (const entry of eur?.entries ?? []) {
      balance += entry.amount
      expect(entry.balance).toBe(balance)
    }
    expect(eur?.entries.at(-1)?.balance).toBe(eur?.closing_balance)
  })

  it('names each order, payment, refund, dispute and credit with its reference', async () => {
    const { accounts } = await read()
    const of = (name: string) =>
      accounts
        .flatMap(({ currency, entries }) => entries.map((entry) => ({ currency, ...entry })))
        .filter(({ purchase }) => purchase === purchases[name])
        .map(({ type, amount, currency }) => `${type} ${amount} ${currency}`)
    expect(of('refunded')).toEqual([
      'order 10000 EUR',
      'payment -10000 EUR',
      'refund 3000 EUR',
      'credit -3000 EUR',
    ])
    expect(of('disputed').slice(2)).toEqual(['dispute 10000 EUR', 'credit -10000 EUR'])
    expect(of('cancelled')).toEqual(['order 10000 EUR', 'cancellation -10000 EUR'])
    expect(of('inYen')).toEqual([
      'order 10000 EUR',
      'credit -10000 EUR',
      'payment -1500000 JPY',
      'order 1500000 JPY',
    ])
    expect(of('failed').slice(2)).toEqual([
      'refund 4000 EUR',
      'credit -4000 EUR',
      'refund_failed -4000 EUR',
      'credit 4000 EUR',
    ])
    const transfer = accounts[0]?.entries.filter(
      ({ purchase }) => purchase === purchases['transfer'],
    )
    expect(transfer).toMatchObject([
      { type: 'order', reference: 'PO-2027-7', method: null },
      {
        type: 'payment',
        reference: 'RE-118',
        method: 'bank_transfer',
        paid_at: '2026-03-01T00:00:00.000Z',
      },
      { type: 'refund', amount: 2_000, method: 'bank_transfer' },
      { type: 'credit', amount: -2_000 },
    ])
    const charges = accounts[0]?.entries.filter(({ charge }) => charge !== null)
    expect(charges?.map(({ type, amount }) => [type, amount])).toEqual([
      ['order', 1_234],
      ['payment', -1_234],
      ['refund', 234],
      ['credit', -234],
      ['order', 1_234],
      ['cancellation', -1_234],
    ])
  })

  it('splits at days of UTC: yesterday closes with what today opens with', async () => {
    const { id } = await paid()
    await app.rows(
      `update bulk_purchases set created_at = '2026-01-31T23:59:59.9999Z' where id = $1`,
      [id],
    )
    await app.rows(
      `update payments set received_at = '2026-02-01T00:00:00Z' where purchase_id = $1`,
      [id],
    )
    const january = await read('?from=2026-01-01&to=2026-01-31')
    expect(january).toMatchObject({ from: '2026-01-01', to: '2026-01-31', time_zone: 'UTC' })
    const [first, ...others] = january.accounts
    expect(others).toEqual([])
    expect(first).toMatchObject({
      opening_balance: 0,
      entries: [{ type: 'order', purchase: id, date: '2026-01-31T23:59:59.999Z' }],
      closing_balance: 10_000,
    })
    const [second] = (await read('?from=2026-02-01')).accounts
    expect(second?.opening_balance).toBe(first?.closing_balance)
    expect(second?.entries[0]).toMatchObject({
      type: 'payment',
      purchase: id,
      date: '2026-02-01T00:00:00.000Z',
    })
  })

  it('is CSV on request, with the opening and the closing balance', async () => {
    const url = `${shop.path}/sponsors/${shop.sponsor}/statement?from=2026-02-01`
    const { body, headers } = await app.request<string>('GET', url, {
      as: staff,
      headers: { accept: 'text/csv' },
    })
    expect(headers['content-type']).toBe('text/csv; charset=utf-8; header=present')
    const [head, opening, ...rest] = body.trimEnd().split('\n')
    expect(head).toBe(
      'currency,date,type,purchase,charge,description,reference,method,paid_at,amount,balance',
    )
    const [eur] = (await read('?from=2026-02-01')).accounts
    expect(opening).toBe(`EUR,,opening_balance,,,,,,,,${eur?.opening_balance}`)
    expect(rest[eur?.entries.length ?? 0]).toBe(
      `EUR,,closing_balance,,,,,,,,${eur?.closing_balance}`,
    )
  })

  it('is for its sponsor and for staff who may read purchases', async () => {
    expect(await read('', shop.sponsorKey)).toEqual(await read())
    expect((await read('', staff, shop.sponsorSlug)).accounts).toHaveLength(2)
    const other = await createSponsor(app, shop, {})
    expect((await read('', staff, other.id)).accounts).toEqual([])
    const { key } = await createSponsorKey(app, shop, other.id)
    const url = `${shop.path}/sponsors/${shop.sponsor}/statement`
    expect(await app.request('GET', url, { as: key })).toMatchObject({ status: 404 })
  })

  it('refuses days that are none or in the wrong order', async () => {
    for (const [query, pointer] of [
      ['from=2027-02-30', 'query/from'],
      ['from=2027-02-02&to=2027-02-01', 'query/to'],
      ['since=2027-01-01', 'query/since'],
    ]) {
      const url = `${shop.path}/sponsors/${shop.sponsor}/statement?${query}`
      const answer = await app.request('GET', url, { as: staff })
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer }] } })
    }
  })
})
