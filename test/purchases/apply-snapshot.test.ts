import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { resolveFlag } from '../../src/purchases/staff-decisions.ts'
import { lockBatch, realignBatch } from '../../src/vouchers/freeze-vouchers.ts'
import { useTestDatabase } from '../support/test-database.ts'
import {
  dispute,
  openAttempt,
  openScene,
  PAID,
  payment,
  refund,
  type Scene,
  session,
} from './purchase-scene.ts'

const database = useTestDatabase()
let db: Db
beforeAll(() => {
  db = connect(database.connectionString)
})
afterAll(() => db.destroy())

const codes = async (scene: Scene) => (await scene.view()).vouchers
const flagCodes = async (scene: Scene) => (await scene.view()).flags.map(({ code }) => code)

describe('money that arrives', () => {
  it('makes the purchase PAID with exactly its codes', async () => {
    const scene = await openScene(db)
    const paid = await scene.read(PAID)
    expect(paid).toMatchObject({
      status: 'PAID',
      payment_intent: 'pi_1',
      amount_received: 1000,
      failure: null,
      vouchers: { issued: 10, active: 10, remaining: 10 },
      allowed_actions: ['refund', 'reconcile'],
    })
    expect(paid.paid_at).not.toBeNull()
  })

  it('changes nothing when the same snapshot is applied again', async () => {
    const scene = await openScene(db)
    const { updated_at: _, ...first } = await scene.read(PAID)
    const { updated_at: __, ...second } = await scene.read(PAID)
    expect(second).toEqual(first)
  })

  it('counts a session that needed no payment as paid', async () => {
    const scene = await openScene(db)
    const paid = await scene.read({ sessions: [session({ paid: true })], payments: [payment()] })
    expect(paid.status).toBe('PAID')
  })

  it('stays PROCESSING while a bank debit is pending, and is PAID when it succeeds (D8)', async () => {
    const scene = await openScene(db)
    const pending = await scene.read({
      sessions: [session({ paid: false })],
      payments: [payment({ status: 'processing', received: 0 })],
    })
    expect(pending).toMatchObject({ status: 'PROCESSING', allowed_actions: ['reconcile'] })
    expect((await scene.read(PAID)).status).toBe('PAID')
  })

  it('waits while only part of a bank transfer has arrived', async () => {
    const scene = await openScene(db)
    const partly = await scene.read({
      sessions: [session({ paid: false })],
      payments: [payment({ status: 'requires_action', received: 0 })],
    })
    expect(partly.status).toBe('PROCESSING')
  })

  it('waits for a bank debit that staff took at Stripe: nobody pays a second time meanwhile', async () => {
    const scene = await openScene(db, { attempts: 0 })
    const debit = payment({ attempt: null, status: 'processing', received: 0 })
    expect((await scene.read({ payments: [debit] })).allowed_actions).toEqual(['reconcile'])
    const failed = { ...debit, status: 'requires_payment_method' }
    const free = await scene.read({ payments: [failed] })
    expect(free.allowed_actions).toEqual(['update', 'checkout', 'cancel', 'mark_paid', 'reconcile'])
    expect(await scene.read({ payments: [payment({ attempt: null })] })).toMatchObject({
      status: 'PAID',
      vouchers: { active: 10 },
    })
  })

  it('fails with the reason when a bank debit fails, and allows another checkout (D8)', async () => {
    const scene = await openScene(db)
    await scene.read({
      sessions: [session({ paid: false })],
      payments: [payment({ status: 'processing', received: 0 })],
    })
    const failed = await scene.read({
      sessions: [session({ paid: false })],
      payments: [payment({ status: 'requires_payment_method', received: 0 })],
    })
    expect(failed).toMatchObject({
      status: 'FAILED',
      failure: { code: 'async_payment_failed' },
      allowed_actions: ['checkout', 'mark_paid', 'reconcile'],
    })
  })

  it('records a declined card while the session stays open, once for each decline', async () => {
    const scene = await openScene(db)
    const decline = { fact: 'ch_1', code: 'card_declined', message: 'Your card was declined.' }
    const facts = {
      sessions: [session({ status: 'open', paid: false })],
      payments: [payment({ status: 'requires_payment_method', received: 0, decline })],
    }
    const declined = await scene.read(facts)
    expect(declined).toMatchObject({
      status: 'PROCESSING',
      failure: { code: 'card_declined', message: 'Your card was declined.' },
    })
    await scene.read(facts)
    const steps = await scene.run((trx) =>
      trx('purchase_transitions').where({ purchase_id: scene.ref.purchaseId }).pluck('event'),
    )
    expect(steps.filter((event) => event === 'PAYMENT_DECLINED')).toHaveLength(1)
  })

  it('is explained by a decline that is seen only after the checkout expired', async () => {
    const scene = await openScene(db)
    const expired = session({ status: 'expired', paid: false })
    await scene.read({ sessions: [expired] })
    const decline = { fact: 'ch_1', code: 'card_declined', message: 'Your card was declined.' }
    const declined = {
      sessions: [expired],
      payments: [payment({ status: 'requires_payment_method', received: 0, decline })],
    }
    const failure = { code: 'card_declined', message: 'Your card was declined.' }
    expect(await scene.read(declined)).toMatchObject({ status: 'FAILED', failure })
    expect(await scene.read(declined)).toMatchObject({ status: 'FAILED', failure })
  })

  it('fails when the session expires, and is PAID when a payment arrives later (D3)', async () => {
    const scene = await openScene(db)
    const expired = await scene.read({
      sessions: [session({ status: 'expired', paid: false, paymentIntent: null })],
    })
    expect(expired).toMatchObject({ status: 'FAILED', failure: { code: 'checkout_expired' } })
    const paid = await scene.read({ payments: [payment()] })
    expect(paid).toMatchObject({ status: 'PAID', failure: null, vouchers: { issued: 10 } })
  })

  it('is PROCESSING again when a session that we marked as expired was completed', async () => {
    const scene = await openScene(db)
    await scene.read({
      sessions: [session({ status: 'expired', paid: false, paymentIntent: null })],
    })
    const pending = await scene.read({
      sessions: [session({ paid: false })],
      payments: [payment({ status: 'processing', received: 0 })],
    })
    expect(pending).toMatchObject({ status: 'PROCESSING', failure: null })
  })

  it('does not fail while another attempt is open', async () => {
    const scene = await openScene(db)
    await scene.run((trx) =>
      trx('payment_attempts')
        .where({ purchase_id: scene.ref.purchaseId })
        .update({ state: 'expired' }),
    )
    await openAttempt(scene, 2)
    const purchase = await scene.read({
      sessions: [
        session({ status: 'expired', paid: false, paymentIntent: null }),
        session({ attempt: 2, status: 'open', paid: false, paymentIntent: null }),
      ],
    })
    expect(purchase.status).toBe('PROCESSING')
  })

  it('flags a second payment and issues no second batch', async () => {
    const scene = await openScene(db)
    await scene.read(PAID)
    const paid = await scene.read({
      ...PAID,
      payments: [payment(), payment({ paymentIntent: 'pi_2', attempt: null })],
    })
    expect(paid).toMatchObject({ status: 'PAID', amount_received: 2000, vouchers: { issued: 10 } })
    expect(paid.flags).toHaveLength(1)
    expect(paid.flags[0]).toMatchObject({ code: 'overpaid' })
    // The second payment is refunded. The first one still covers the total, so no voucher changes.
    const refunded = await scene.read({
      ...PAID,
      refunds: [refund('re_1', 1000, { paymentIntent: 'pi_2' })],
    })
    expect(refunded).toMatchObject({ status: 'PAID', flags: [], vouchers: { active: 10 } })
  })
})

describe('a refund', () => {
  async function paidScene(order = {}) {
    const scene = await openScene(db, order)
    await scene.read(PAID)
    return scene
  }

  it('deactivates whole codes only, newest first (D21)', async () => {
    const scene = await paidScene()
    const part = await scene.read({ ...PAID, refunds: [refund('re_1', 250)] })
    expect(part).toMatchObject({
      status: 'PAID',
      amount_refunded: 250,
      vouchers: { active: 8, deactivated: 2 },
    })
    const off = await scene.run((trx) =>
      trx('vouchers')
        .where({ conference_id: scene.ref.conferenceId, state: 'deactivated' })
        .orderBy('ordinal')
        .pluck('ordinal'),
    )
    expect(off).toEqual([9, 10])
  })

  it('deactivates every code when several refunds add up to a full refund (D1)', async () => {
    const scene = await paidScene()
    const all = await scene.read({ ...PAID, refunds: [refund('re_1', 400), refund('re_2', 600)] })
    expect(all).toMatchObject({
      status: 'REFUNDED',
      amount_refunded: 1000,
      vouchers: { active: 0, deactivated: 10, remaining: 0 },
    })
    expect(all.refunded_at).not.toBeNull()
  })

  it('leaves a REFUNDED purchase without an active code when one snapshot has payment and refund (D14)', async () => {
    const scene = await openScene(db)
    const seen = await scene.read({ ...PAID, refunds: [refund('re_1', 1000)] })
    expect(seen).toMatchObject({ status: 'REFUNDED', vouchers: { issued: 10, deactivated: 10 } })
  })

  it('freezes the codes that it would deactivate while pending, and releases them when it fails', async () => {
    const scene = await paidScene()
    const pending = await scene.read({
      ...PAID,
      refunds: [refund('re_1', 300, { status: 'pending' })],
    })
    expect(pending.vouchers).toMatchObject({ active: 7, frozen: 3 })
    const failed = await scene.read({
      ...PAID,
      refunds: [refund('re_1', 300, { status: 'failed' })],
    })
    expect(failed.vouchers).toMatchObject({ active: 10, frozen: 0 })
    expect(await flagCodes(scene)).toEqual(['refund_failed'])
  })

  it('keeps codes inactive when it fails after it had succeeded, until staff reinstate', async () => {
    const scene = await paidScene()
    await scene.read({ ...PAID, refunds: [refund('re_1', 1000)] })
    const failed = await scene.read({
      ...PAID,
      refunds: [refund('re_1', 1000, { status: 'failed' })],
    })
    expect(failed).toMatchObject({ status: 'REFUNDED', vouchers: { deactivated: 10 } })
    await scene.run((trx) =>
      resolveFlag(
        trx,
        {
          conferenceId: scene.ref.conferenceId,
          actor: { kind: 'staff', id: 'k' },
          sponsorId: null,
        },
        scene.ref.purchaseId,
        {
          code: 'refund_failed',
          note: 'they keep their tickets',
          action: 'reinstate',
          paymentIntent: null,
        },
      ),
    )
    expect(await scene.view()).toMatchObject({
      status: 'PAID',
      vouchers: { active: 10 },
      flags: [],
      refunded_at: null,
    })
    // The same failed refund in another snapshot raises no new flag.
    await scene.read({ ...PAID, refunds: [refund('re_1', 1000, { status: 'failed' })] })
    expect(await flagCodes(scene)).toEqual([])
  })

  it('never deactivates a redeemed code for a partial refund, and flags how many are missing', async () => {
    const scene = await paidScene()
    await scene.run((trx) =>
      trx('vouchers')
        .where({ conference_id: scene.ref.conferenceId })
        .whereIn('ordinal', [7, 8, 9, 10])
        .update({ times_used: 1 }),
    )
    const part = await scene.read({ ...PAID, refunds: [refund('re_1', 800)] })
    expect(part.vouchers).toMatchObject({ redeemed: 4, deactivated: 6, active: 4 })
    expect(part.flags).toMatchObject([{ code: 'too_few_unredeemed' }])
    const all = await scene.read({ ...PAID, refunds: [refund('re_1', 800), refund('re_2', 200)] })
    expect(all.vouchers).toMatchObject({ redeemed: 4, deactivated: 10 })
  })

  it('withdraws the flag about missing codes when their cause ends, and raises it again', async () => {
    const scene = await paidScene()
    const use = (uses: number) =>
      scene.run((trx) =>
        trx('vouchers')
          .where({ conference_id: scene.ref.conferenceId })
          .whereIn('ordinal', [7, 8, 9, 10])
          .update({ times_used: uses }),
      )
    await use(1)
    const refunds = [refund('re_1', 800)]
    await scene.read({ ...PAID, refunds })
    expect(await flagCodes(scene)).toEqual(['too_few_unredeemed'])
    // The refund failed, so no code must be inactive.
    await scene.read({ ...PAID, refunds: [refund('re_1', 800, { status: 'failed' })] })
    expect(await flagCodes(scene)).toEqual(['refund_failed'])
    await scene.read({ ...PAID, refunds: [refund('re_2', 800)] })
    expect(await flagCodes(scene)).toContain('too_few_unredeemed')
    // A use was given back: the alignment of the batch says so, and the next snapshot sees it.
    await use(0)
    await scene.run(async (trx) => {
      const batch = await lockBatch(trx, scene.ref.conferenceId, {
        purchase_id: scene.ref.purchaseId,
      })
      if (batch !== null) await realignBatch(trx, batch)
    })
    await scene.read({ ...PAID, refunds: [refund('re_2', 800)] })
    expect(await flagCodes(scene)).toEqual(['refund_failed'])
  })

  it('counts codes that staff deactivated before', async () => {
    const scene = await paidScene()
    await scene.run((trx) =>
      trx('vouchers')
        .where({ conference_id: scene.ref.conferenceId, ordinal: 1 })
        .update({ deactivated_by: 'staff', deactivated_at: trx.fn.now() }),
    )
    const part = await scene.read({ ...PAID, refunds: [refund('re_1', 200)] })
    expect(part.vouchers).toMatchObject({ active: 8, deactivated: 2 })
  })
})

describe('a dispute', () => {
  it('freezes every code while it is open, and releases them when it is won', async () => {
    const scene = await openScene(db)
    await scene.read(PAID)
    const open = await scene.read({ ...PAID, disputes: [dispute('needs_response')] })
    expect(open).toMatchObject({ status: 'PAID', vouchers: { frozen: 10 } })
    const won = await scene.read({ ...PAID, disputes: [dispute('won')] })
    expect(won).toMatchObject({ status: 'PAID', vouchers: { active: 10, frozen: 0 } })
    expect(await flagCodes(scene)).toEqual(['dispute'])
  })

  it('deactivates every code when it is lost', async () => {
    const scene = await openScene(db)
    await scene.read(PAID)
    await scene.read({ ...PAID, disputes: [dispute('under_review')] })
    const lost = await scene.read({ ...PAID, disputes: [dispute('lost')] })
    expect(lost).toMatchObject({ status: 'REFUNDED', vouchers: { deactivated: 10 } })
  })

  it('in another currency than its payment changes no code when it is lost: staff see its flag', async () => {
    const scene = await openScene(db)
    await scene.read(PAID)
    const lost = { ...PAID, disputes: [dispute('lost', { amount: 1000, currency: 'JPY' })] }
    expect(await scene.read(lost)).toMatchObject({
      status: 'PAID',
      vouchers: { active: 10 },
      flags: [{ code: 'dispute' }],
    })
  })

  it('deactivates its share when part of the payment was disputed and lost', async () => {
    const scene = await openScene(db)
    await scene.read(PAID)
    const lost = await scene.read({ ...PAID, disputes: [dispute('lost', { amount: 300 })] })
    expect(lost).toMatchObject({
      status: 'PAID',
      vouchers: { active: 7, deactivated: 3, frozen: 0 },
    })
  })

  it('is also flagged on a refunded purchase, which may lose the money twice', async () => {
    const scene = await openScene(db)
    await scene.read(PAID)
    await scene.read({ ...PAID, refunds: [refund('re_1', 1000)] })
    await scene.read({ refunds: [refund('re_1', 1000)], disputes: [dispute('needs_response')] })
    expect(await flagCodes(scene)).toEqual(['dispute'])
    expect(await codes(scene)).toMatchObject({ deactivated: 10, frozen: 0 })
  })
})
