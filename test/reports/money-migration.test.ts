import { afterAll, beforeAll, expect, it } from 'vitest'
import { down, up } from '../../migrations/0076_money_movements.ts'
import { up as createTimes, down as dropTimes } from '../../migrations/0077_voucher_issue_times.ts'
import { connect, type Db } from '../../src/db/connect.ts'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { dispute, openScene, payment, refund } from '../purchases/purchase-scene.ts'
import { useTestDatabase } from '../support/test-database.ts'
import { at, dayBefore } from './money-scene.ts'

const database = useTestDatabase()
let db: Db
beforeAll(() => {
  db = connect(database.connectionString)
})
afterAll(() => db.destroy())

/** What is left of each object, in the order of their ids. */
const movements = (conferenceId: string) =>
  withTenant(db, { conferenceId }, async (trx) => {
    const { rows } = await trx.raw<{ rows: object[] }>(
      `select purchase_id, kind, source, object_id, currency, item_id, sum(amount)::int as amount,
         case source when 'recorded' then min(happened_at) end as at
       from money_movements group by 1, 2, 3, 4, 5, 6 having sum(amount) <> 0 order by 4`,
    )
    return rows
  })

it('starts with the payments, refunds and lost disputes until then', async () => {
  const scene = await openScene(db, { attempts: 0 })
  const { conferenceId } = scene.ref
  const intent = { paymentIntent: 'pi_1', attempt: null }
  await scene.read({ payments: [payment({ ...intent, received: 400, status: 'requires_action' })] })
  await scene.read({
    payments: [
      payment({ ...intent, chargedAt: at(dayBefore(9)) }),
      payment({ paymentIntent: 'pi_2', attempt: null, received: 70, currency: 'USD' }),
      payment({ paymentIntent: 'pi_3', attempt: null, received: 0, status: 'processing' }),
    ],
    refunds: [refund('re_1', 100), refund('re_2', 50), refund('re_3', 60, { status: 'pending' })],
    disputes: [dispute('lost', { amount: 80 }), dispute('won', { id: 'dp_2', amount: 90 })],
  })
  await scene.read({ refunds: [refund('re_2', 50, { status: 'failed' })] })
  const other = await openScene(db, { attempts: 0, conferenceId })
  await other.run(async (trx) => {
    const of = { conference_id: conferenceId, purchase_id: other.ref.purchaseId }
    const paid = { id: 'rp_1', amount: 1_000, method: 'cash', reference: 'x', recorded_by: 'x' }
    await trx('recorded_payments').insert({
      ...of,
      ...paid,
      currency: 'EUR',
      paid_at: at(dayBefore(5)),
    })
    await trx('recorded_refunds').insert({ ...of, id: 'rr_1', amount: 30, recorded_by: 'x' })
  })

  const before = await movements(conferenceId)
  expect(before.map((row) => [Reflect.get(row, 'object_id'), Reflect.get(row, 'amount')])).toEqual([
    ['dp_1', 80],
    ['pi_1', 1_000],
    ['pi_2', 70],
    ['re_1', 100],
    ['rp_1', 1_000],
    ['rr_1', 30],
  ])
  await db.transaction(async (trx) => {
    await dropTimes(trx)
    await down(trx)
    await up(trx)
    await createTimes(trx)
  })
  expect(await movements(conferenceId)).toEqual(before)
})
