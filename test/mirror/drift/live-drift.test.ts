import { beforeEach, describe, expect, it } from 'vitest'
import type { DriftLine } from '../../../src/mirror/drift/drift-line.ts'
import type { Shop } from '../../support/shop.ts'
import { useDriftScene } from './drift-scene.ts'

const drift = useDriftScene()
const { scene, paid, sync, live, repair } = drift

let shop: Shop
beforeEach(async () => {
  shop = await drift.deafShop()
})

const control = () => scene.fake.control

const ofMirror = ({ source }: DriftLine) => source === 'mirror'
const ofPurchases = ({ source }: DriftLine) => source === 'purchases'

describe('a comparison with Stripe itself', () => {
  it('shows a purchase without events as different, and its repair updates mirror and purchase', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    const { payment_intent: payment } = control().pay(session)
    const found = await live(shop)
    expect(found).toMatchObject({ conference: shop.conference, mirror: null, purchases_read: 1 })
    expect(found.lines.filter(ofPurchases)).toEqual([
      expect.objectContaining({ what: 'purchase', here: 'PROCESSING', there: 'paid' }),
      expect.objectContaining({ what: 'checkout_session', field: 'payment_status' }),
      expect.objectContaining({ what: 'checkout_session', field: 'status', there: 'complete' }),
      expect.objectContaining({ kind: 'extra', what: 'payment', stripe_id: payment }),
    ])
    expect(found.lines.filter(ofMirror)).toMatchObject([
      { kind: 'extra', what: 'payment', purchase: id, repair: { command: expect.any(String) } },
      { kind: 'extra', what: 'checkout_session', stripe_id: session },
    ])
    expect(new Set(found.lines.map(({ compared_with }) => compared_with))).toEqual(
      new Set(['stripe']),
    )
    await repair(found.lines[0])
    expect(await live(shop)).toMatchObject({ lines: [], purchases_read: 1 })
    expect(await shop.get(id)).toMatchObject({ status: 'PAID' })
  })

  it('writes nothing, neither to purchases nor to the mirror', async () => {
    const { id } = await shop.buy()
    control().pay(await shop.openSession(id))
    await live(shop)
    expect(await shop.get(id)).toMatchObject({ status: 'PROCESSING' })
    expect(await scene.stored(shop, 'payment_intents')).toEqual([])
    expect(await scene.stored(shop, 'checkout_sessions')).toEqual([])
  })

  it('shows a refund from the dashboard as extra, for the purchase and for the mirror', async () => {
    const { id, payment } = await paid(shop)
    await sync(shop)
    const refund = control().refund(payment)
    expect(await drift.lines(shop)).toEqual([])
    const { lines, summary } = await live(shop)
    expect(summary).toEqual({ missing: 0, extra: 2, different: 2 })
    expect(lines.filter(ofMirror)).toMatchObject([
      { kind: 'extra', what: 'refund', purchase: id, stripe_id: refund.id },
    ])
    await repair(lines.find(ofMirror))
    expect((await live(shop)).lines.filter(ofMirror)).toEqual([])
    await repair((await live(shop)).lines[0])
    expect((await live(shop)).lines).toEqual([])
  })

  it('repairs a stale mirror with a sync and does not touch the purchase', async () => {
    const { payment, id } = await paid(shop)
    await sync(shop)
    await scene.rows(
      `update stripe.payment_intents set status = 'processing', amount = 1 where id = $1`,
      [payment],
    )
    const { lines } = await live(shop)
    expect(lines).toMatchObject([
      { source: 'mirror', purchase: id, field: 'amount', here: 1, there: 10_000 },
      { source: 'mirror', field: 'status', here: 'processing', there: 'succeeded' },
    ])
    expect(lines[0]?.repair?.command).toContain(`--ids ${payment}`)
  })

  it('shows an object that Stripe does not have as missing, without a repair', async () => {
    const { id, payment } = await paid(shop)
    const other = await paid(shop)
    await scene.rows(
      `update payments set payment_intent_id = 'pi_none' where payment_intent_id = $1`,
      [payment],
    )
    await scene.rows(`update payment_attempts set session_id = 'cs_none' where purchase_id = $1`, [
      id,
    ])
    const { lines, purchases_read } = await live(shop)
    expect(purchases_read).toBe(2)
    const missing = lines.filter(({ kind }) => kind === 'missing')
    expect(missing).toMatchObject([
      { what: 'payment', purchase: id, stripe_id: 'pi_none', repair: null },
      { what: 'checkout_session', purchase: id, stripe_id: 'cs_none', repair: null },
    ])
    expect(lines.filter(({ purchase }) => purchase === other.id)).toEqual([])
  })

  it('shows an open session that Stripe does not have as missing', async () => {
    const { id } = await shop.buy()
    await shop.openSession(id)
    expect((await live(shop)).lines).toEqual([])
    await scene.rows(`update payment_attempts set session_id = 'cs_none' where purchase_id = $1`, [
      id,
    ])
    expect((await live(shop)).lines).toMatchObject([
      { kind: 'missing', what: 'checkout_session', stripe_id: 'cs_none', repair: null },
    ])
  })

  it('finds payments that name a purchase in Stripe’s list', async () => {
    const { id } = await shop.buy()
    const intent = await scene.stripeOf(shop).paymentIntents.create({
      amount: 10_000,
      currency: 'eur',
      confirm: true,
      payment_method: 'pm_card_visa',
      automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
      metadata: { purchase_id: id, conference_id: shop.conference },
    })
    const { lines } = await live(shop)
    expect(lines).toMatchObject([
      { kind: 'extra', what: 'payment', purchase: id, stripe_id: intent.id, source: 'purchases' },
    ])
    await repair(lines[0])
    expect((await live(shop)).lines).toEqual([])
    expect(await shop.get(id)).toMatchObject({ status: 'PAID' })
  })

  it('can be limited to purchases since a time, or to one purchase', async () => {
    const old = await paid(shop)
    const recent = await paid(shop)
    control().refund(old.payment)
    control().refund(recent.payment)
    await scene.rows(
      `update bulk_purchases set created_at = now() - interval '40 days' where id = $1`,
      [old.id],
    )
    const purchases = async (...options: string[]) => {
      const { lines, purchases_read: read } = await live(shop, ...options)
      return { read, found: [...new Set(lines.map(({ purchase }) => purchase))] }
    }
    expect(await purchases()).toEqual({ read: 1, found: [recent.id] })
    expect(await purchases('--purchase', old.id)).toEqual({ read: 1, found: [old.id] })
    const all = await purchases('--since', '2020-01-01T00:00:00Z')
    expect(all.read).toBe(2)
    expect(new Set(all.found)).toEqual(new Set([old.id, recent.id]))
  })

  it('handles more purchases than fit into one batch', async () => {
    const { conference } = shop
    const { id } = await paid(shop)
    await scene.rows(
      `insert into bulk_purchases (conference_id, id, sponsor_id, status, quantity, unit_amount,
         total_amount, currency, description, voucher_type, discount_value, max_uses,
         unlocks_hidden_tickets, code_prefix, requested_by)
       select conference_id, 'bp_' || lpad(n::text, 4, '0'), sponsor_id, 'FAILED', 1, 500, 500, 'EUR',
         'Seats', 'comp', 0, 1, false, 'X-', 'test'
       from bulk_purchases, generate_series(1, 60) n where id = $1`,
      [id],
    )
    await scene.rows(
      `insert into payments (conference_id, purchase_id, payment_intent_id, status, amount,
         amount_received, currency)
       select conference_id, id, replace(id, 'bp_', 'pi_none'), 'canceled', 500, 0, 'EUR'
       from bulk_purchases where conference_id = $1 and status = 'FAILED'`,
      [conference],
    )
    const { summary, purchases_read, lines, has_more } = await live(shop, '--limit', '7')
    expect(purchases_read).toBe(61)
    expect(summary).toEqual({ missing: 60, extra: 0, different: 0 })
    expect(lines).toHaveLength(7)
    expect(has_more).toBe(true)
  })

  it('fails if Stripe rejects the key', async () => {
    await paid(shop)
    control().revokeKey(shop.stripeKey)
    const ran = await drift.cli.run(['drift', '--live', '--conference', shop.conference, '--json'])
    expect(ran).toMatchObject({ exitCode: 1, stdout: '' })
    expect(JSON.parse(ran.stderr)).toMatchObject({ code: 'stripe_key_rejected' })
  })
})
