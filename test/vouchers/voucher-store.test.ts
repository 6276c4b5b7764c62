import { describe, expect, it } from 'vitest'
import { newId } from '../../src/shared/ids.ts'
import {
  getVoucher,
  listBatchVouchers,
  listVouchers,
  type VoucherFilter,
} from '../../src/vouchers/voucher-store.ts'
import { type Tenant, useTenants } from './voucher-fixture.ts'

const tenants = useTenants()

async function listAll(tenant: Tenant, filter: Partial<VoucherFilter>, limit = 3) {
  const codes: string[] = []
  let cursor: string | undefined
  for (;;) {
    const page = await tenant.run((trx) =>
      listVouchers(trx, tenant.conferenceId, { sponsorId: null, ...filter }, { limit, cursor }),
    )
    codes.push(...page.data.map(({ code }) => code))
    if (page.next_cursor === null) return codes
    cursor = page.next_cursor
  }
}

describe('one voucher', () => {
  it('has the terms of its batch', async () => {
    const tenant = await tenants.create()
    const validUntil = new Date('2099-01-01T00:00:00Z')
    const terms = { voucherType: 'percentage' as const, discountValue: 12.5, validUntil }
    const { code, batchId, purchaseId } = await tenant.sold(1, { ...terms, maxUses: 3 })
    const voucher = await tenant.run((trx) => getVoucher(trx, tenant.conferenceId, code))
    expect(voucher).toEqual({
      id: expect.any(Number),
      ordinal: 1,
      code,
      batchId,
      purchaseId,
      state: 'active',
      invalidReason: null,
      timesUsed: 0,
      usesHeld: 0,
      maxUses: 3,
      validFrom: null,
      validUntil,
      voucherType: 'percentage',
      discountValue: 12.5,
      unlocksHiddenTickets: false,
      ticketTypeId: null,
      addOnId: null,
      assignedTo: null,
      createdAt: expect.any(Date),
    })
  })
})

describe('the list of vouchers', () => {
  it('shows every voucher once, newest first, while more are being issued', async () => {
    const tenant = await tenants.create()
    const first = await tenant.sold(4)
    const second = await tenant.sold(4)
    const page = await tenant.run((trx) =>
      listVouchers(trx, tenant.conferenceId, { sponsorId: null }, { limit: 3 }),
    )
    await tenant.sold(2)
    const rest = await tenant.run((trx) =>
      listVouchers(
        trx,
        tenant.conferenceId,
        { sponsorId: null },
        { limit: 50, cursor: page.next_cursor ?? '' },
      ),
    )
    const seen = [...page.data, ...rest.data].map(({ code }) => code)
    expect(seen).toEqual([...second.codes.toReversed(), ...first.codes.toReversed()])
    expect(rest).toMatchObject({ has_more: false, next_cursor: null })
  })

  it('can be filtered by code, state, purchase and batch', async () => {
    const tenant = await tenants.create()
    const one = await tenant.sold(5)
    const two = await tenant.sold(2)
    await tenant.deactivate(one.code)
    expect(await listAll(tenant, { purchaseId: one.purchaseId })).toEqual(one.codes.toReversed())
    expect(await listAll(tenant, { batchId: two.batchId })).toEqual(two.codes.toReversed())
    expect(await listAll(tenant, { code: two.code.toLowerCase() })).toEqual([two.code])
    expect(await listAll(tenant, { state: 'deactivated' })).toEqual([one.code])
    expect(await listAll(tenant, { state: 'active', batchId: one.batchId })).toHaveLength(4)
    expect(await listAll(tenant, { code: 'NEVER-MADE' })).toEqual([])
  })

  it('shows a sponsor only vouchers of its own batches', async () => {
    const tenant = await tenants.create()
    const rival = await tenant.addSponsor(newId('sponsor'), 'rival')
    const own = await tenant.sold(2)
    const { batchId } = await tenant.issue({ count: 3, sponsorId: rival })
    await tenant.issue({ count: 3, sponsorId: null })
    expect(await listAll(tenant, { sponsorId: rival })).toHaveLength(3)
    expect(await listAll(tenant, { sponsorId: rival, batchId })).toHaveLength(3)
    expect(await listAll(tenant, { sponsorId: tenant.sponsorId, batchId })).toEqual([])
    expect(await listAll(tenant, { sponsorId: rival, code: own.code })).toEqual([])
  })

  it('is in the order of issue for one whole batch', async () => {
    const tenant = await tenants.create()
    const { batchId, codes } = await tenant.sold(5)
    const read = (cursor?: string) =>
      tenant.run((trx) =>
        listBatchVouchers(trx, tenant.conferenceId, batchId, { limit: 3, cursor }),
      )
    const first = await read()
    const second = await read(first.next_cursor ?? '')
    expect([...first.data, ...second.data].map(({ code }) => code)).toEqual(codes)
  })

  it.each(['x', 'bm9wZQ', Buffer.from('-1').toString('base64url')])(
    'refuses the cursor %s, which it never gave out',
    async (cursor) => {
      const tenant = await tenants.create()
      await expect(
        tenant.run((trx) =>
          listVouchers(trx, tenant.conferenceId, { sponsorId: null }, { limit: 3, cursor }),
        ),
      ).rejects.toMatchObject({
        code: 'validation_failed',
        errors: [expect.objectContaining({ pointer: 'query/cursor' })],
      })
    },
  )
})

describe('another conference', () => {
  it('sees no batch, voucher or redemption, even by a query without a condition', async () => {
    const [tenant, other] = await Promise.all([tenants.create(), tenants.create()])
    await tenant.sold(3)
    for (const table of ['voucher_batches', 'vouchers', 'redemptions']) {
      expect(await other.run(async (trx) => trx(table).select())).toEqual([])
    }
  })

  it('cannot change or count other rows, even by their id', async () => {
    const [tenant, other] = await Promise.all([tenants.create(), tenants.create()])
    const { purchaseId, batchId } = await tenant.sold(3)
    const changed = await other.run(async (trx) => trx('vouchers').update({ times_used: 1 }))
    expect(changed).toBe(0)
    expect(await other.counts(purchaseId)).toBeUndefined()
    expect((await tenant.stored(batchId)).map((v) => v.times_used)).toEqual([0, 0, 0])
  })

  it('cannot get rows from here', async () => {
    const [tenant, other] = await Promise.all([tenants.create(), tenants.create()])
    const { batchId } = await tenant.sold(1)
    const intrusion = other.run(async (trx) =>
      trx('vouchers').insert({
        conference_id: tenant.conferenceId,
        batch_id: batchId,
        ordinal: 2,
        code: 'INTRUDER',
        code_key: 'INTRUDER',
        max_uses: 1,
      }),
    )
    await expect(intrusion).rejects.toThrow(/row-level security/)
  })
})

describe('D24: the constraints of the database', () => {
  it.each<[string, Record<string, unknown>]>([
    ['voucher_batches_discount_range', { voucher_type: 'percentage', discount_value: 150 }],
    ['voucher_batches_discount_range', { discount_value: -5 }],
    ['voucher_batches_max_uses_range', { max_uses: 0 }],
    ['voucher_batches_voucher_type_known', { voucher_type: 'nonsense' }],
    ['voucher_batches_validity_order', { valid_from: '2027-01-02', valid_until: '2027-01-01' }],
    ['voucher_batches_count_range', { count: 0 }],
    ['voucher_batches_prefix_shape', { prefix: 'A'.repeat(69) }],
  ])('%s', async (constraint, changes) => {
    const tenant = await tenants.create()
    const { batchId } = await tenant.sold(1)
    const change = tenant.run(async (trx) =>
      trx('voucher_batches').where({ id: batchId }).update(changes),
    )
    await expect(change).rejects.toMatchObject({ constraint })
  })

  it.each<[string, Record<string, unknown>]>([
    ['vouchers_code_key_normal', { code_key: 'other' }],
    ['vouchers_uses_range', { times_used: 2 }],
    ['vouchers_uses_range', { times_used: -1 }],
  ])('%s', async (constraint, changes) => {
    const tenant = await tenants.create()
    await tenant.sold(1)
    const change = tenant.run(async (trx) => trx('vouchers').update(changes))
    await expect(change).rejects.toMatchObject({ constraint })
  })
})

describe('counts of a purchase', () => {
  it('distinguish issued, active, frozen, deactivated, redeemed and remaining', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(10, { maxUses: 2 })
    await tenant.use(batchId, [1], 2)
    await tenant.use(batchId, [2])
    await tenant.align(purchaseId, { inactive: 3, frozen: 5 })
    const unpaid = await tenant.purchase(7)
    expect(await tenant.counts(purchaseId)).toEqual({
      issued: 10,
      active: 5,
      frozen: 2,
      deactivated: 3,
      redeemed: 2,
      remaining: 4,
    })
    expect(await tenant.counts(unpaid)).toBeUndefined()
  })
})
