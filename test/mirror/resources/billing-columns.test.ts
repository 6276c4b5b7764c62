import { beforeAll, describe, expect, it } from 'vitest'
import { findResource } from '../../../src/mirror/resource-registry.ts'
import { MOMENT, mirroredRow, type Sample, SECONDS } from '../mirrored-row.ts'
import { useSyncScene, type WiredShop } from '../sync-scene.ts'

const scene = useSyncScene()
let shop: WiredShop
beforeAll(async () => {
  shop = await scene.openWiredShop()
})

const rowOf = (name: string, object: Sample) => mirroredRow(scene, shop, name, object)

const DAY = 86_400
const after = (days: number) => SECONDS + days * DAY
const momentAfter = (days: number) => new Date(after(days) * 1000)

const item = (id: string, from: number, to: number) => ({
  id,
  object: 'subscription_item',
  created: SECONDS,
  current_period_start: after(from),
  current_period_end: after(to),
  metadata: { seat: id },
  price: { id: `price_${id}`, object: 'price', product: `prod_${id}` },
  quantity: 2,
  subscription: 'sub_1',
})

const listOf = (...data: unknown[]) => ({ object: 'list', data, has_more: false, url: '/v1/x' })

const SUBSCRIPTION: Sample = {
  id: 'sub_1',
  object: 'subscription',
  application_fee_percent: 1.25,
  automatic_tax: { enabled: true },
  billing_cycle_anchor: SECONDS,
  cancel_at: null,
  cancel_at_period_end: false,
  canceled_at: null,
  collection_method: 'charge_automatically',
  created: SECONDS,
  currency: 'eur',
  customer: 'cus_1',
  days_until_due: null,
  default_payment_method: 'pm_1',
  discounts: ['di_1'],
  items: listOf(item('si_1', 0, 30)),
  latest_invoice: 'in_1',
  livemode: false,
  metadata: {},
  start_date: SECONDS,
  status: 'active',
  trial_end: SECONDS,
}

describe('a subscription', () => {
  it('has its customer, status and period', async () => {
    expect(await rowOf('subscriptions', SUBSCRIPTION)).toMatchObject({
      application_fee_percent: '1.25',
      automatic_tax: { enabled: true },
      billing_cycle_anchor: MOMENT,
      cancel_at: null,
      cancel_at_period_end: false,
      collection_method: 'charge_automatically',
      created: MOMENT,
      currency: 'eur',
      current_period_start: MOMENT,
      current_period_end: momentAfter(30),
      customer: 'cus_1',
      default_payment_method: 'pm_1',
      discounts: ['di_1'],
      items: SUBSCRIPTION['items'],
      latest_invoice: 'in_1',
      quantity: '2',
      start_date: MOMENT,
      status: 'active',
    })
  })

  it('stores times in UTC (E17)', async () => {
    await rowOf('subscriptions', SUBSCRIPTION)
    const [stored] = await scene.rows<{ at: string }>(
      `select to_char(trial_end at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS') as at
       from stripe.subscriptions where conference_id = $1 and id = 'sub_1'`,
      [shop.conference],
    )
    expect(stored?.at).toBe('2023-11-14 22:13:20')
  })

  it('keeps Stripe’s status when it ends, and is no tombstone (E16)', async () => {
    await rowOf('subscriptions', { ...SUBSCRIPTION, id: 'sub_ended' })
    const ended = await rowOf('subscriptions', {
      ...SUBSCRIPTION,
      id: 'sub_ended',
      status: 'canceled',
      canceled_at: after(3),
      ended_at: after(3),
      cancellation_details: { reason: 'cancellation_requested' },
    })
    expect(ended).toMatchObject({
      status: 'canceled',
      canceled_at: momentAfter(3),
      ended_at: momentAfter(3),
      cancellation_details: { reason: 'cancellation_requested' },
      deleted_at: null,
    })
  })

  it('has the period that all its items share, up to the next renewal (E19)', async () => {
    const items = listOf(item('monthly', 30, 60), item('yearly', 0, 365))
    const row = await rowOf('subscriptions', { ...SUBSCRIPTION, id: 'sub_mixed', items })
    expect(row).toMatchObject({
      current_period_start: momentAfter(30),
      current_period_end: momentAfter(60),
      quantity: null,
    })
  })

  it('reads the period from its own fields in older API versions (E19)', async () => {
    const { current_period_start: _, current_period_end: __, ...bare } = item('old', 0, 1)
    const row = await rowOf('subscriptions', {
      ...SUBSCRIPTION,
      id: 'sub_older',
      items: listOf(bare),
      current_period_start: SECONDS,
      current_period_end: after(30),
      discount: { id: 'di_1' },
      discounts: undefined,
      quantity: 5,
    })
    expect(row).toMatchObject({
      current_period_start: MOMENT,
      current_period_end: momentAfter(30),
      discounts: [{ id: 'di_1' }],
      quantity: '5',
    })
  })

  it('is stored without a period if there is none (E19)', async () => {
    const bare = { id: 'sub_bare', object: 'subscription', status: 'incomplete' }
    expect(await rowOf('subscriptions', bare)).toMatchObject({
      current_period_start: null,
      current_period_end: null,
      status: 'incomplete',
    })
    const empty = { ...bare, id: 'sub_empty', items: listOf() }
    expect(await rowOf('subscriptions', empty)).toMatchObject({ current_period_end: null })
  })

  it('is stored even if the objects that it refers to are missing (E12)', async () => {
    const orphan = { ...SUBSCRIPTION, id: 'sub_orphan', customer: 'cus_never_seen' }
    expect(await rowOf('subscriptions', orphan)).toMatchObject({ customer: 'cus_never_seen' })
    expect(findResource('subscriptions')?.references?.(orphan)).toEqual([
      { resource: 'customers', id: 'cus_never_seen' },
      { resource: 'prices', id: 'price_si_1' },
    ])
  })

  it('has its items in a view, each with its price, product and period', async () => {
    const items = listOf(item('one', 0, 30), item('two', 0, 365))
    await rowOf('subscriptions', { ...SUBSCRIPTION, id: 'sub_items', items })
    const rows = await scene.rows(
      `select * from stripe.subscription_items
       where conference_id = $1 and subscription = 'sub_items' order by id`,
      [shop.conference],
    )
    expect(rows).toMatchObject([
      {
        id: 'one',
        customer: 'cus_1',
        status: 'active',
        price: 'price_one',
        product: 'prod_one',
        quantity: '2',
        current_period_start: MOMENT,
        current_period_end: momentAfter(30),
        created: MOMENT,
        metadata: { seat: 'one' },
      },
      { id: 'two', price: 'price_two', current_period_end: momentAfter(365) },
    ])
  })

  it('does not break the view if its items have another shape', async () => {
    const older = { id: 'si_plan', plan: { id: 'gold', product: 'prod_1' }, quantity: 'many' }
    await rowOf('subscriptions', { ...SUBSCRIPTION, id: 'sub_odd', items: { data: 'none' } })
    await rowOf('subscriptions', { ...SUBSCRIPTION, id: 'sub_plan', items: listOf(older) })
    const rows = await scene.rows(
      `select id, price, product, quantity, current_period_end from stripe.subscription_items
       where conference_id = $1 and subscription in ('sub_odd', 'sub_plan')`,
      [shop.conference],
    )
    expect(rows).toEqual([
      { id: 'si_plan', price: 'gold', product: 'prod_1', quantity: null, current_period_end: null },
    ])
  })
})

const INVOICE: Sample = {
  id: 'in_1',
  object: 'invoice',
  amount_due: 1000,
  amount_paid: 400,
  amount_remaining: 600,
  attempt_count: 2,
  attempted: true,
  auto_advance: true,
  billing_reason: 'subscription_cycle',
  collection_method: 'send_invoice',
  created: SECONDS,
  currency: 'eur',
  customer: 'cus_1',
  customer_email: 'a@example.com',
  customer_name: 'Ada',
  due_date: after(14),
  lines: listOf({
    id: 'il_1',
    object: 'line_item',
    amount: 1000,
    currency: 'eur',
    description: 'Seats',
    metadata: {},
    parent: {
      subscription_item_details: {
        proration: true,
        subscription: 'sub_1',
        subscription_item: 'si_1',
      },
      type: 'subscription_item_details',
    },
    period: { start: SECONDS, end: after(30) },
    pricing: { price_details: { price: 'price_1', product: 'prod_1' }, type: 'price_details' },
    quantity: 4,
  }),
  number: 'A-0001',
  parent: { subscription_details: { subscription: 'sub_1' }, type: 'subscription_details' },
  status: 'open',
  status_transitions: { finalized_at: SECONDS, paid_at: null, voided_at: null },
  subtotal: 800,
  total: 1000,
  total_taxes: [{ amount: 150 }, { amount: 50 }],
}

describe('an invoice', () => {
  it('has the columns that accountants filter by', async () => {
    expect(await rowOf('invoices', INVOICE)).toMatchObject({
      amount_due: '1000',
      amount_paid: '400',
      amount_remaining: '600',
      attempt_count: '2',
      attempted: true,
      auto_advance: true,
      billing_reason: 'subscription_cycle',
      collection_method: 'send_invoice',
      currency: 'eur',
      customer: 'cus_1',
      customer_email: 'a@example.com',
      customer_name: 'Ada',
      due_date: momentAfter(14),
      finalized_at: MOMENT,
      number: 'A-0001',
      paid: false,
      paid_at: null,
      payment_intent: null,
      status: 'open',
      subscription: 'sub_1',
      subtotal: '800',
      tax: '200',
      total: '1000',
    })
    expect(findResource('invoices')?.references?.(INVOICE)).toEqual([
      { resource: 'customers', id: 'cus_1' },
      { resource: 'subscriptions', id: 'sub_1' },
    ])
  })

  it('names the payment that paid it, or else the default payment', async () => {
    const payment = (id: string, more: object) => ({
      payment: { type: 'payment_intent', payment_intent: id },
      ...more,
    })
    const tries = [payment('pi_1', { status: 'canceled' }), payment('pi_2', { is_default: true })]
    const open = { ...INVOICE, id: 'in_open', payments: listOf(...tries) }
    expect(await rowOf('invoices', open)).toMatchObject({ paid: false, payment_intent: 'pi_2' })
    const payments = listOf(...tries, payment('pi_3', { status: 'paid' }))
    const paid = { ...INVOICE, id: 'in_paid', status: 'paid', payments }
    expect(await rowOf('invoices', paid)).toMatchObject({ paid: true, payment_intent: 'pi_3' })
  })

  it('of an older API version has its subscription, payment and tax in other fields', async () => {
    const { parent: _, total_taxes: __, ...rest } = INVOICE
    const row = await rowOf('invoices', {
      ...rest,
      id: 'in_older',
      charge: 'ch_1',
      paid: true,
      payment_intent: 'pi_1',
      subscription: 'sub_older',
      tax: 70,
    })
    expect(row).toMatchObject({
      charge: 'ch_1',
      paid: true,
      payment_intent: 'pi_1',
      subscription: 'sub_older',
      tax: '70',
    })
  })

  it('has its lines in a view', async () => {
    await rowOf('invoices', INVOICE)
    const older = {
      id: 'il_older',
      amount: -5,
      currency: 'eur',
      price: { id: 'price_2', product: 'prod_2' },
      proration: false,
      subscription: 'sub_2',
      subscription_item: 'si_2',
    }
    await rowOf('invoices', { ...INVOICE, id: 'in_lines', lines: listOf(older) })
    const rows = await scene.rows(
      `select * from stripe.invoice_lines
       where conference_id = $1 and invoice in ('in_1', 'in_lines') order by id`,
      [shop.conference],
    )
    expect(rows).toMatchObject([
      {
        id: 'il_1',
        invoice: 'in_1',
        customer: 'cus_1',
        status: 'open',
        subscription: 'sub_1',
        subscription_item: 'si_1',
        price: 'price_1',
        product: 'prod_1',
        amount: '1000',
        currency: 'eur',
        description: 'Seats',
        quantity: '4',
        proration: true,
        period_start: MOMENT,
        period_end: momentAfter(30),
      },
      {
        id: 'il_older',
        amount: '-5',
        price: 'price_2',
        product: 'prod_2',
        proration: false,
        quantity: null,
        subscription: 'sub_2',
        subscription_item: 'si_2',
      },
    ])
  })

  it('that was a deleted draft is not in the view', async () => {
    await rowOf('invoices', { ...INVOICE, id: 'in_draft', status: 'draft' })
    await rowOf('invoices', { id: 'in_draft', object: 'invoice', deleted: true })
    const rows = await scene.rows(
      `select id from stripe.invoice_lines where conference_id = $1 and invoice = 'in_draft'`,
      [shop.conference],
    )
    expect(rows).toEqual([])
  })
})
