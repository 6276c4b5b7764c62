import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { down, up } from '../../migrations/0076_money_movements.ts'
import { up as createTimes, down as dropTimes } from '../../migrations/0077_voucher_issue_times.ts'
import { up as addCharges, down as dropCharges } from '../../migrations/0083_money_of_charges.ts'
import { connect, type Db, type Tx } from '../../src/db/connect.ts'
import { withTenant } from '../../src/db/tenant-scope.ts'
import { dispute, openScene, payment, refund, type Scene } from '../purchases/purchase-scene.ts'
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
    const { rows } = await trx.raw<{ rows: { object_id: string; amount: number }[] }>(
      `select owner_id, kind, source, object_id, currency, item_id, sum(amount)::int as amount,
         case source when 'recorded' then min(happened_at) end as at,
         case source when 'recorded' then min(booked_at) end as booked
       from money_movements group by 1, 2, 3, 4, 5, 6 having sum(amount) <> 0 order by 4`,
    )
    return rows
  })

async function goBack(trx: Tx): Promise<void> {
  await dropCharges(trx)
  await dropTimes(trx)
  await down(trx)
}

async function goForward(trx: Tx): Promise<void> {
  await up(trx)
  await createTimes(trx)
  await addCharges(trx)
}

async function recordPayment(trx: Tx, { ref }: Scene, id: string): Promise<void> {
  const of = { conference_id: ref.conferenceId, purchase_id: ref.purchaseId }
  const paid = { id, amount: 1_000, method: 'cash', reference: 'x', recorded_by: 'x' }
  const row = { ...of, ...paid, currency: 'EUR', paid_at: at(dayBefore(5)) }
  await trx('recorded_payments').insert(row)
}

/** A charge of 500 with a refund and a dispute. */
const CHARGE = `
  with c as (select cast(:conference as text) as id),
  s as (insert into sponsors (conference_id, id, slug, name)
    select id, 'spon_1', 'spon-1', 'Sponsor' from c),
  k as (insert into customers (conference_id, id, sponsor_id, params, idempotency_key, created_by)
    select id, 'cust_1', 'spon_1', '{}', 'key', 'test' from c),
  h as (insert into charges (conference_id, id, customer_id, sponsor_id, status, amount, currency,
      description, amount_received, amount_refunded, payment_intent_id, created_by)
    select id, 'chg_1', 'cust_1', 'spon_1', 'succeeded', 500, 'EUR', 'Booth', 500, 100, 'pi_9', 'test' from c),
  p as (insert into payments (conference_id, charge_id, payment_intent_id, attempt, status, amount,
      amount_received, currency)
    select id, 'chg_1', 'pi_9', 1, 'succeeded', 500, 500, 'EUR' from c),
  d as (insert into payment_disputes (conference_id, charge_id, id, payment_intent_id, status, amount, currency)
    select id, 'chg_1', 'dp_9', 'pi_9', 'lost', 40, 'EUR' from c)
  insert into payment_refunds (conference_id, charge_id, id, payment_intent_id, status, amount, currency)
    select id, 'chg_1', 're_9', 'pi_9', 'succeeded', 100, 'EUR' from c`

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
    await recordPayment(trx, other, 'rp_1')
    const of = { conference_id: conferenceId, purchase_id: other.ref.purchaseId }
    const back = { id: 'rr_1', amount: 30, recorded_by: 'x', created_at: trx.fn.now() }
    await trx('recorded_refunds').insert({ ...of, ...back })
    await trx.raw(CHARGE, { conference: conferenceId })
  })

  const before = await movements(conferenceId)
  expect(before.map(({ object_id: id, amount }) => [id, amount])).toEqual([
    ['dp_1', 80],
    ['dp_9', 40],
    ['pi_1', 1_000],
    ['pi_2', 70],
    ['pi_9', 500],
    ['re_1', 100],
    ['re_9', 100],
    ['rp_1', 1_000],
    ['rr_1', 30],
  ])
  await db.transaction(async (trx) => {
    await goBack(trx)
    await goForward(trx)
  })
  expect(await movements(conferenceId)).toEqual(before)
})

it('misses no payment that is recorded while it runs', async () => {
  const scene = await openScene(db, { attempts: 0 })
  await db.transaction(goBack)
  let migrated: Promise<void> | undefined
  await scene.run(async (trx) => {
    await recordPayment(trx, scene, 'rp_2')
    migrated = db.transaction(goForward)
    await vi.waitFor(async () => {
      const { rows } = await db.raw<{ rows: unknown[] }>(
        `select from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'`,
      )
      expect(rows).toHaveLength(1)
    }, 10_000)
  })
  await migrated
  expect(await movements(scene.ref.conferenceId)).toMatchObject([
    { object_id: 'rp_2', amount: 1_000 },
  ])
})
