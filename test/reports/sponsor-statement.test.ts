import { beforeAll, describe, expect, it } from 'vitest'
import type { PaymentSnapshot } from '../../src/payments/payment-snapshot.ts'
import { openChargeScene } from '../billing/charges/charge-scene.ts'
import { dispute, NOTHING, openScene, payment, refund } from '../purchases/purchase-scene.ts'
import { createSponsor, createSponsorKey, createStaffKey, unique } from '../support/fixtures.ts'
import { generator } from '../support/random.ts'
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
      `update money_movements set booked_at = '2026-02-01T00:00:00Z' where purchase_id = $1`,
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

  it('refuses days that do not exist or are in the wrong order', async () => {
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

/** A purchase of 10.00 EUR of a sponsor of its own, whose payments at Stripe are those of the snapshots. */
async function openOrder() {
  const { id: sponsor } = await createSponsor(app, shop, {})
  const scene = await openScene(app.db, { conferenceId: shop.conference, attempts: 0 })
  const { purchaseId } = scene.ref
  const apply = (facts: Partial<PaymentSnapshot>) => scene.read(facts)
  await app.rows('update bulk_purchases set sponsor_id = $1 where id = $2', [sponsor, purchaseId])
  const accounts = async () => (await read('', staff, sponsor)).accounts
  const lines = async () => {
    const entries = (await accounts()).flatMap((account) => account.entries)
    return entries.map(({ type, amount }) => `${type} ${amount}`)
  }
  return { purchaseId, apply, accounts, lines }
}

describe('the money of a statement', () => {
  it('is booked in the parts in which a bank transfer came', async () => {
    const { apply, lines } = await openOrder()
    const transfer = { paymentIntent: unique('pi'), attempt: null }
    const part = payment({ ...transfer, status: 'requires_action', received: 400 })
    await apply({ payments: [part] })
    const before = await lines()
    expect(before).toEqual(['order 1000', 'payment -400'])
    await apply({ payments: [payment(transfer)] })
    expect(await lines()).toEqual([...before, 'payment -600'])
  })

  it('keeps a refund that the previous release stored and that fails later', async () => {
    const { purchaseId, apply, lines } = await openOrder()
    const [paymentIntent, id] = [unique('pi'), unique('re')]
    await apply({ payments: [payment({ paymentIntent, attempt: null })] })
    await app.rows(
      `insert into payment_refunds
         (conference_id, purchase_id, id, payment_intent_id, status, amount, currency)
       values ($1, $2, $3, $4, 'succeeded', 100, 'EUR')`,
      [shop.conference, purchaseId, id, paymentIntent],
    )
    const before = await lines()
    expect(before.slice(2)).toEqual(['refund 100', 'credit -100'])
    await apply({ refunds: [refund(id, 100, { paymentIntent, status: 'failed' })] })
    expect((await lines()).slice(4)).toEqual(['refund_failed -100', 'credit 100'])
  })

  it('agrees with Stripe after each change, and no entry is ever changed', async () => {
    const random = generator(23)
    const among = (count: number) => Math.floor(random() * count)
    const pick = <T>(all: readonly T[]): T | undefined => all[among(all.length)]
    for (let round = 0; round < 8; round += 1) {
      const { apply, accounts } = await openOrder()
      const stripe = structuredClone(NOTHING)
      let before = await accounts()
      for (let step = 0; step < 14; step += 1) {
        const paid = pick(stripe.payments)
        const [kind, first] = [among(7), stripe.payments.length === 0]
        if (first || kind === 0) {
          const currency = pick(['EUR', 'EUR', 'JPY']) ?? 'EUR'
          const received = pick([1_000, 1_000, 400, 0]) ?? 0
          const status = received === 1_000 ? 'succeeded' : 'requires_action'
          const of = { paymentIntent: unique('pi'), attempt: null, currency }
          stripe.payments.push(payment({ ...of, received, status }))
        } else if (kind === 1 && paid !== undefined) {
          Object.assign(paid, { received: 1_000, status: 'succeeded' })
        } else if (kind < 4 && paid !== undefined) {
          const of = { paymentIntent: paid.paymentIntent, currency: paid.currency }
          const status = pick(['succeeded', 'pending'] as const) ?? 'pending'
          stripe.refunds.push(refund(unique('re'), 1 + among(300), { ...of, status }))
        } else if (kind === 4 && paid !== undefined) {
          const of = { paymentIntent: paid.paymentIntent, currency: paid.currency }
          stripe.disputes.push(
            dispute('needs_response', { ...of, id: unique('dp'), amount: among(300) }),
          )
        } else if (kind === 5) {
          Object.assign(pick(stripe.refunds) ?? {}, { status: pick(['succeeded', 'failed']) })
        } else Object.assign(pick(stripe.disputes) ?? {}, { status: pick(['lost', 'won']) })
        await apply(structuredClone(stripe))

        const now = await accounts()
        for (const { currency, totals, entries } of now) {
          const of = <T extends { currency: string }>(all: readonly T[]) =>
            all.filter((one) => one.currency === currency)
          const amounts = (
            all: { currency: string; status: string; amount: number }[],
            is: string,
          ) => sum(of(all).flatMap(({ status, amount }) => (status === is ? [amount] : [])))
          expect(totals).toMatchObject({
            payments: 0 - sum(of(stripe.payments).map(({ received }) => received)),
            refunds: amounts(stripe.refunds, 'succeeded'),
            disputes: amounts(stripe.disputes, 'lost'),
          })
          const known = before.find((account) => account.currency === currency)?.entries ?? []
          expect(entries.slice(0, known.length)).toEqual(known)
        }
        before = now
      }
    }
  })
})
