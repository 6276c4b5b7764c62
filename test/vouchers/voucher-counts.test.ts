import { describe, expect, it, vi } from 'vitest'
import { down, up } from '../../migrations/0057_voucher_counts.ts'
import type { Tx } from '../../src/db/connect.ts'
import { withSystem } from '../../src/db/tenant-scope.ts'
import { reportVouchers } from '../../src/reports/report-queries.ts'
import { assignVoucher } from '../../src/vouchers/assign-vouchers.ts'
import { redeemVoucher, releaseRedemption } from '../../src/vouchers/redeem-voucher.ts'
import { addUpVoucherCounts } from '../../src/vouchers/voucher-counts.ts'
import { type Tenant, useTenants, waiting } from './voucher-fixture.ts'

const tenants = useTenants()
const actor = { kind: 'staff' as const, id: 'key_test' }

const redeem = (trx: Tx, tenant: Tenant, code: string | undefined, reference = 'order-1') =>
  redeemVoucher(trx, tenant.conferenceId, { code: code ?? '', reference, actor })

const addUp = () => withSystem(tenants.db, 'timers', addUpVoucherCounts)

/** The same, counted one by one. */
async function recounted(tenant: Tenant, batchId: string, maxUses = 1) {
  const vouchers = await tenant.stored(batchId)
  const numberOf = (matches: (voucher: (typeof vouchers)[number]) => boolean) =>
    vouchers.filter(matches).length
  return {
    issued: vouchers.length,
    active: numberOf(({ state }) => state === 'active'),
    frozen: numberOf(({ state }) => state === 'frozen'),
    deactivated: numberOf(({ state }) => state === 'deactivated'),
    redeemed: numberOf((voucher) => voucher.times_used > 0),
    remaining: numberOf((voucher) => voucher.state === 'active' && voucher.times_used < maxUses),
  }
}

const numberOfChanges = (tenant: Tenant) =>
  tenant.run(async (trx) => (await trx('voucher_count_changes').select('batch_id')).length)

describe('the counts of a batch (issue 9, line 6)', () => {
  it('follow redemptions, releases, refunds and staff, before and after they are added up', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(10, { maxUses: 2 })
    const { redemption } = await tenant.run((trx) => redeem(trx, tenant, codes[0]))
    const steps: (() => Promise<unknown>)[] = [
      () => tenant.run((trx) => redeem(trx, tenant, codes[0], 'order-2')),
      () => tenant.run((trx) => redeem(trx, tenant, codes[1])),
      () => tenant.align(purchaseId, { inactive: 3, frozen: 5 }),
      () => tenant.run((trx) => releaseRedemption(trx, tenant.conferenceId, redemption.id, actor)),
      () => tenant.deactivate(codes[4] ?? ''),
      () => tenant.align(purchaseId, { disputed: true }),
      () => tenant.align(purchaseId, { inactive: 10 }),
      () => tenant.align(purchaseId, {}),
      () => tenant.activate(codes[4] ?? ''),
    ]
    for (const [i, step] of steps.entries()) {
      await step()
      const expected = await recounted(tenant, batchId, 2)
      expect(await tenant.counts(purchaseId), `step ${i}`).toEqual(expected)
      await addUp()
      expect(await tenant.counts(purchaseId), `added up after step ${i}`).toEqual(expected)
    }
    expect(await numberOfChanges(tenant)).toBe(0)
  })

  it('write nothing while vouchers are issued or assigned', async () => {
    const tenant = await tenants.create()
    const { purchaseId, code } = await tenant.sold(5)
    const caller = { conferenceId: tenant.conferenceId, sponsorId: null, actor }
    const person = { email: 'ada@acme.example', name: null }
    await tenant.run((trx) => assignVoucher(trx, caller, code, person, { send: true }))
    expect(await numberOfChanges(tenant)).toBe(0)
    expect(await tenant.counts(purchaseId)).toMatchObject({ issued: 5, active: 5, remaining: 5 })
  })

  it('follow vouchers that were lost and are issued again', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(5)
    await tenant.use(batchId, [2])
    await tenant.run(async (trx) => trx('vouchers').whereIn('ordinal', [2, 3]).delete())
    expect(await tenant.counts(purchaseId)).toEqual(await recounted(tenant, batchId))
    await tenant.issue({ count: 5, purchaseId })
    await addUp()
    expect(await tenant.counts(purchaseId)).toEqual(await recounted(tenant, batchId))
    expect(await tenant.counts(purchaseId)).toMatchObject({ issued: 5, redeemed: 0 })
  })

  it('let parallel redemptions of one batch pass each other, also while they are added up', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(3)
    await tenant.run((trx) => redeem(trx, tenant, codes[2]))
    await tenant.run(async (first) => {
      await redeem(first, tenant, codes[0])
      await withSystem(tenants.db, 'timers', async (timer) => {
        await addUpVoucherCounts(timer)
        await tenant.run((second) => redeem(second, tenant, codes[1]))
        expect(await waiting(tenant)).toBe(0)
      })
    })
    expect(await tenant.counts(purchaseId)).toMatchObject({ redeemed: 3, remaining: 0 })
    await addUp()
    expect(await tenant.counts(purchaseId)).toEqual(await recounted(tenant, batchId))
  })

  it('are those of every report and list when two processes add them up at once', async () => {
    const tenant = await tenants.create()
    const { codes } = await tenant.sold(40)
    await Promise.all(codes.map((code) => tenant.run((trx) => redeem(trx, tenant, code))))
    await Promise.all([addUp(), addUp()])
    await vi.waitFor(async () => {
      await addUp()
      expect(await numberOfChanges(tenant)).toBe(0)
    })
    const { totals } = await tenant.run((trx) =>
      reportVouchers(
        trx,
        { conferenceId: tenant.conferenceId, sponsorId: null },
        { group_by: 'day' },
      ),
    )
    expect(totals).toMatchObject({ issued: 40, active: 40, redeemed: 40, uses: 40, remaining: 0 })
  })

  it('are those of the vouchers when a database is migrated', async () => {
    const tenant = await tenants.create()
    const untouched = await tenant.sold(3)
    const { purchaseId, batchId, codes } = await tenant.sold(6)
    await tenant.run((trx) => redeem(trx, tenant, codes[0]))
    await tenant.align(purchaseId, { inactive: 1, frozen: 3 })
    await tenant.run(async (trx) => trx('vouchers').where({ ordinal: 5 }).delete())
    await tenants.db.transaction(async (trx) => {
      await down(trx)
      await up(trx)
    })
    for (const sold of [untouched, { purchaseId, batchId }]) {
      expect(await tenant.counts(sold.purchaseId)).toEqual(await recounted(tenant, sold.batchId))
    }
  })
})
