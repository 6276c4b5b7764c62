import { beforeEach, describe, expect, it } from 'vitest'
import type { Shop } from '../../support/shop.ts'
import type { Body } from '../../support/test-app.ts'
import { useDriftScene } from './drift-scene.ts'

const drift = useDriftScene()
const { scene, paid, sync, lines, report, repair } = drift

/** A shop whose purchases and mirror equal Stripe. */
let shop: Shop
beforeEach(async () => {
  shop = await drift.deafShop()
})

const control = () => scene.fake.control

/** Returns the only line of the report, and checks that its repair removes it. */
async function expectOnly(expected: Body): Promise<void> {
  const [line, ...others] = await lines(shop)
  expect(others).toEqual([])
  expect(line).toMatchObject({ compared_with: 'mirror', ...expected })
  await repair(line)
  expect(await lines(shop)).toEqual([])
}

/** Checks that the lines have one cause: the repair of any of them removes all. */
async function expectAll(expected: readonly Body[], by: number): Promise<void> {
  const found = await lines(shop)
  expect(found).toHaveLength(expected.length)
  for (const line of expected) expect(found).toContainEqual(expect.objectContaining(line))
  await repair(found[by])
  expect(await lines(shop)).toEqual([])
}

describe('an object that the mirror does not have', () => {
  it.each([
    ['payment', 'payment_intents', 'payment-intents'],
    ['checkout_session', 'checkout_sessions', 'checkout-sessions'],
  ])('is missing: a %s', async (what, table, resource) => {
    const { id, payment, session } = await paid(shop)
    await sync(shop)
    const stripeId = what === 'payment' ? payment : session
    await scene.rows(`delete from stripe.${table} where id = $1`, [stripeId])
    await expectOnly({
      kind: 'missing',
      what,
      purchase: id,
      stripe_id: stripeId,
      resource,
      field: null,
      there: null,
      repair: {
        command: `npx sponsor-vouchers sync ${resource} --conference ${shop.path.split('/').at(-1)} --ids ${stripeId}`,
        request: {
          method: 'POST',
          path: `${shop.path}/stripe/${resource}/sync`,
          body: { ids: [stripeId] },
        },
      },
    })
  })

  it('is missing: a refund, so the totals differ too', async () => {
    const { id, payment } = await paid(shop)
    const refund = control().refund(payment, { amount: 400 })
    await shop.act(id, 'reconcile')
    await sync(shop)
    await scene.rows('delete from stripe.refunds where id = $1', [refund.id])
    await expectAll(
      [
        { kind: 'different', what: 'purchase', field: 'amount_refunded', here: 400, there: 0 },
        { kind: 'missing', what: 'refund', stripe_id: refund.id, here: 'succeeded' },
      ],
      1,
    )
  })

  it('is missing: a dispute, also if it is a tombstone', async () => {
    const { id, payment } = await paid(shop)
    const dispute = control().dispute(payment)
    await shop.act(id, 'reconcile')
    await sync(shop)
    await scene.rows('update stripe.disputes set deleted_at = now() where id = $1', [dispute.id])
    await expectOnly({ kind: 'missing', what: 'dispute', purchase: id, stripe_id: dispute.id })
  })

  it('gets a full sync as repair if the resource was never synced', async () => {
    const { payment } = await paid(shop)
    await scene.rows('delete from stripe.payment_intents where id = $1', [payment])
    const { data, mirror } = await report(shop)
    const whole = {
      command: expect.stringMatching(/sync payment-intents --conference \S+$/),
      request: { method: 'POST', path: `${shop.path}/stripe/payment-intents/sync`, body: {} },
    }
    expect(mirror['payment_intents']).toEqual({ synced_at: null, repair: whole })
    expect(data).toMatchObject([{ kind: 'missing', stripe_id: payment, repair: whole }])
    const dryRun = ['sync', 'payment-intents', '--dry-run', '--conference', shop.conference]
    await drift.cli.run(dryRun)
    expect((await report(shop)).mirror).toMatchObject({ payment_intents: { synced_at: null } })
    await repair(data[0])
    const after = await report(shop)
    expect(after.data).toEqual([])
    expect(after.mirror).toMatchObject({
      payment_intents: { synced_at: expect.any(String), repair: null },
      refunds: { synced_at: null },
    })
  })
})

describe('an object that only the mirror has', () => {
  it('is extra: a payment that names a purchase which does not know it', async () => {
    const { id } = await shop.buy()
    const stripe = scene.stripeOf(shop)
    const intent = await stripe.paymentIntents.create({
      amount: 10_000,
      currency: 'eur',
      confirm: true,
      payment_method: 'pm_card_visa',
      automatic_payment_methods: { enabled: true, allow_redirects: 'never' },
      metadata: { purchase_id: id, conference_id: shop.conference },
    })
    await sync(shop)
    await expectOnly({
      kind: 'extra',
      what: 'payment',
      purchase: id,
      stripe_id: intent.id,
      here: null,
      there: 'succeeded',
      repair: {
        command: `npx sponsor-vouchers purchases:reconcile ${id} --conference ${shop.path.split('/').at(-1)} --payment-intent ${intent.id}`,
        request: {
          method: 'POST',
          path: `${shop.path}/purchases/${id}/reconcile`,
          body: { payment_intent: intent.id },
        },
      },
    })
    expect(await shop.get(id)).toMatchObject({ status: 'PAID', payment_intent: intent.id })
  })

  it('is extra: a refund from the dashboard', async () => {
    const { id, payment } = await paid(shop)
    const refund = control().refund(payment)
    await sync(shop)
    await expectAll(
      [
        { kind: 'extra', what: 'refund', purchase: id, stripe_id: refund.id, there: 'succeeded' },
        { kind: 'different', what: 'purchase', field: 'amount_refunded', here: 0, there: 10_000 },
        { kind: 'different', what: 'purchase', field: 'status', here: 'PAID', there: 'REFUNDED' },
      ],
      2,
    )
    expect(await shop.get(id)).toMatchObject({ status: 'REFUNDED' })
  })

  it('is extra: a lost dispute that leaves no money', async () => {
    const { id, payment } = await paid(shop)
    const dispute = control().dispute(payment)
    control().closeDispute(dispute.id, 'lost')
    await sync(shop)
    await expectAll(
      [
        { kind: 'extra', what: 'dispute', purchase: id, stripe_id: dispute.id, there: 'lost' },
        { kind: 'different', what: 'purchase', field: 'status', here: 'PAID', there: 'REFUNDED' },
      ],
      0,
    )
    expect(await shop.get(id)).toMatchObject({ status: 'REFUNDED' })
  })

  it('is extra: a session without an attempt, which only a person can close', async () => {
    const { id } = await shop.buy()
    const session = await scene.stripeOf(shop).checkout.sessions.create({
      mode: 'payment',
      success_url: 'https://shop.example/thanks',
      client_reference_id: id,
      line_items: [
        {
          quantity: 1,
          price_data: { currency: 'eur', unit_amount: 500, product_data: { name: 'Seat' } },
        },
      ],
    })
    await sync(shop)
    const line = { kind: 'extra', what: 'checkout_session', purchase: id, stripe_id: session.id }
    expect(await lines(shop)).toMatchObject([{ ...line, there: 'open', repair: null }])
    control().expire(session.id)
    await sync(shop)
    expect(await lines(shop)).toEqual([])
  })

  it('is extra: a payment for a purchase that does not exist', async () => {
    const { id, payment } = await paid(shop)
    await sync(shop)
    await scene.rows(
      `update stripe.payment_intents set metadata = metadata || '{"purchase_id":"bp_gone"}' where id = $1`,
      [payment],
    )
    expect(await lines(shop)).toMatchObject([
      { kind: 'extra', what: 'purchase', purchase: 'bp_gone', stripe_id: payment, repair: null },
    ])
    expect(await lines(shop, `?purchase=${id}`)).toEqual([])
  })
})

describe('an object that both have', () => {
  it('differs: a paid session of a purchase that received no event', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    const { payment_intent: payment } = control().pay(session)
    await sync(shop)
    await expectAll(
      [
        {
          kind: 'different',
          what: 'purchase',
          purchase: id,
          stripe_id: session,
          field: 'status',
          here: 'PROCESSING',
          there: 'paid',
        },
        { what: 'checkout_session', field: 'status', here: 'open', there: 'complete' },
        { what: 'checkout_session', field: 'payment_status', here: 'none', there: 'paid' },
        { kind: 'extra', what: 'payment', stripe_id: payment },
      ],
      0,
    )
    expect(await shop.get(id)).toMatchObject({ status: 'PAID', vouchers: { issued: 10 } })
  })

  it('differs: a paid session that is expired in the purchase', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    await shop.act(id, 'reconcile')
    control().pay(session)
    await scene.rows(`update payment_attempts set state = 'expired' where session_id = $1`, [
      session,
    ])
    await scene.rows(`update bulk_purchases set status = 'FAILED' where id = $1`, [id])
    await sync(shop)
    const found = await lines(shop)
    const [unpaid] = found.filter(({ what }) => what === 'purchase')
    expect(unpaid).toMatchObject({ here: 'FAILED', there: 'paid' })
    await repair(unpaid)
    expect(await lines(shop)).toEqual([])
    expect(await shop.get(id)).toMatchObject({ status: 'PAID' })
  })

  it('differs: an expired session that is open in the mirror', async () => {
    const { id } = await shop.buy()
    const session = await shop.openSession(id)
    await sync(shop)
    await shop.act(id, 'cancel')
    await expectOnly({
      kind: 'different',
      what: 'checkout_session',
      stripe_id: session,
      field: 'status',
      here: 'expired',
      there: 'open',
      repair: { command: expect.stringContaining(`sync checkout-sessions`) },
    })
  })

  it.each([
    ['status', `'processing'`, 'processing', 'succeeded'],
    ['amount', '9999', 9_999, 10_000],
    ['currency', `'USD'`, 'USD', 'EUR'],
  ])(
    'differs: the %s of a payment that was changed in the database',
    async (field, sql, here, there) => {
      const { id, payment } = await paid(shop)
      await sync(shop)
      await scene.rows(`update payments set ${field} = ${sql} where payment_intent_id = $1`, [
        payment,
      ])
      await expectOnly({
        kind: 'different',
        what: 'payment',
        purchase: id,
        stripe_id: payment,
        field,
        here,
        there,
      })
    },
  )

  it('differs: the received amount of the payment and of the purchase', async () => {
    const { payment } = await paid(shop)
    await sync(shop)
    await scene.rows('update payments set amount_received = 1 where payment_intent_id = $1', [
      payment,
    ])
    await scene.rows('update bulk_purchases set amount_received = 1 where payment_intent_id = $1', [
      payment,
    ])
    await expectAll(
      [
        { what: 'payment', field: 'amount_received', here: 1, there: 10_000 },
        { what: 'purchase', field: 'amount_received', here: 1, there: 10_000 },
      ],
      0,
    )
  })

  it('differs: a refund that failed later', async () => {
    const { id, payment } = await paid(shop)
    const refund = control().refund(payment, { amount: 300 })
    await shop.act(id, 'reconcile')
    control().failRefund(refund.id)
    await sync(shop)
    await expectAll(
      [
        {
          what: 'refund',
          stripe_id: refund.id,
          field: 'status',
          here: 'succeeded',
          there: 'failed',
        },
        { what: 'purchase', field: 'amount_refunded', here: 300, there: 0 },
      ],
      0,
    )
  })

  it('differs: a dispute that was won later', async () => {
    const { id, payment } = await paid(shop)
    const dispute = control().dispute(payment)
    await shop.act(id, 'reconcile')
    control().closeDispute(dispute.id, 'won')
    await sync(shop)
    await expectOnly({
      what: 'dispute',
      stripe_id: dispute.id,
      field: 'status',
      here: 'needs_response',
      there: 'won',
    })
  })

  it('differs: a PAID purchase whose payment did not succeed in the mirror', async () => {
    const { id, payment } = await paid(shop)
    await sync(shop)
    await scene.rows(`update stripe.payment_intents set status = 'processing' where id = $1`, [
      payment,
    ])
    await expectAll(
      [
        { what: 'purchase', purchase: id, field: 'status', here: 'PAID', there: 'processing' },
        { what: 'payment', field: 'status', here: 'succeeded', there: 'processing' },
      ],
      0,
    )
  })
})
