import { beforeAll, expect, it } from 'vitest'
import { down, up } from '../../migrations/0028_voucher_targets.ts'
import { migrationSource } from '../../src/db/migrations.ts'
import { type Tenant, useTenants } from './voucher-fixture.ts'

const tenants = useTenants()

// Later migrations change the tables that this one reads.
beforeAll(async () => {
  const lastOf = () =>
    tenants.db('knex_migrations').orderBy('id', 'desc').first<{ name: string }>('name')
  while ((await lastOf()).name !== '0028_voucher_targets') {
    await tenants.db.migrate.down({ migrationSource, disableMigrationsListValidation: true })
  }
  // Today's alignment reads these.
  await tenants.db.raw(`
    alter table vouchers add column uses_held integer not null default 0;
    alter table voucher_batches add column named_inactive bigint[] not null default '{}',
      add column named_frozen bigint[] not null default '{}'`)
})

type Money = {
  status?: 'PAID' | 'REFUNDED'
  accepted?: number
  received?: number
  refunds?: [status: string, amount: number][]
  dispute?: [status: string, amount: number]
}

/** A purchase of ten vouchers at 10 each, with vouchers and one payment. */
async function paid(
  tenant: Tenant,
  money: Money,
): Promise<{ purchaseId: string; batchId: string }> {
  const { purchaseId, batchId } = await tenant.sold(10)
  const payment = `pi_${purchaseId}`
  const of = { conference_id: tenant.conferenceId, purchase_id: purchaseId }
  const common = { ...of, payment_intent_id: payment, currency: 'EUR' }
  await tenant.run(async (trx) => {
    await trx('bulk_purchases')
      .where({ id: purchaseId })
      .update({
        status: money.status ?? 'PAID',
        paid_at: trx.fn.now(),
        refunded_at: money.status === 'REFUNDED' ? trx.fn.now() : null,
        ...(money.accepted === undefined
          ? {}
          : { accepted_payment_intent_id: payment, accepted_amount: money.accepted }),
      })
    const received = money.received ?? 100
    await trx('purchase_payments').insert([
      { ...common, status: 'succeeded', amount: received, amount_received: received },
      // Money in another currency does not count.
      {
        ...common,
        payment_intent_id: `${payment}_usd`,
        currency: 'USD',
        status: 'succeeded',
        amount: 500,
        amount_received: 500,
      },
    ])
    for (const [n, [status, amount]] of (money.refunds ?? []).entries()) {
      await trx('purchase_refunds').insert({ ...common, id: `re_${n}_${payment}`, status, amount })
    }
    if (money.dispute !== undefined) {
      const [status, amount] = money.dispute
      await trx('purchase_disputes').insert({ ...common, id: `dp_${payment}`, status, amount })
    }
  })
  return { purchaseId, batchId }
}

async function migrateAgain(): Promise<void> {
  await tenants.db.transaction(async (trx) => {
    await down(trx)
    await up(trx)
  })
}

const targetOf = async (tenant: Tenant, batchId: string) =>
  tenant.run(async (trx) =>
    trx('voucher_batches')
      .where({ id: batchId })
      .first<unknown>('required_inactive', 'required_frozen', 'disputed', 'missing_inactive'),
  )

it.each<[string, Money, [inactive: number, frozen: number, disputed: boolean]]>([
  ['a refund', { refunds: [['succeeded', 35]] }, [3, 3, false]],
  [
    'a refund and pending ones',
    {
      refunds: [
        ['succeeded', 20],
        ['pending', 10],
        ['requires_action', 20],
        ['failed', 50],
      ],
    },
    [2, 5, false],
  ],
  ['an open dispute', { dispute: ['needs_response', 100] }, [0, 0, true]],
  ['a lost dispute', { dispute: ['lost', 50] }, [5, 5, false]],
  ['a full refund', { status: 'REFUNDED', refunds: [['succeeded', 100]] }, [10, 10, false]],
  [
    'a full refund that failed before staff reinstated the purchase',
    { status: 'REFUNDED', refunds: [['failed', 100]], dispute: ['under_review', 100] },
    [10, 10, true],
  ],
  [
    'an accepted amount',
    { accepted: 80, received: 80, refunds: [['succeeded', 40]] },
    [5, 5, false],
  ],
])('the migration stores what %s requires (issue 8, line 4)', async (_, money, expected) => {
  const tenant = await tenants.create()
  const { batchId } = await paid(tenant, money)
  await migrateAgain()
  const [inactive, frozen, disputed] = expected
  expect(await targetOf(tenant, batchId)).toEqual({
    required_inactive: inactive,
    required_frozen: frozen,
    disputed,
    missing_inactive: null,
  })
})

it('the migration requires nothing of a purchase whose money we keep', async () => {
  const tenant = await tenants.create()
  const { batchId } = await paid(tenant, { dispute: ['won', 100] })
  await migrateAgain()
  expect(await targetOf(tenant, batchId)).toEqual({
    required_inactive: 0,
    required_frozen: 0,
    disputed: false,
    missing_inactive: 0,
  })
})

it('codes that an earlier release left frozen are released by the next alignment (issue 8, line 10)', async () => {
  const tenant = await tenants.create()
  const { purchaseId, batchId } = await paid(tenant, {})
  await tenant.run(async (trx) =>
    trx('vouchers').where({ batch_id: batchId }).update({ held_by_dispute: true }),
  )
  await migrateAgain()
  await tenant.align(purchaseId, {})
  expect(await tenant.ordinals(batchId, ({ state }) => state === 'frozen')).toEqual([])
})
