import { beforeAll, describe, expect, it } from 'vitest'
import { openChargeScene } from '../billing/charges/charge-scene.ts'
import { dispute, payment, refund } from '../purchases/purchase-scene.ts'
import { createAddOn, createSponsorKey, createStaffKey, unique } from '../support/fixtures.ts'
import { generator } from '../support/random.ts'
import { idOf, openShop, type Shop } from '../support/shop.ts'
import { useAppOnStripe } from '../support/stripe-app.ts'
import type { Body } from '../support/test-app.ts'
import { at, dayBefore, order, TODAY, WHOLE } from './money-scene.ts'

const { app, stripe } = useAppOnStripe()

type Sums = {
  payments: number
  refunds: number
  received: number
  refunded: number
  lost: number
  net: number
  recorded_received: number
  recorded_refunded: number
}
type Group = Sums & { day: string | null; item: string | null; currency: string }
type Report = Body & { data: Group[]; totals: (Sums & { currency: string })[] }

/** What a test did, from which it computes the sums that it expects. */
type Done = {
  day: string
  item: string | null
  currency: string
  kind: 'payment' | 'refund' | 'lost'
  amount: number
  recorded?: true
}

let shop: Shop
let other: Shop
beforeAll(async () => {
  shop = await openShop(app)
  other = await openShop(app)
})

async function report(query: Record<string, string> = {}, of = shop): Promise<Report> {
  const search = new URLSearchParams({ ...WHOLE, ...query })
  const path = `${of.path}/reports/money?${search.toString()}`
  const { status, body } = await app.request<Report>('GET', path)
  expect(status, JSON.stringify(body)).toBe(200)
  return body
}

const NOTHING: Sums = {
  payments: 0,
  refunds: 0,
  received: 0,
  refunded: 0,
  lost: 0,
  net: 0,
  recorded_received: 0,
  recorded_refunded: 0,
}

/** The sums of what was done, by the values of these fields. */
function summed(done: readonly Done[], by: readonly ('day' | 'item' | 'currency')[]) {
  const groups = new Map<string, Sums>()
  for (const one of done) {
    const key = JSON.stringify(by.map((field) => one[field]))
    const sums = groups.get(key) ?? { ...NOTHING }
    groups.set(key, sums)
    const { amount, kind } = one
    const many = Math.sign(amount)
    if (kind === 'payment') {
      sums.payments += many
      sums.received += amount
      if (one.recorded) sums.recorded_received += amount
    } else if (kind === 'refund') {
      sums.refunds += many
      sums.refunded += amount
      if (one.recorded) sums.recorded_refunded += amount
    } else sums.lost += amount
    sums.net += kind === 'payment' ? amount : -amount
  }
  return groups
}

const sumsOf = (group: Sums): Sums => {
  const { payments, refunds, received, refunded, lost, net } = group
  const { recorded_received, recorded_refunded } = group
  return { payments, refunds, received, refunded, lost, net, recorded_received, recorded_refunded }
}

const GROUPS = { day: ['day'], item: ['item'], day_and_item: ['day', 'item'] } as const

async function expectReport(of: Shop, done: readonly Done[], from = WHOLE.from, to = WHOLE.to) {
  const within = done.filter(({ day }) => day >= from && day <= to)
  for (const [groupBy, fields] of Object.entries(GROUPS)) {
    const { data, totals } = await report({ group_by: groupBy, from, to }, of)
    const by = [...fields, 'currency'] as const
    const found = data.map((group) => [
      JSON.stringify(by.map((field) => group[field])),
      sumsOf(group),
    ])
    expect(new Map(found as [string, Sums][]), groupBy).toEqual(summed(within, by))
    expect(data.length).toBe(found.length)
    const foundTotals = totals.map((total) => [JSON.stringify([total.currency]), sumsOf(total)])
    expect(new Map(foundTotals as [string, Sums][])).toEqual(summed(within, ['currency']))
  }
}

async function recordPayment(of: Shop, purchase: string, day: string): Promise<void> {
  const body = {
    amount: 1_000,
    method: 'bank_transfer',
    reference: 'x',
    paid_at: `${day}T10:00:00Z`,
  }
  const path = `${of.path}/purchases/${purchase}/mark-paid`
  const { status } = await app.request('POST', path, { body })
  expect(status).toBe(200)
}

describe('the report of money', () => {
  it('counts each payment, refund and lost dispute once, on its day (issue 11, line 2)', async () => {
    const random = generator(11)
    const addOn = (await createAddOn(app, shop, { name: 'Workshop' })).id
    const day = () => dayBefore(1 + Math.floor(random() * 40))
    const all = new Map<Shop, Done[]>([
      [shop, []],
      [other, []],
    ])
    for (let n = 0; n < 28; n += 1) {
      const of = n % 5 === 0 ? other : shop
      const item =
        of === other
          ? other.ticketType
          : ([shop.ticketType, addOn, null][Math.floor(random() * 3)] ?? null)
      const currency = n % 4 === 0 ? 'JPY' : 'EUR'
      const done = all.get(of) ?? []
      const { id, read } = await order(app, of, item, currency)
      const add = (what: Omit<Done, 'item' | 'currency'> & { currency?: string }) =>
        done.push({ item, currency, ...what })

      if (n % 3 === 0) {
        const paidOn = day()
        await recordPayment(of, id, paidOn)
        add({ day: paidOn, kind: 'payment', amount: 1_000, recorded: true })
        if (n % 2 === 0) {
          for (const amount of [100, 250]) {
            await app.request('POST', `${of.path}/purchases/${id}/refund`, { body: { amount } })
            add({ day: TODAY, kind: 'refund', amount, recorded: true })
          }
        }
      } else {
        const intent = unique('pi')
        const paidOn = day()
        const paid = payment({
          paymentIntent: intent,
          attempt: null,
          currency,
          chargedAt: at(paidOn),
        })
        await read({ payments: [paid] })
        add({ day: paidOn, kind: 'payment', amount: 1_000 })
        const first = { paymentIntent: intent, currency, refundedAt: at(day()) }
        await read({
          refunds: [
            refund(unique('re'), 200, first),
            refund(unique('re'), 90, { ...first, status: 'pending' }),
            refund(unique('re'), 80, { ...first, status: 'failed' }),
          ],
        })
        add({ day: first.refundedAt.toISOString().slice(0, 10), kind: 'refund', amount: 200 })
        // Another payment of another amount in another currency: staff must decide, but it came in.
        const second = { amount: 700, currency: 'USD', chargedAt: at(day()) }
        if (n % 4 === 1) {
          const more = { paymentIntent: unique('pi'), attempt: null, received: 700, ...second }
          await read({ payments: [payment(more)] })
          const secondDay = second.chargedAt.toISOString().slice(0, 10)
          add({ day: secondDay, kind: 'payment', amount: 700, currency: 'USD' })
        }
        if (n % 7 === 1) {
          const taken = { id: unique('dp'), paymentIntent: intent, amount: 300, currency }
          await read({ disputes: [dispute('needs_response', taken)] })
          await read({ disputes: [dispute('lost', taken)] })
          add({ day: TODAY, kind: 'lost', amount: 300 })
        }
      }
      // The same snapshot again, or another report of it, changes nothing.
      await read({})
    }
    for (const [of, done] of all) {
      await expectReport(of, done)
      await expectReport(of, done, dayBefore(30), dayBefore(3))
      await expectReport(of, done, TODAY, TODAY)
    }
    // The lists of purchases have the same sums, in the currency of the purchase.
    const received = await app.rows<{ amount: number }>(
      'select sum(amount_received)::int as amount from bulk_purchases where conference_id = $1 and currency = $2',
      [other.conference, 'EUR'],
    )
    const euro = (await report({}, other)).totals.find(({ currency }) => currency === 'EUR')
    expect(euro?.received).toBe(received[0]?.amount)
  })

  it('takes a refund that fails later back on the day of its failure, not before', async () => {
    const of = await openShop(app)
    const { read } = await order(app, of, of.ticketType)
    const [paid, refunded] = [dayBefore(20), dayBefore(10)]
    const intent = unique('pi')
    await read({
      payments: [payment({ paymentIntent: intent, attempt: null, chargedAt: at(paid) })],
    })
    const back = refund(unique('re'), 400, { paymentIntent: intent, refundedAt: at(refunded) })
    await read({ refunds: [back] })
    const line = { item: of.ticketType, currency: 'EUR' }
    const before: Done[] = [
      { ...line, day: paid, kind: 'payment', amount: 1_000 },
      { ...line, day: refunded, kind: 'refund', amount: 400 },
    ]
    await expectReport(of, before)
    await read({ refunds: [{ ...back, status: 'failed' }] })
    await expectReport(of, [...before, { ...line, day: TODAY, kind: 'refund', amount: -400 }])
  })

  it('counts the parts of a bank transfer as they come, and a debit when it succeeded', async () => {
    const of = await openShop(app)
    const line = { item: of.ticketType, currency: 'EUR', kind: 'payment' } as const
    const transfer = await order(app, of, of.ticketType)
    const part = { paymentIntent: unique('pi'), attempt: null }
    const [first, second] = [dayBefore(9), dayBefore(5)]
    await transfer.read({
      payments: [
        payment({ ...part, status: 'requires_action', received: 400, chargedAt: at(first) }),
      ],
    })
    await transfer.read({ payments: [payment({ ...part, chargedAt: at(second) })] })
    const debit = await order(app, of, of.ticketType)
    const slow = { paymentIntent: unique('pi'), attempt: null }
    await debit.read({ payments: [payment({ ...slow, status: 'processing', received: 0 })] })
    await debit.read({ payments: [payment({ ...slow, chargedAt: at(dayBefore(4)) })] })
    await expectReport(of, [
      { ...line, day: first, amount: 400 },
      { ...line, day: second, amount: 600 },
      { ...line, day: TODAY, amount: 1_000 },
    ])
  })

  it('has no free codes, and no charges of the conference', async () => {
    const of = await openShop(app)
    const { body } = await app.request<{ id: string }>('POST', `${of.path}/purchases`, {
      body: { quantity: 5, unit_amount: 0, ticket_type: of.ticketType, sponsor: of.sponsor },
    })
    await of.act(body.id, 'approve', {})
    expect(await of.get(body.id)).toMatchObject({ status: 'PAID', vouchers: { issued: 5 } })
    const charges = await openChargeScene(app, stripe, of)
    charges.save()
    const charge = await charges.create()
    await charges.act(charge.id, 'charge')
    await charges.act(charge.id, 'refund', { amount: 234 })
    expect(await charges.get(charge.id)).toMatchObject({
      amount_received: 1_234,
      amount_refunded: 234,
    })
    expect(await report({}, of)).toMatchObject({ data: [], totals: [] })
  })

  it('has the names of the items, and CSV on request', async () => {
    const of = await openShop(app)
    const { read } = await order(app, of, of.ticketType)
    const day = dayBefore(2)
    await read({
      payments: [payment({ paymentIntent: unique('pi'), attempt: null, chargedAt: at(day) })],
    })
    const query = `from=${day}&to=${day}&group_by=day_and_item`
    const found = await report({ from: day, to: day, group_by: 'day_and_item' }, of)
    expect(found).toMatchObject({ time_zone: 'UTC', from: day, to: day })
    const [line] = found.data as (Group & { item_name: string })[]
    expect(line?.item_name).toMatch(/^Ticket/)
    const { body, headers } = await app.request<string>(
      'GET',
      `${of.path}/reports/money?${query}`,
      {
        headers: { accept: 'text/csv' },
      },
    )
    expect(headers['content-type']).toBe('text/csv; charset=utf-8; header=present')
    expect(body.trimEnd().split('\n')).toEqual([
      'day,item,item_name,currency,payments,refunds,received,refunded,lost,net,recorded_received,recorded_refunded',
      `${day},${of.ticketType},${line?.item_name},EUR,1,0,1000,0,0,1000,0,0`,
    ])
  })
})

describe('a payment at Stripe', () => {
  it('counts at the time of its charge, and a refund at its own time', async () => {
    const of = await openShop(app)
    const { id } = await of.buy()
    const session = stripe.fake.control.pay(await of.openSession(id))
    await of.act(id, 'reconcile')
    const intent = idOf(session.payment_intent)
    const made = stripe.fake.control.refund(intent, { amount: 2_000 })
    await of.act(id, 'reconcile')
    const charge = stripe.fake.control.get(idOf(made.charge)) as unknown as { created: number }
    const rows = await app.rows<{ kind: string; amount: number; at: number }>(
      `select kind, amount::int, extract(epoch from happened_at)::float as at from money_movements
       where purchase_id = $1 order by id`,
      [id],
    )
    expect(rows).toEqual([
      { kind: 'payment', amount: 10_000, at: charge.created },
      { kind: 'refund', amount: 2_000, at: made.created },
    ])
    expect(await report({ from: TODAY }, of)).toMatchObject({
      data: [
        { day: TODAY, payments: 1, refunds: 1, received: 10_000, refunded: 2_000, net: 8_000 },
      ],
    })
  })

  it('appears in the mirror as events contain it, with the id of its charge', async () => {
    const of = await openShop(app)
    const { id } = await of.buy()
    const session = stripe.fake.control.pay(await of.openSession(id))
    await of.act(id, 'reconcile')
    const rows = await app.rows<{ latest_charge: string }>(
      'select latest_charge from stripe.payment_intents where id = $1',
      [idOf(session.payment_intent)],
    )
    expect(rows).toEqual([{ latest_charge: expect.stringMatching(/^ch_/) }])
  })
})

describe('a report by the day of the payment', () => {
  it('is of the last 30 days by default', async () => {
    const { body } = await app.request('GET', `${shop.path}/reports/money`)
    expect(body).toMatchObject({ from: dayBefore(29), to: TODAY, group_by: 'day' })
  })

  it('refuses days that do not exist, are not in order or are too many', async () => {
    for (const [query, pointer] of [
      ['from=2026-02-30', 'query/from'],
      ['to=yesterday', 'query/to'],
      ['from=1969-12-31', 'query/from'],
      ['from=2026-03-02&to=2026-03-01', 'query/from'],
      ['from=2025-01-01&to=2026-01-02', 'query/from'],
      ['created_after=2026-03-02T00:00:00Z', 'query/created_after'],
    ]) {
      for (const kind of ['money', 'issue-times']) {
        const answer = await app.request('GET', `${shop.path}/reports/${kind}?${query}`)
        expect(answer, query).toMatchObject({ status: 400, body: { errors: [{ pointer }] } })
      }
    }
    const range = 'from=2025-01-01&to=2026-01-02'
    const { body } = await app.request('GET', `${shop.path}/reports/money?${range}`)
    expect(body).toMatchObject({ detail: 'from must be at most 365 days before 2026-01-02' })
    expect((await report({ from: '2025-01-01', to: '2026-01-01' })).data).toEqual([])
    expect((await report({ from: '2028-01-01', to: '2028-12-31' })).data).toEqual([])
  })

  it('is not for sponsors, nor for staff without purchases:read', async () => {
    const { key: sponsor } = await createSponsorKey(app, shop, shop.sponsor)
    const { key: staff } = await createStaffKey(app, shop, ['vouchers:read'])
    for (const kind of ['money', 'issue-times']) {
      for (const as of [sponsor, staff]) {
        const answer = await app.request('GET', `${shop.path}/reports/${kind}`, { as })
        expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } })
      }
    }
  })
})
