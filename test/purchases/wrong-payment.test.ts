import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { resolveFlag } from '../../src/purchases/staff-decisions.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { openScene, payment, refund, type Scene, session } from './purchase-scene.ts'

const database = useTestDatabase()
let db: Db
beforeAll(() => {
  db = connect(database.connectionString)
})
afterAll(() => db.destroy())

const flagCodes = async (scene: Scene) => (await scene.view()).flags.map(({ code }) => code)

describe('a payment of another amount or currency (D12)', () => {
  it.each([
    ['less', payment({ received: 1 })],
    ['more', payment({ received: 1001 })],
    ['another currency', payment({ currency: 'JPY' })],
  ])('makes no codes for %s, and waits for staff', async (_, wrong) => {
    const scene = await openScene(db)
    const held = await scene.read({ sessions: [session()], payments: [wrong] })
    expect(held).toMatchObject({
      status: 'PROCESSING',
      vouchers: { issued: 0 },
      flags: [{ code: 'amount_mismatch' }],
      allowed_actions: ['refund', 'reconcile', 'resolve_flag'],
    })
  })

  it('issues the codes when staff accept it, and deactivates them in proportion to the accepted amount', async () => {
    const scene = await openScene(db)
    const wrong = payment({ received: 900 })
    await scene.read({ sessions: [session()], payments: [wrong] })
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
          code: 'amount_mismatch',
          note: 'bank fee',
          action: 'accept_payment',
          paymentIntent: null,
        },
      ),
    )
    const paid = await scene.view()
    expect(paid).toMatchObject({ status: 'PAID', vouchers: { active: 10 }, flags: [] })
    const half = await scene.read({
      sessions: [session()],
      payments: [wrong],
      refunds: [refund('re_1', 450)],
    })
    expect(half).toMatchObject({ status: 'PAID', vouchers: { active: 5, deactivated: 5 } })
    const all = await scene.read({ refunds: [refund('re_2', 450)] })
    expect(all).toMatchObject({ status: 'REFUNDED', vouchers: { deactivated: 10 }, flags: [] })
  })

  it('pays the purchase when the rest of it arrives, and its flag ends', async () => {
    const scene = await openScene(db)
    const part = payment({ status: 'requires_action', received: 400 })
    await scene.read({ sessions: [session({ paid: false })], payments: [part] })
    expect(await flagCodes(scene)).toEqual(['amount_mismatch'])
    expect(await scene.read({ sessions: [session()], payments: [payment()] })).toMatchObject({
      status: 'PAID',
      vouchers: { active: 10 },
      flags: [],
    })
  })

  it('is accepted alone: the flag of another payment stays open until it is refunded', async () => {
    const scene = await openScene(db)
    const two = [
      payment({ received: 900 }),
      payment({ paymentIntent: 'pi_2', attempt: null, received: 500 }),
    ]
    await scene.read({ sessions: [session()], payments: two })
    expect(await flagCodes(scene)).toEqual(['amount_mismatch', 'amount_mismatch'])
    const accept = (paymentIntent: string | null) =>
      scene.run((trx) =>
        resolveFlag(
          trx,
          { ...scene.ref, actor: { kind: 'staff', id: 'k' }, sponsorId: null },
          scene.ref.purchaseId,
          { code: 'amount_mismatch', note: 'ok', action: 'accept_payment', paymentIntent },
        ),
      )
    await expect(accept(null)).rejects.toMatchObject({ code: 'validation_failed' })
    await expect(accept('pi_3')).rejects.toMatchObject({ code: 'validation_failed' })
    await accept('pi_1')
    const paid = await scene.view()
    expect(paid).toMatchObject({
      status: 'PAID',
      payment_intent: 'pi_1',
      flags: [{ code: 'amount_mismatch', detail: expect.stringContaining('pi_2') }],
    })
    await expect(accept('pi_2')).rejects.toMatchObject({ code: 'wrong_state' })
  })

  it('fails the purchase when the wrong payment is fully refunded', async () => {
    const scene = await openScene(db)
    const wrong = { sessions: [session()], payments: [payment({ received: 900 })] }
    await scene.read(wrong)
    const failed = await scene.read({ ...wrong, refunds: [refund('re_1', 900)] })
    expect(failed).toMatchObject({
      status: 'FAILED',
      failure: { code: 'payment_refunded' },
      flags: [],
    })
    expect(failed.allowed_actions).toContain('checkout')
  })
})
