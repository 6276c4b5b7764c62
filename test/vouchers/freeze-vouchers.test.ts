import { describe, expect, it } from 'vitest'
import { redeemVoucher, releaseRedemption } from '../../src/vouchers/redeem-voucher.ts'
import { type Stored, type Tenant, useTenants, waiting } from './voucher-fixture.ts'

const tenants = useTenants()

const isOff = (voucher: Stored) => voucher.deactivated_by !== null
const isFrozen = (voucher: Stored) => voucher.state === 'frozen'
const actor = { kind: 'staff' as const, id: 'key_shop' }

/** The ordinals that are inactive and frozen. */
async function states(tenant: Tenant, batchId: string) {
  return {
    off: await tenant.ordinals(batchId, isOff),
    frozen: await tenant.ordinals(batchId, isFrozen),
  }
}

/** The version of each row. A statement that writes a row changes it. */
async function versions(tenant: Tenant, batchId: string): Promise<string[]> {
  const rows = await tenant.run(async (trx) =>
    trx('vouchers')
      .where({ batch_id: batchId })
      .orderBy('id')
      .select<{ version: string }[]>(trx.raw('ctid::text as version')),
  )
  return rows.map(({ version }) => version)
}

describe('a partial refund', () => {
  it('deactivates the newest codes first', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(10)
    expect(await tenant.align(purchaseId, { inactive: 3 })).toEqual({ missing: 0 })
    expect(await states(tenant, batchId)).toEqual({ off: [8, 9, 10], frozen: [] })
  })

  it('counts in all: a second refund deactivates only the difference', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(10)
    await tenant.align(purchaseId, { inactive: 3 })
    expect(await tenant.align(purchaseId, { inactive: 5 })).toEqual({ missing: 0 })
    expect(await states(tenant, batchId)).toEqual({ off: [6, 7, 8, 9, 10], frozen: [] })
  })

  it('counts codes that staff deactivated before', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(10)
    for (const code of codes.slice(0, 2)) await tenant.deactivate(code)
    await tenant.align(purchaseId, { inactive: 3 })
    expect(await states(tenant, batchId)).toEqual({ off: [1, 2, 10], frozen: [] })
  })

  it('changes no code if staff deactivated more than it requires', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(6)
    for (const code of codes.slice(0, 4)) await tenant.deactivate(code)
    expect(await tenant.align(purchaseId, { inactive: 3, frozen: 4 })).toEqual({ missing: 0 })
    expect(await states(tenant, batchId)).toEqual({ off: [1, 2, 3, 4], frozen: [] })
  })

  it('skips redeemed codes and returns how many are missing', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(5)
    await tenant.use(batchId, [2, 4, 5])
    expect(await tenant.align(purchaseId, { inactive: 4 })).toEqual({ missing: 2 })
    expect(await states(tenant, batchId)).toEqual({ off: [1, 3], frozen: [] })
    expect(await tenant.align(purchaseId, { inactive: 4 })).toEqual({ missing: 2 })
    const used = (await tenant.stored(batchId)).map(({ times_used: uses }) => uses)
    expect(used).toEqual([0, 1, 0, 1, 1])
  })

  it('never deactivates a code with several uses that was used once', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(3, { maxUses: 10 })
    await tenant.use(batchId, [3])
    await tenant.align(purchaseId, { inactive: 1 })
    expect(await states(tenant, batchId)).toEqual({ off: [2], frozen: [] })
  })

  it('deactivates the codes that it froze while it was pending', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(4)
    await tenant.align(purchaseId, { frozen: 2 })
    await tenant.align(purchaseId, { inactive: 2 })
    expect(await states(tenant, batchId)).toEqual({ off: [3, 4], frozen: [] })
    expect(await tenant.ordinals(batchId, (voucher) => voucher.held_by_refund)).toEqual([])
  })

  it('does nothing if it requires nothing, or if nothing was issued', async () => {
    const tenant = await tenants.create()
    const { purchaseId } = await tenant.sold(2)
    expect(await tenant.align(purchaseId, { inactive: 0 })).toEqual({ missing: 0 })
    const unpaid = await tenant.purchase(2)
    expect(await tenant.align(unpaid, { inactive: 2 })).toEqual({ missing: 0 })
  })
})

describe('a full refund', () => {
  it('deactivates every code, redeemed ones too, and keeps their uses', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(4)
    await tenant.use(batchId, [1])
    await tenant.align(purchaseId, { inactive: 1 })
    expect(await tenant.align(purchaseId, { inactive: 4 })).toEqual({ missing: 0 })
    expect(await states(tenant, batchId)).toEqual({ off: [1, 2, 3, 4], frozen: [] })
    const vouchers = await tenant.stored(batchId)
    expect(vouchers.map(({ times_used: uses }) => uses)).toEqual([1, 0, 0, 0])
  })

  it('that failed activates its codes again, but not those of staff', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, code } = await tenant.sold(4)
    await tenant.deactivate(code)
    await tenant.align(purchaseId, { inactive: 4 })
    await tenant.align(purchaseId, { inactive: 0 })
    expect(await states(tenant, batchId)).toEqual({ off: [1], frozen: [] })
  })

  it('that failed in part activates the oldest and the redeemed codes first', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(5)
    await tenant.use(batchId, [5])
    await tenant.align(purchaseId, { inactive: 5 })
    expect(await tenant.align(purchaseId, { inactive: 2 })).toEqual({ missing: 0 })
    expect(await states(tenant, batchId)).toEqual({ off: [3, 4], frozen: [] })
  })
})

describe('the codes that the target takes', () => {
  it('stay the same when newer ones become free (nothing flips without need)', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(6)
    const newest = codes[5] ?? ''
    const { redemption } = await tenant.run((trx) =>
      redeemVoucher(trx, tenant.conferenceId, { code: newest, reference: 'order-1', actor }),
    )
    await tenant.align(purchaseId, { inactive: 1, frozen: 2 })
    expect(await states(tenant, batchId)).toEqual({ off: [5], frozen: [4] })
    await tenant.run((trx) => releaseRedemption(trx, tenant.conferenceId, redemption.id, actor))
    expect(await states(tenant, batchId)).toEqual({ off: [5], frozen: [4] })
    await tenant.align(purchaseId, { inactive: 2, frozen: 2 })
    expect(await states(tenant, batchId)).toEqual({ off: [4, 5], frozen: [] })
  })

  it('come back frozen if a refund failed while another one is pending', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(6)
    await tenant.align(purchaseId, { inactive: 3, frozen: 4 })
    expect(await states(tenant, batchId)).toEqual({ off: [4, 5, 6], frozen: [3] })
    await tenant.align(purchaseId, { inactive: 1, frozen: 3 })
    expect(await states(tenant, batchId)).toEqual({ off: [6], frozen: [4, 5] })
  })

  it('are not written again by the same target', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(5)
    await tenant.use(batchId, [2])
    const target = { inactive: 1, frozen: 3, disputed: true }
    await tenant.align(purchaseId, target)
    const before = await versions(tenant, batchId)
    await tenant.align(purchaseId, target)
    await tenant.run(async (trx) => trx('voucher_batches').update({ missing_inactive: null }))
    await tenant.align(purchaseId, target)
    expect(await versions(tenant, batchId)).toEqual(before)
  })

  it('are as many, in any order of the targets', async () => {
    const tenant = await tenants.create()
    const targets = [{ inactive: 2 }, { frozen: 4 }, { disputed: true }, { inactive: 1, frozen: 5 }]
    const last = { inactive: 2, frozen: 3, disputed: true }
    const ends = []
    for (const order of [targets, targets.toReversed(), []]) {
      const { purchaseId, batchId } = await tenant.sold(6)
      for (const target of [...order, last]) await tenant.align(purchaseId, target)
      ends.push((await tenant.stored(batchId)).map(({ state }) => state))
    }
    expect(new Set(ends.map((end) => end.toSorted().join())).size).toBe(1)
    expect(ends[2]).toEqual(['frozen', 'frozen', 'frozen', 'frozen', 'deactivated', 'deactivated'])
  })
})

describe('frozen codes', () => {
  it('are exactly those that the pending refund would deactivate', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(6)
    await tenant.use(batchId, [6])
    await tenant.align(purchaseId, { inactive: 1, frozen: 3 })
    expect(await states(tenant, batchId)).toEqual({ off: [5], frozen: [3, 4] })
    await tenant.align(purchaseId, { inactive: 3 })
    expect(await states(tenant, batchId)).toEqual({ off: [3, 4, 5], frozen: [] })
  })

  it('are the next ones when one refund succeeds while another is pending (issue 8, line 29)', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(8)
    await tenant.align(purchaseId, { frozen: 2 })
    await tenant.align(purchaseId, { inactive: 3, frozen: 5 })
    expect(await states(tenant, batchId)).toEqual({ off: [6, 7, 8], frozen: [4, 5] })
  })

  it('are released when the refund shrinks, the oldest first', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(6)
    await tenant.align(purchaseId, { frozen: 4 })
    await tenant.align(purchaseId, { frozen: 1 })
    expect(await states(tenant, batchId)).toEqual({ off: [], frozen: [6] })
    await tenant.align(purchaseId, {})
    expect(await states(tenant, batchId)).toEqual({ off: [], frozen: [] })
  })

  it('include redeemed codes with uses left while a full refund is pending', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(4, { maxUses: 2 })
    await tenant.use(batchId, [1])
    await tenant.use(batchId, [2], 2)
    await tenant.align(purchaseId, { inactive: 1, frozen: 4 })
    expect(await states(tenant, batchId)).toEqual({ off: [4], frozen: [1, 3] })
  })

  it('are all usable codes while a dispute is open, and none after it', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(4)
    await tenant.use(batchId, [2])
    await tenant.align(purchaseId, { inactive: 1, disputed: true })
    expect(await states(tenant, batchId)).toEqual({ off: [4], frozen: [1, 3] })
    await tenant.align(purchaseId, { inactive: 1 })
    expect(await states(tenant, batchId)).toEqual({ off: [4], frozen: [] })
  })

  it('stay frozen until both the refund and the dispute have ended', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(2)
    await tenant.align(purchaseId, { frozen: 1, disputed: true })
    await tenant.align(purchaseId, { frozen: 1 })
    expect(await states(tenant, batchId)).toEqual({ off: [], frozen: [2] })
    await tenant.align(purchaseId, {})
    expect(await states(tenant, batchId)).toEqual({ off: [], frozen: [] })
  })

  it('include a used-up code whose use is given back during a dispute (issue 8, line 4)', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(2)
    const { redemption } = await tenant.run((trx) =>
      redeemVoucher(trx, tenant.conferenceId, { code: codes[0] ?? '', reference: 'x', actor }),
    )
    await tenant.align(purchaseId, { disputed: true })
    expect(await states(tenant, batchId)).toEqual({ off: [], frozen: [2] })
    await tenant.run((trx) => releaseRedemption(trx, tenant.conferenceId, redemption.id, actor))
    expect(await states(tenant, batchId)).toEqual({ off: [], frozen: [1, 2] })
  })

  it('are released at the end of a dispute that was opened before a failed full refund (issue 8, line 10)', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(3)
    await tenant.align(purchaseId, { disputed: true })
    await tenant.align(purchaseId, { inactive: 3, disputed: true })
    await tenant.align(purchaseId, { inactive: 3 })
    await tenant.align(purchaseId, {})
    expect(await states(tenant, batchId)).toEqual({ off: [], frozen: [] })
    await tenant.align(purchaseId, { inactive: 3 })
    await tenant.align(purchaseId, { inactive: 3, disputed: true })
    await tenant.align(purchaseId, { disputed: true })
    expect(await states(tenant, batchId)).toEqual({ off: [], frozen: [1, 2, 3] })
  })
})

describe('a use that is given back', () => {
  it('deactivates the code if refunds lack an unredeemed one (issue 8, line 4)', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(2)
    const { redemption } = await tenant.run((trx) =>
      redeemVoucher(trx, tenant.conferenceId, { code: codes[1] ?? '', reference: 'x', actor }),
    )
    await tenant.use(batchId, [1])
    const target = { inactive: 1 }
    expect(await tenant.align(purchaseId, target)).toEqual({ missing: 1 })
    await tenant.run((trx) => releaseRedemption(trx, tenant.conferenceId, redemption.id, actor))
    expect(await states(tenant, batchId)).toEqual({ off: [2], frozen: [] })
    expect(await tenant.align(purchaseId, target)).toEqual({ missing: 0 })
  })
})

describe('codes that are issued later', () => {
  it('come out as the stored target requires (issue 8, line 4)', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(6)
    await tenant.run(async (trx) =>
      trx('vouchers').where({ batch_id: batchId }).whereIn('ordinal', [2, 5, 6]).delete(),
    )
    await tenant.align(purchaseId, { inactive: 1, frozen: 2 })
    expect(await states(tenant, batchId)).toEqual({ off: [4], frozen: [3] })
    await tenant.align(purchaseId, { inactive: 5, disputed: true })
    await tenant.issue({ count: 6, purchaseId })
    expect(await states(tenant, batchId)).toEqual({ off: [1, 3, 4, 5, 6], frozen: [2] })
  })
})

describe('the outbound events', () => {
  it('name how many codes a refund deactivated or activated', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(5)
    await tenant.subscribe()
    await tenant.deactivate(codes[0] ?? '')
    await tenant.align(purchaseId, { inactive: 3 })
    await tenant.align(purchaseId, { inactive: 3 })
    await tenant.align(purchaseId, { inactive: 2, frozen: 4 })
    const data = { batch: batchId, purchase: purchaseId }
    expect(await tenant.published()).toEqual([
      { type: 'vouchers.deactivated', data: { ...data, count: 1, by: 'staff' } },
      { type: 'vouchers.deactivated', data: { ...data, count: 2, by: 'refund' } },
      { type: 'vouchers.activated', data: { ...data, count: 1, by: 'refund' } },
    ])
  })
})

describe('parallel refunds and redemptions', () => {
  it('lose no use, deactivate no redeemed code and do not deadlock', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(60)
    const redeem = (code: string) =>
      tenant
        .run((trx) => redeemVoucher(trx, tenant.conferenceId, { code, reference: code, actor }))
        .then(
          () => 'redeemed' as const,
          (error: { code: string }) => error.code,
        )
    const refunds = [5, 10, 15, 20, 25, 30].map((inactive) =>
      tenant.align(purchaseId, { inactive, frozen: inactive + 10 }),
    )
    const holds = [40, 0, 35].map((frozen) => tenant.align(purchaseId, { frozen }))
    const answers = await Promise.all(codes.map(redeem))
    await Promise.all([...refunds, ...holds])
    await tenant.align(purchaseId, { inactive: 30 })

    const vouchers = await tenant.stored(batchId)
    const redeemed = answers.filter((answer) => answer === 'redeemed').length
    const refused = answers.filter((answer) => answer === 'voucher_invalid').length
    expect(redeemed + refused).toBe(60)
    expect(vouchers.filter(({ times_used: uses }) => uses === 1)).toHaveLength(redeemed)
    expect(vouchers.filter((v) => isOff(v) && v.times_used > 0)).toEqual([])
    expect(vouchers.filter(isOff)).toHaveLength(Math.min(30, 60 - redeemed))
    expect(vouchers.filter(isFrozen)).toEqual([])
  })

  it('deactivate and freeze the next codes if the newest is redeemed while the refund waits for it', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(4)
    const code = codes[3] ?? ''
    let refund: Promise<unknown> | undefined
    await tenant.run(async (trx) => {
      await redeemVoucher(trx, tenant.conferenceId, { code, reference: 'order-1', actor })
      refund = tenant.align(purchaseId, { inactive: 1, frozen: 2 })
      await expect.poll(() => waiting(tenant)).toBe(1)
    })
    expect(await refund).toEqual({ missing: 0 })
    expect(await states(tenant, batchId)).toEqual({ off: [3], frozen: [2] })
  })

  it('do not freeze a code that is used up while the dispute waits for it', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(3)
    const code = codes[1] ?? ''
    let dispute: Promise<unknown> | undefined
    await tenant.run(async (trx) => {
      await redeemVoucher(trx, tenant.conferenceId, { code, reference: 'order-1', actor })
      dispute = tenant.align(purchaseId, { disputed: true })
      await expect.poll(() => waiting(tenant)).toBe(1)
    })
    await dispute
    expect(await states(tenant, batchId)).toEqual({ off: [], frozen: [1, 3] })
  })
})
