import { describe, expect, it } from 'vitest'
import { markBatchPublished } from '../../src/vouchers/published-vouchers.ts'
import { redeemVoucher, releaseRedemption } from '../../src/vouchers/redeem-voucher.ts'
import { listRedemptions } from '../../src/vouchers/redemption.ts'
import { getVoucher } from '../../src/vouchers/voucher-store.ts'
import { type Tenant, useTenants, waiting } from './voucher-fixture.ts'

const tenants = useTenants()
const actor = { kind: 'staff' as const, id: 'key_shop' }

const redeem = (tenant: Tenant, code: string, reference: string) =>
  tenant.run((trx) => redeemVoucher(trx, tenant.conferenceId, { code, reference, actor }))
const release = (tenant: Tenant, id: string) =>
  tenant.run((trx) => releaseRedemption(trx, tenant.conferenceId, id, actor))
const voucherOf = (tenant: Tenant, code: string) =>
  tenant.run((trx) => getVoucher(trx, tenant.conferenceId, code))
const times = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

function invalid(reason: string) {
  return expect.objectContaining({ code: 'voucher_invalid', extra: { invalid_reason: reason } })
}

describe('redeeming a voucher', () => {
  it('takes one use; case, spaces and hyphens of the code do not matter', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, code } = await tenant.sold(1, { maxUses: 2 })
    const typed = ` ${code.toLowerCase().replaceAll('-', ' ')} `
    const { redemption, created } = await redeem(tenant, typed, 'order-1')
    expect(created).toBe(true)
    expect(redemption).toEqual({
      id: expect.stringMatching(/^red_/),
      code,
      batchId,
      purchaseId,
      reference: 'order-1',
      status: 'redeemed',
      redeemedBy: 'key_shop',
      createdAt: expect.any(Date),
      expiresAt: null,
      confirmedAt: null,
      releasedAt: null,
      releasedBy: null,
    })
    expect(await voucherOf(tenant, code)).toMatchObject({ timesUsed: 1, invalidReason: null })
  })

  it('returns the same redemption for the same reference, also when the voucher is used up', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const first = await redeem(tenant, code, 'order-1')
    const again = await redeem(tenant, code, 'order-1')
    expect(again).toEqual({ redemption: first.redemption, created: false })
    expect(await voucherOf(tenant, code)).toMatchObject({ timesUsed: 1 })
    await expect(redeem(tenant, code, 'order-2')).rejects.toEqual(invalid('used_up'))
  })

  it('lets one order use two codes', async () => {
    const tenant = await tenants.create()
    const { codes } = await tenant.sold(2)
    for (const code of codes) {
      expect(await redeem(tenant, code, 'order-1')).toMatchObject({ created: true })
    }
  })

  it('does not find a voucher of another conference, or an unknown code', async () => {
    const [tenant, other] = await Promise.all([tenants.create(), tenants.create()])
    const { code } = await other.sold(1)
    await expect(redeem(tenant, code, 'order-1')).rejects.toMatchObject({ code: 'not_found' })
    await expect(redeem(tenant, 'NEVER-MADE', 'x')).rejects.toMatchObject({ code: 'not_found' })
  })
})

describe('a voucher that cannot be redeemed', () => {
  const past = new Date(Date.now() - 60_000)
  const future = new Date(Date.now() + 3_600_000)

  it('is refused before valid_from and after valid_until', async () => {
    const tenant = await tenants.create()
    const early = await tenant.sold(1, { validFrom: future })
    await expect(redeem(tenant, early.code, 'x')).rejects.toEqual(invalid('not_yet_valid'))
    const late = await tenant.sold(1, { validUntil: past })
    await expect(redeem(tenant, late.code, 'x')).rejects.toEqual(invalid('expired'))
    const now = await tenant.sold(1, { validFrom: past, validUntil: future })
    expect(await redeem(tenant, now.code, 'x')).toMatchObject({ created: true })
  })

  it('names the first reason of several: deactivated, frozen, used up, too early, expired', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId, code } = await tenant.sold(1, { validFrom: future, maxUses: 2 })
    await tenant.use(batchId, [1])
    await tenant.align(purchaseId, { disputed: true })
    await tenant.use(batchId, [1], 2)
    await tenant.deactivate(code)
    await expect(redeem(tenant, code, 'x')).rejects.toEqual(invalid('deactivated'))
    await tenant.run(async (trx) =>
      trx('vouchers').update({
        deactivated_by: null,
        deactivated_at: null,
        held_by_dispute: true,
      }),
    )
    await expect(redeem(tenant, code, 'x')).rejects.toEqual(invalid('frozen'))
    await tenant.align(purchaseId, {})
    await expect(redeem(tenant, code, 'x')).rejects.toEqual(invalid('used_up'))
    await tenant.use(batchId, [1], 0)
    await expect(redeem(tenant, code, 'x')).rejects.toEqual(invalid('not_yet_valid'))
  })

  it('has no redemption after the refusal', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1, { validUntil: past })
    await expect(redeem(tenant, code, 'order-1')).rejects.toEqual(invalid('expired'))
    const page = await tenant.run((trx) =>
      listRedemptions(trx, tenant.conferenceId, {}, { limit: 10 }),
    )
    expect(page.data).toEqual([])
    expect(await voucherOf(tenant, code)).toMatchObject({ timesUsed: 0 })
  })
})

describe('parallel redemptions', () => {
  it('take exactly 10 uses when 50 redeem a voucher with 10 uses', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1, { maxUses: 10 })
    const answers = await Promise.allSettled(
      times(50).map((n) => redeem(tenant, code, `order-${n}`)),
    )
    const refused = answers.flatMap((answer) =>
      answer.status === 'rejected' ? [answer.reason] : [],
    )
    expect(refused).toHaveLength(40)
    for (const reason of refused) expect(reason).toEqual(invalid('used_up'))
    expect(await voucherOf(tenant, code)).toMatchObject({ timesUsed: 10 })
    expect(await countRedemptions(tenant)).toBe(10)
  })

  it('take one use when the same order redeems 30 times', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1, { maxUses: 100 })
    const answers = await Promise.all(times(30).map(() => redeem(tenant, code, 'order-1')))
    expect(new Set(answers.map(({ redemption }) => redemption.id)).size).toBe(1)
    expect(answers.filter(({ created }) => created)).toHaveLength(1)
    expect(await voucherOf(tenant, code)).toMatchObject({ timesUsed: 1 })
  })

  it('take a use that is released while they wait for it', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const { redemption } = await redeem(tenant, code, 'order-1')
    let next: Promise<unknown> | undefined
    await tenant.run(async (trx) => {
      await releaseRedemption(trx, tenant.conferenceId, redemption.id, actor)
      next = redeem(tenant, code, 'order-2')
      await expect.poll(() => waiting(tenant)).toBe(1)
    })
    expect(await next).toMatchObject({ created: true })
    expect(await voucherOf(tenant, code)).toMatchObject({ timesUsed: 1 })
  })

  it('keep uses and redemptions equal while others are released', async () => {
    const tenant = await tenants.create()
    const { code, batchId } = await tenant.sold(1, { maxUses: 1_000 })
    await Promise.all(
      times(40).map(async (n) => {
        const reference = `order-${n % 8}`
        const { redemption } = await redeem(tenant, code, reference)
        if (n % 2 === 0) await release(tenant, redemption.id)
        await redeem(tenant, code, reference)
      }),
    )
    const [stored] = await tenant.stored(batchId)
    expect(stored?.times_used).toBe(await countRedemptions(tenant))
    expect(stored?.times_used).toBe(8)
  })
})

async function countRedemptions(tenant: Tenant): Promise<number> {
  return tenant.run(async (trx) => {
    const [row] = await trx('redemptions').whereNull('released_at').count<{ count: number }[]>()
    return row?.count ?? 0
  })
}

describe('a batch that is published meanwhile', () => {
  it('waits for a redemption and subtracts its use', async () => {
    const tenant = await tenants.create()
    const { batchId, code } = await tenant.sold(2, { maxUses: 3 })
    const ref = { conferenceId: tenant.conferenceId, batchId }
    let published: Promise<{ remaining: number }[]> | undefined
    await tenant.run(async (trx) => {
      await redeemVoucher(trx, tenant.conferenceId, { code, reference: 'order-1', actor })
      published = tenant.run((other) => markBatchPublished(other, ref))
      await expect.poll(() => waiting(tenant)).toBe(1)
    })
    expect((await published)?.map(({ remaining }) => remaining)).toEqual([3, 2])
  })

  it('refuses a redemption that waited for the publication', async () => {
    const tenant = await tenants.create()
    const { batchId, code } = await tenant.sold(1)
    let redemption: Promise<unknown> | undefined
    await tenant.run(async (trx) => {
      await markBatchPublished(trx, { conferenceId: tenant.conferenceId, batchId })
      redemption = redeem(tenant, code, 'order-1').catch((error: unknown) => error)
      await expect.poll(() => waiting(tenant)).toBe(1)
    })
    expect(await redemption).toMatchObject({ code: 'published' })
    expect(await voucherOf(tenant, code)).toMatchObject({ timesUsed: 0 })
  })
})

describe('releasing a redemption', () => {
  it('is idempotent', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1, { maxUses: 3 })
    await redeem(tenant, code, 'order-1')
    const { redemption } = await redeem(tenant, code, 'order-2')
    const released = await Promise.all(times(10).map(() => release(tenant, redemption.id)))
    expect(released[0]).toMatchObject({ releasedBy: 'key_shop', releasedAt: expect.any(Date) })
    for (const answer of released) expect(answer).toEqual(released[0])
    expect(await voucherOf(tenant, code)).toMatchObject({ timesUsed: 1 })
  })

  it('lets the same order redeem again, as a new redemption', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const first = await redeem(tenant, code, 'order-1')
    await release(tenant, first.redemption.id)
    const second = await redeem(tenant, code, 'order-1')
    expect(second.created).toBe(true)
    expect(second.redemption.id).not.toBe(first.redemption.id)
  })

  it('is possible for a deactivated voucher, which stays inactive', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const { redemption } = await redeem(tenant, code, 'order-1')
    await tenant.deactivate(code)
    await release(tenant, redemption.id)
    const voucher = await voucherOf(tenant, code)
    expect(voucher).toMatchObject({ timesUsed: 0, state: 'deactivated' })
  })

  it('does not find a redemption of another conference', async () => {
    const [tenant, other] = await Promise.all([tenants.create(), tenants.create()])
    const { code } = await other.sold(1)
    const { redemption } = await redeem(other, code, 'order-1')
    await expect(release(tenant, redemption.id)).rejects.toMatchObject({ code: 'not_found' })
    expect(await voucherOf(other, code)).toMatchObject({ timesUsed: 1 })
  })
})

describe('the list of redemptions', () => {
  it('can be filtered by code, purchase and reference, and is paged, newest first', async () => {
    const tenant = await tenants.create()
    const one = await tenant.sold(2, { maxUses: 10 })
    const two = await tenant.sold(1, { maxUses: 10 })
    const [first = '', second = ''] = one.codes
    for (const n of times(5)) await redeem(tenant, first, `order-${n}`)
    await redeem(tenant, second, 'order-1')
    await redeem(tenant, two.code, 'order-1')

    const list = (filter: Parameters<typeof listRedemptions>[2], cursor?: string) =>
      tenant.run((trx) => listRedemptions(trx, tenant.conferenceId, filter, { limit: 2, cursor }))
    const seen: string[] = []
    let page = await list({ voucher: first.toLowerCase() })
    seen.push(...page.data.map(({ reference }) => reference))
    while (page.next_cursor !== null) {
      page = await list({ voucher: first.toLowerCase() }, page.next_cursor)
      seen.push(...page.data.map(({ reference }) => reference))
    }
    expect(seen).toEqual(['order-5', 'order-4', 'order-3', 'order-2', 'order-1'])

    const byReference = await list({ reference: 'order-1' })
    expect(byReference.data.map(({ code }) => code)).toEqual([two.code, second])
    const byPurchase = await list({ purchaseId: two.purchaseId })
    expect(byPurchase.data.map(({ code }) => code)).toEqual([two.code])
  })
})
