import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { openScene, PAID, payment, refund } from './purchase-scene.ts'

const database = useTestDatabase()
let db: Db
beforeAll(() => {
  db = connect(database.connectionString)
})
afterAll(() => db.destroy())

describe('the history of a purchase', () => {
  it('cannot be changed by the service', async () => {
    const scene = await openScene(db)
    await expect(
      scene.run((trx) => trx('purchase_transitions').update({ event: 'NOTHING' })),
    ).rejects.toThrow(/permission denied/)
    await expect(scene.run((trx) => trx('purchase_transitions').delete())).rejects.toThrow(
      /permission denied/,
    )
  })

  it('contains each transition (D28)', async () => {
    const scene = await openScene(db)
    await scene.read(PAID)
    await scene.read({ ...PAID, refunds: [refund('re_1', 1000)] })
    const steps = await scene.run((trx) =>
      trx('purchase_transitions')
        .where({ purchase_id: scene.ref.purchaseId })
        .orderBy('id')
        .select('from_status', 'event', 'to_status'),
    )
    expect(steps).toEqual([
      { from_status: 'PENDING', event: 'CHECKOUT_OPENED', to_status: 'PROCESSING' },
      { from_status: 'PROCESSING', event: 'PAYMENT_SUCCEEDED', to_status: 'PAID' },
      { from_status: 'PAID', event: 'REFUNDED', to_status: 'REFUNDED' },
    ])
  })
})

it('a payment that belongs to another purchase pays no second one: nothing is saved', async () => {
  const first = await openScene(db)
  await first.read(PAID)
  const conferenceId = first.ref.conferenceId
  const second = await openScene(db, { conferenceId, attempts: 0 })
  await expect(second.read({ payments: [payment({ attempt: null })] })).rejects.toThrow(
    'belongs to another',
  )
  expect(await second.view()).toMatchObject({ status: 'PENDING', vouchers: { issued: 0 } })
})
