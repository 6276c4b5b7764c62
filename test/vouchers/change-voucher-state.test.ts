import { describe, expect, it } from 'vitest'
import { deactivateVoucher } from '../../src/vouchers/change-voucher-state.ts'
import { alignVouchers, NO_TARGET } from '../../src/vouchers/freeze-vouchers.ts'
import { type Tenant, useTenants, waiting } from './voucher-fixture.ts'

const tenants = useTenants()

const off = (tenant: Tenant, batchId: string) =>
  tenant.ordinals(batchId, (voucher) => voucher.deactivated_by !== null)

describe('deactivating a voucher', () => {
  it('makes it invalid and is idempotent', async () => {
    const tenant = await tenants.create()
    const { batchId, code } = await tenant.sold(2)
    const voucher = await tenant.deactivate(code.toLowerCase())
    expect(voucher).toMatchObject({ state: 'deactivated', invalidReason: 'deactivated' })
    const [before] = await tenant.stored(batchId)
    await tenant.deactivate(code)
    expect((await tenant.stored(batchId))[0]).toEqual(before)
    expect(before?.deactivated_by).toBe('staff')
  })

  it("stays staff's decision when the refund that deactivated the voucher before fails", async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, code } = await tenant.sold(2)
    await tenant.subscribe()
    await tenant.align(purchaseId, { inactive: 2 })
    const [before] = await tenant.stored(batchId)
    await tenant.deactivate(code)
    const [after] = await tenant.stored(batchId)
    expect(after).toEqual({ ...before, deactivated_by: 'staff' })
    expect(await tenant.published()).toHaveLength(1)
    await tenant.align(purchaseId, {})
    expect(await off(tenant, batchId)).toEqual([1])
  })

  it('counts for the refund, whichever comes first', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, code } = await tenant.sold(4)
    await tenant.align(purchaseId, { inactive: 2, frozen: 3 })
    await tenant.deactivate(code)
    expect(await off(tenant, batchId)).toEqual([1, 4])
    expect(await tenant.ordinals(batchId, ({ state }) => state === 'frozen')).toEqual([3])
  })

  it('fails with not_found for a voucher of another conference', async () => {
    const [tenant, other] = await Promise.all([tenants.create(), tenants.create()])
    const { code, batchId } = await other.sold(1)
    await expect(tenant.deactivate(code)).rejects.toMatchObject({ code: 'not_found' })
    await expect(tenant.activate(code)).rejects.toMatchObject({ code: 'not_found' })
    expect(await off(other, batchId)).toEqual([])
  })
})

describe('activating a voucher', () => {
  it('works for a paid voucher and is idempotent', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(2)
    await tenant.deactivate(code)
    expect(await tenant.activate(code)).toMatchObject({ state: 'active', invalidReason: null })
    expect(await tenant.activate(code)).toMatchObject({ state: 'active' })
  })

  it('is refused if refunds require the voucher to stay inactive', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(5)
    await tenant.align(purchaseId, { inactive: 2 })
    const refused = tenant.activate(codes[4] ?? '')
    await expect(refused).rejects.toMatchObject({
      code: 'voucher_refunded',
      extra: { required_off: 2, off: 2 },
    })
    expect(await off(tenant, batchId)).toEqual([4, 5])
  })

  it('is possible as long as enough others stay inactive', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(5)
    await tenant.align(purchaseId, { inactive: 2 })
    for (const code of codes.slice(0, 3)) await tenant.deactivate(code)
    expect(await off(tenant, batchId)).toEqual([1, 2, 3])
    await tenant.activate(codes[1] ?? '')
    expect(await off(tenant, batchId)).toEqual([1, 3])
    await expect(tenant.activate(codes[0] ?? '')).rejects.toMatchObject({
      code: 'voucher_refunded',
    })
  })

  it('leaves the voucher frozen if a pending refund requires as many', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(3)
    await tenant.deactivate(codes[2] ?? '')
    await tenant.align(purchaseId, { frozen: 1 })
    expect(await tenant.ordinals(batchId, ({ state }) => state === 'frozen')).toEqual([])
    expect(await tenant.activate(codes[2] ?? '')).toMatchObject({ state: 'frozen' })
  })

  it('is refused for every voucher of a refunded purchase', async () => {
    const tenant = await tenants.create()
    const { purchaseId, code } = await tenant.sold(3)
    await tenant.align(purchaseId, { inactive: 3 })
    await expect(tenant.activate(code)).rejects.toMatchObject({
      code: 'voucher_refunded',
    })
  })

  it('works for a voucher without a purchase', async () => {
    const tenant = await tenants.create()
    const { batchId } = await tenant.issue({ count: 1 })
    const code = (await tenant.stored(batchId))[0]?.code ?? ''
    await tenant.deactivate(code)
    expect(await tenant.activate(code)).toMatchObject({ state: 'active' })
  })

  it('names the state of a frozen voucher and the allowed actions', async () => {
    const tenant = await tenants.create()
    const { purchaseId, code } = await tenant.sold(1)
    await tenant.align(purchaseId, { disputed: true })
    await expect(tenant.activate(code)).rejects.toMatchObject({
      code: 'wrong_state',
      extra: { state: 'frozen', allowed_actions: ['deactivate'] },
    })
  })

  it('leaves it frozen if it was deactivated during a dispute that is still open', async () => {
    const tenant = await tenants.create()
    const { purchaseId, code } = await tenant.sold(1)
    await tenant.align(purchaseId, { disputed: true })
    await tenant.deactivate(code)
    expect(await tenant.activate(code)).toMatchObject({ state: 'frozen' })
  })
})

describe('a refund that races staff (issue 8, line 31)', () => {
  it('keeps the required number inactive when all vouchers are activated at the same time', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(8)
    for (const code of codes.slice(0, 4)) await tenant.deactivate(code)
    const [refund, ...answers] = await Promise.allSettled([
      tenant.align(purchaseId, { inactive: 2 }),
      ...codes.slice(0, 4).map((code) => tenant.activate(code)),
    ])
    expect(refund).toMatchObject({ status: 'fulfilled', value: { missing: 0 } })
    const refused = answers.filter(({ status }) => status === 'rejected').length
    // Activations that came before the refund were possible, so the refund deactivated others.
    expect(refused).toBeLessThanOrEqual(2)
    expect(await off(tenant, batchId)).toHaveLength(2)
  })

  it.each([1, 2, 3])(
    'waits for staff, and takes what is left after them: %i deactivated meanwhile',
    async (count) => {
      const tenant = await tenants.create()
      const { purchaseId, batchId, codes } = await tenant.sold(6)
      let refund: Promise<{ missing: number }> | undefined
      await tenant.run(async (trx) => {
        for (const code of codes.slice(0, count)) {
          await deactivateVoucher(trx, tenant.conferenceId, code)
        }
        refund = tenant.align(purchaseId, { inactive: 2 })
        await expect.poll(() => waiting(tenant)).toBe(1)
      })
      expect(await refund).toEqual({ missing: 0 })
      const expected = { 1: [1, 6], 2: [1, 2], 3: [1, 2, 3] }[count]
      expect(await off(tenant, batchId)).toEqual(expected)
    },
  )

  it('refuses an activation that waited for it', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(3)
    for (const code of codes) await tenant.deactivate(code)
    let activation: Promise<unknown> | undefined
    await tenant.run(async (trx) => {
      const ref = { conferenceId: tenant.conferenceId, purchaseId }
      await alignVouchers(trx, ref, { ...NO_TARGET, inactive: 3, frozen: 3 })
      activation = tenant.activate(codes[0] ?? '').catch((error: unknown) => error)
      await expect.poll(() => waiting(tenant)).toBe(1)
    })
    expect(await activation).toMatchObject({ code: 'voucher_refunded' })
    expect(await off(tenant, batchId)).toEqual([1, 2, 3])
  })

  it('leaves the same number inactive when deactivations of all vouchers race it', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(12)
    await Promise.all([
      ...codes.slice(6).map((code) => tenant.deactivate(code)),
      ...[4, 2, 8].map((inactive) => tenant.align(purchaseId, { inactive, frozen: 9 })),
    ])
    await tenant.align(purchaseId, { inactive: 8, frozen: 9 })
    expect(await off(tenant, batchId)).toHaveLength(8)
    await tenant.align(purchaseId, {})
    expect(await off(tenant, batchId)).toEqual([7, 8, 9, 10, 11, 12])
  })
})
