import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import type { PaymentGateway } from '../../src/payments/payment-gateway.ts'
import type { PaymentSnapshot } from '../../src/payments/payment-snapshot.ts'
import { reconcilePurchase } from '../../src/purchases/reconcile-purchase.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { cause, NOTHING, openScene, PAID, refund, type Scene, session } from './purchase-scene.ts'

const database = useTestDatabase()
let db: Db
beforeAll(() => {
  db = connect(database.connectionString)
})
afterAll(() => db.destroy())

/** A gateway whose snapshots arrive when the test releases them. */
function scripted() {
  const readings: ((facts: Partial<PaymentSnapshot>) => void)[] = []
  const unused = () => Promise.reject(new Error('not part of a reading'))
  const gateway: PaymentGateway = {
    openCheckout: unused,
    closeCheckout: unused,
    findSession: unused,
    openIntent: unused,
    confirmIntent: unused,
    closeIntent: unused,
    refund: unused,
    fetchSnapshot: () =>
      new Promise((resolve) => {
        readings.push((facts) => resolve({ ...NOTHING, ...facts }))
      }),
  }
  const answer = async (index: number, facts: Partial<PaymentSnapshot>) => {
    await expect.poll(() => readings.length).toBeGreaterThan(index)
    readings[index]?.(facts)
  }
  return { gateway, answer }
}

const OPEN = { sessions: [session({ status: 'open', paid: false, paymentIntent: null })] }
const read = (scene: Scene, gateway: PaymentGateway) =>
  reconcilePurchase({ db, gateway }, scene.ref, cause)

describe('a snapshot', () => {
  it('that was requested earlier and arrives late is stale and changes nothing', async () => {
    const scene = await openScene(db)
    const { gateway, answer } = scripted()
    const slow = read(scene, gateway)
    const { gateway: second, answer: answerSecond } = scripted()
    // The slow one must take its ticket before the other starts.
    await expect
      .poll(() => scene.run((trx) => trx('bulk_purchases').first('reconcile_ticket')))
      .toMatchObject({ reconcile_ticket: 1 })
    const fast = read(scene, second)
    await answerSecond(0, { ...PAID, refunds: [refund('re_1', 1000)] })
    expect(await fast).toBe('applied')
    const before = await scene.view()
    expect(before).toMatchObject({ status: 'REFUNDED', vouchers: { deactivated: 10 } })

    await answer(0, OPEN)
    expect(await slow).toBe('superseded')
    expect(await scene.view()).toEqual(before)
  })

  it('is applied if it was requested later', async () => {
    const scene = await openScene(db)
    const early = scripted()
    const first = read(scene, early.gateway)
    await expect
      .poll(() => scene.run((trx) => trx('bulk_purchases').first('reconcile_ticket')))
      .toMatchObject({ reconcile_ticket: 1 })
    const late = scripted()
    const second = read(scene, late.gateway)
    await early.answer(0, OPEN)
    expect(await first).toBe('applied')
    await late.answer(0, PAID)
    expect(await second).toBe('applied')
    expect(await scene.view()).toMatchObject({ status: 'PAID' })
  })

  it('issues exactly the codes when eight snapshots are fetched in parallel', async () => {
    const scene = await openScene(db)
    const all = Array.from({ length: 8 }, scripted)
    const readings = all.map(({ gateway }) => read(scene, gateway))
    await Promise.all(all.map(({ answer }) => answer(0, PAID)))
    const outcomes = await Promise.all(readings)
    expect(outcomes).toContain('applied')
    expect(await scene.view()).toMatchObject({
      status: 'PAID',
      vouchers: { issued: 10, active: 10 },
    })
  })

  it('of an unknown purchase fails with not_found', async () => {
    const { gateway } = scripted()
    const ref = { conferenceId: 'conf_none', purchaseId: 'bp_none' }
    await expect(reconcilePurchase({ db, gateway }, ref, cause)).rejects.toMatchObject({
      code: 'not_found',
    })
  })
})
