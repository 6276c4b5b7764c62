import { describe, expect, it } from 'vitest'
import {
  deactivateAll,
  deactivateForRefund,
  deactivateVoucher,
  freezeForDispute,
  freezeForRefund,
  reactivateVouchers,
} from '../../src/vouchers/freeze-and-deactivate-vouchers.ts'
import { redeemVoucher } from '../../src/vouchers/redeem-voucher.ts'
import { countVouchers } from '../../src/vouchers/voucher-store.ts'
import { type Stored, type Tenant, useTenants } from './voucher-fixture.ts'

const tenants = useTenants()

const isOff = (voucher: Stored) => voucher.deactivated_by !== null
const isFrozen = (voucher: Stored) => voucher.state === 'frozen'
const isHeld = (voucher: Stored) => voucher.held_by_refund

const turnOff = (tenant: Tenant, purchaseId: string, k: number) =>
  tenant.run((trx) => deactivateForRefund(trx, tenant.conferenceId, purchaseId, k))
const hold = (tenant: Tenant, purchaseId: string, k: number) =>
  tenant.run((trx) => freezeForRefund(trx, tenant.conferenceId, purchaseId, k))
const dispute = (tenant: Tenant, purchaseId: string, held: boolean) =>
  tenant.run((trx) => freezeForDispute(trx, tenant.conferenceId, purchaseId, held))

describe('a partial refund', () => {
  it('deactivates the newest codes first', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(10)
    expect(await turnOff(tenant, purchaseId, 3)).toEqual({ deactivated: 3, missing: 0 })
    expect(await tenant.ordinals(batchId, isOff)).toEqual([8, 9, 10])
  })

  it('counts k in all: a second refund deactivates only the difference', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(10)
    await turnOff(tenant, purchaseId, 3)
    expect(await turnOff(tenant, purchaseId, 3)).toEqual({ deactivated: 0, missing: 0 })
    expect(await turnOff(tenant, purchaseId, 5)).toEqual({ deactivated: 2, missing: 0 })
    expect(await tenant.ordinals(batchId, isOff)).toEqual([6, 7, 8, 9, 10])
  })

  it('counts codes that staff deactivated before', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(10)
    for (const code of codes.slice(0, 2)) {
      await tenant.run((trx) => deactivateVoucher(trx, tenant.conferenceId, code))
    }
    expect(await turnOff(tenant, purchaseId, 3)).toEqual({ deactivated: 1, missing: 0 })
    expect(await tenant.ordinals(batchId, isOff)).toEqual([1, 2, 10])
  })

  it('skips redeemed codes and returns how many are missing', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(5)
    await tenant.use(batchId, [2, 4, 5])
    expect(await turnOff(tenant, purchaseId, 4)).toEqual({ deactivated: 2, missing: 2 })
    expect(await tenant.ordinals(batchId, isOff)).toEqual([1, 3])
    const used = (await tenant.stored(batchId)).map(({ times_used: uses }) => uses)
    expect(used).toEqual([0, 1, 0, 1, 1])
  })

  it('never deactivates a code with several uses that was used once', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(3, { maxUses: 10 })
    await tenant.use(batchId, [3])
    await turnOff(tenant, purchaseId, 1)
    expect(await tenant.ordinals(batchId, isOff)).toEqual([2])
  })

  it('deactivates frozen codes, which are then no longer frozen', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(4)
    await hold(tenant, purchaseId, 2)
    await turnOff(tenant, purchaseId, 2)
    expect(await tenant.ordinals(batchId, isOff)).toEqual([3, 4])
    expect(await tenant.ordinals(batchId, isHeld)).toEqual([])
  })

  it('does nothing if k is zero, and returns all as missing if nothing was issued', async () => {
    const tenant = await tenants.create()
    const { purchaseId } = await tenant.sold(2)
    expect(await turnOff(tenant, purchaseId, 0)).toEqual({ deactivated: 0, missing: 0 })
    const unpaid = await tenant.purchase(2)
    expect(await turnOff(tenant, unpaid, 2)).toEqual({ deactivated: 0, missing: 2 })
  })
})

describe('a full refund and its reversal', () => {
  it('deactivates every code and keeps its uses', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(4)
    await tenant.use(batchId, [1])
    await turnOff(tenant, purchaseId, 1)
    const off = await tenant.run((trx) => deactivateAll(trx, tenant.conferenceId, purchaseId))
    expect(off).toBe(3)
    const vouchers = await tenant.stored(batchId)
    expect(vouchers.every(isOff)).toBe(true)
    expect(vouchers.map(({ times_used: uses }) => uses)).toEqual([1, 0, 0, 0])
  })

  it('reactivates what the refund deactivated, but not what staff deactivated', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, code } = await tenant.sold(4)
    await tenant.run((trx) => deactivateVoucher(trx, tenant.conferenceId, code))
    await tenant.run((trx) => deactivateAll(trx, tenant.conferenceId, purchaseId))
    const on = await tenant.run((trx) => reactivateVouchers(trx, tenant.conferenceId, purchaseId))
    expect(on).toBe(3)
    expect(await tenant.ordinals(batchId, isOff)).toEqual([1])
  })
})

describe('frozen codes', () => {
  it('are exactly those that the refund would deactivate', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(6)
    await tenant.use(batchId, [6])
    await turnOff(tenant, purchaseId, 1)
    expect(await hold(tenant, purchaseId, 3)).toBe(2)
    expect(await tenant.ordinals(batchId, isFrozen)).toEqual([3, 4])
    await turnOff(tenant, purchaseId, 3)
    expect(await tenant.ordinals(batchId, isOff)).toEqual([3, 4, 5])
  })

  it('are released when the refund shrinks; repeating it is a no-op', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(6)
    await hold(tenant, purchaseId, 4)
    expect(await hold(tenant, purchaseId, 4)).toBe(0)
    expect(await hold(tenant, purchaseId, 1)).toBe(3)
    expect(await tenant.ordinals(batchId, isFrozen)).toEqual([6])
    expect(await hold(tenant, purchaseId, 0)).toBe(1)
    expect(await tenant.ordinals(batchId, isFrozen)).toEqual([])
  })

  it('include redeemed codes with uses left during a full refund', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(3, { maxUses: 2 })
    await tenant.use(batchId, [1])
    await tenant.use(batchId, [2], 2)
    await hold(tenant, purchaseId, 3)
    expect(await tenant.ordinals(batchId, isFrozen)).toEqual([1, 3])
  })

  it('are all usable codes while a dispute is open, and none after it', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(4)
    await tenant.use(batchId, [2])
    await turnOff(tenant, purchaseId, 1)
    expect(await dispute(tenant, purchaseId, true)).toBe(2)
    expect(await dispute(tenant, purchaseId, true)).toBe(0)
    expect(await tenant.ordinals(batchId, isFrozen)).toEqual([1, 3])
    expect(await dispute(tenant, purchaseId, false)).toBe(2)
    expect(await tenant.ordinals(batchId, isFrozen)).toEqual([])
  })

  it('stay frozen until both the refund and the dispute have ended', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(2)
    await dispute(tenant, purchaseId, true)
    await hold(tenant, purchaseId, 1)
    await dispute(tenant, purchaseId, false)
    expect(await tenant.ordinals(batchId, isFrozen)).toEqual([2])
    await hold(tenant, purchaseId, 0)
    expect(await tenant.ordinals(batchId, isFrozen)).toEqual([])
  })
})

describe('parallel refunds and redemptions', () => {
  it('lose no use, deactivate no redeemed code and do not deadlock', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(60)
    const actor = { kind: 'staff' as const, id: 'key_shop' }
    const redeem = (code: string) =>
      tenant
        .run((trx) => redeemVoucher(trx, tenant.conferenceId, { code, reference: code, actor }))
        .then(
          () => 'redeemed' as const,
          (error: { code: string }) => error.code,
        )
    const refunds = [5, 10, 15, 20, 25, 30].map((k) => turnOff(tenant, purchaseId, k))
    const holds = [40, 0, 35].map((k) => hold(tenant, purchaseId, k))
    const answers = await Promise.all(codes.map(redeem))
    await Promise.all([...refunds, ...holds])
    await turnOff(tenant, purchaseId, 30)

    const vouchers = await tenant.stored(batchId)
    const redeemed = answers.filter((answer) => answer === 'redeemed').length
    const refused = answers.filter((answer) => answer === 'voucher_invalid').length
    expect(redeemed + refused).toBe(60)
    expect(vouchers.filter(({ times_used: uses }) => uses === 1)).toHaveLength(redeemed)
    expect(vouchers.filter((v) => isOff(v) && v.times_used > 0)).toEqual([])
    expect(vouchers.filter(isOff)).toHaveLength(Math.min(30, 60 - redeemed))
  })

  it('deactivate the next code if the newest is redeemed while the refund waits for it', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(3)
    const code = codes[2] ?? ''
    const actor = { kind: 'staff' as const, id: 'key_shop' }
    let refund: Promise<unknown> | undefined
    await tenant.run(async (trx) => {
      await redeemVoucher(trx, tenant.conferenceId, { code, reference: 'order-1', actor })
      refund = turnOff(tenant, purchaseId, 1)
      await expect.poll(() => waiting(tenant)).toBe(1)
    })
    expect(await refund).toEqual({ deactivated: 1, missing: 0 })
    expect(await tenant.ordinals(batchId, isOff)).toEqual([2])
  })
})

async function waiting(tenant: Tenant): Promise<number> {
  const { rows } = await tenant.db.raw<{ rows: { n: number }[] }>(
    `select count(*) as n from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock'`,
  )
  return rows[0]?.n ?? 0
}

describe('counts of a purchase', () => {
  it('distinguish issued, active, frozen, deactivated, redeemed and remaining', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(10, { maxUses: 2 })
    await tenant.use(batchId, [1], 2)
    await tenant.use(batchId, [2])
    await turnOff(tenant, purchaseId, 3)
    await hold(tenant, purchaseId, 5)
    const unpaid = await tenant.purchase(7)
    const counts = await tenant.run((trx) =>
      countVouchers(trx, tenant.conferenceId, [purchaseId, unpaid]),
    )
    expect(counts.get(purchaseId)).toEqual({
      issued: 10,
      active: 5,
      frozen: 2,
      deactivated: 3,
      redeemed: 2,
      remaining: 4,
    })
    expect(counts.get(unpaid)).toEqual({
      issued: 0,
      active: 0,
      frozen: 0,
      deactivated: 0,
      redeemed: 0,
      remaining: 0,
    })
  })
})
