import { describe, expect, it } from 'vitest'
import {
  activateVoucher,
  deactivateAll,
  deactivateForRefund,
  deactivateVoucher,
  freezeForDispute,
  type RequiredInactiveCount,
} from '../../src/vouchers/freeze-and-deactivate-vouchers.ts'
import { type Tenant, useTenants } from './voucher-fixture.ts'

const tenants = useTenants()

const none: RequiredInactiveCount = async () => 0
const required =
  (count: number): RequiredInactiveCount =>
  async (trx, { conferenceId, purchaseId }) => {
    // Locks the purchase like purchases/ does: a refund and an activation wait for each other.
    await trx('bulk_purchases').where({ conference_id: conferenceId, id: purchaseId }).forUpdate()
    return count
  }

const deactivate = (tenant: Tenant, code: string) =>
  tenant.run((trx) => deactivateVoucher(trx, tenant.conferenceId, code))
const activate = (
  tenant: Tenant,
  code: string,
  requiredInactiveCount: RequiredInactiveCount = none,
) => tenant.run((trx) => activateVoucher(trx, tenant.conferenceId, code, requiredInactiveCount))
const off = (tenant: Tenant, batchId: string) =>
  tenant.ordinals(batchId, (voucher) => voucher.deactivated_by !== null)

describe('deactivating a voucher', () => {
  it('makes it invalid and is idempotent', async () => {
    const tenant = await tenants.create()
    const { batchId, code } = await tenant.sold(2)
    const voucher = await deactivate(tenant, code.toLowerCase())
    expect(voucher).toMatchObject({ state: 'deactivated', invalidReason: 'deactivated' })
    const [before] = await tenant.stored(batchId)
    await deactivate(tenant, code)
    expect((await tenant.stored(batchId))[0]).toEqual(before)
    expect(before?.deactivated_by).toBe('staff')
  })

  it('leaves a voucher that a refund deactivated as it is', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, code } = await tenant.sold(1)
    await tenant.run((trx) => deactivateAll(trx, tenant.conferenceId, purchaseId))
    await deactivate(tenant, code)
    expect((await tenant.stored(batchId))[0]?.deactivated_by).toBe('refund')
  })

  it('fails with not_found for a voucher of another conference', async () => {
    const [tenant, other] = await Promise.all([tenants.create(), tenants.create()])
    const { code, batchId } = await other.sold(1)
    await expect(deactivate(tenant, code)).rejects.toMatchObject({ code: 'not_found' })
    await expect(activate(tenant, code)).rejects.toMatchObject({ code: 'not_found' })
    expect(await off(other, batchId)).toEqual([])
  })
})

describe('activating a voucher', () => {
  it('works for a paid voucher and is idempotent', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(2)
    await deactivate(tenant, code)
    expect(await activate(tenant, code)).toMatchObject({ state: 'active', invalidReason: null })
    expect(await activate(tenant, code)).toMatchObject({ state: 'active' })
  })

  it('is refused if refunds require the voucher to stay inactive', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(5)
    await tenant.run((trx) => deactivateForRefund(trx, tenant.conferenceId, purchaseId, 2))
    const refused = activate(tenant, codes[4] ?? '', required(2))
    await expect(refused).rejects.toMatchObject({
      code: 'voucher_refunded',
      extra: { required_off: 2, off: 2 },
    })
    expect(await off(tenant, batchId)).toEqual([4, 5])
  })

  it('lets staff choose which vouchers are inactive: deactivate one, activate another', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, codes } = await tenant.sold(5)
    await tenant.run((trx) => deactivateForRefund(trx, tenant.conferenceId, purchaseId, 2))
    await deactivate(tenant, codes[0] ?? '')
    await activate(tenant, codes[4] ?? '', required(2))
    expect(await off(tenant, batchId)).toEqual([1, 4])
  })

  it('is refused for every voucher of a refunded purchase', async () => {
    const tenant = await tenants.create()
    const { purchaseId, code } = await tenant.sold(3)
    await tenant.run((trx) => deactivateAll(trx, tenant.conferenceId, purchaseId))
    await expect(activate(tenant, code, required(3))).rejects.toMatchObject({
      code: 'voucher_refunded',
    })
  })

  it('does not look for a purchase if the voucher has none', async () => {
    const tenant = await tenants.create()
    const { batchId } = await tenant.issue({ count: 1 })
    const code = (await tenant.stored(batchId))[0]?.code ?? ''
    await deactivate(tenant, code)
    const asked: RequiredInactiveCount = () => Promise.reject(new Error('asked'))
    expect(await activate(tenant, code, asked)).toMatchObject({ state: 'active' })
  })

  it('names the state of a frozen voucher and the allowed actions', async () => {
    const tenant = await tenants.create()
    const { purchaseId, code } = await tenant.sold(1)
    await tenant.run((trx) => freezeForDispute(trx, tenant.conferenceId, purchaseId, true))
    await expect(activate(tenant, code)).rejects.toMatchObject({
      code: 'wrong_state',
      extra: { state: 'frozen', allowed_actions: ['deactivate'] },
    })
  })

  it('leaves it frozen if it was deactivated during a dispute that is still open', async () => {
    const tenant = await tenants.create()
    const { purchaseId, code } = await tenant.sold(1)
    await tenant.run((trx) => freezeForDispute(trx, tenant.conferenceId, purchaseId, true))
    await deactivate(tenant, code)
    expect(await activate(tenant, code)).toMatchObject({ state: 'frozen' })
  })
})

it('keeps the required number inactive when all vouchers are activated in parallel', async () => {
  const tenant = await tenants.create()
  const { purchaseId, batchId, codes } = await tenant.sold(8)
  for (const code of codes.slice(0, 4)) await deactivate(tenant, code)
  const answers = await Promise.allSettled([
    ...codes.slice(0, 4).map((code) => activate(tenant, code, required(2))),
    tenant.run(async (trx) => {
      await trx('bulk_purchases').where({ id: purchaseId }).forUpdate()
      return deactivateForRefund(trx, tenant.conferenceId, purchaseId, 2)
    }),
  ])
  expect(answers.filter(({ status }) => status === 'rejected')).toHaveLength(2)
  expect(await off(tenant, batchId)).toHaveLength(2)
})
