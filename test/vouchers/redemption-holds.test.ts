import { describe, expect, it } from 'vitest'
import { down, up } from '../../migrations/0067_held_uses.ts'
import { markBatchPublished, unpublishBatch } from '../../src/vouchers/published-vouchers.ts'
import { deleteOldHolds, endDueHolds } from '../../src/vouchers/redemption-holds.ts'
import { countsOf, endNow, expectExact, shopOf } from './hold-fixture.ts'
import { type Tenant, useTenants, waiting } from './voucher-fixture.ts'

const tenants = useTenants()
const fireTimer = () => endDueHolds(tenants.db)
const invalid = (reason: string) =>
  expect.objectContaining({ code: 'voucher_invalid', extra: { invalid_reason: reason } })

describe('a held use (issue 10, line 16)', () => {
  it('counts against the limit until it ends, and then someone else gets it', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const shop = shopOf(tenant, code)
    const { redemption, created } = await shop.hold('order-1', 900)
    expect(created).toBe(true)
    expect(redemption).toMatchObject({ status: 'held', confirmedAt: null, releasedAt: null })
    expect(redemption.expiresAt?.getTime()).toBe(redemption.createdAt.getTime() + 900_000)
    expect(await shop.voucher()).toMatchObject({
      timesUsed: 0,
      usesHeld: 1,
      invalidReason: 'used_up',
    })
    await expect(shop.hold('order-2')).rejects.toEqual(invalid('used_up'))
    await expect(shop.redeem('order-2')).rejects.toEqual(invalid('used_up'))

    await endNow(tenant)
    // Nothing has marked the end yet.
    expect(await shop.voucher()).toMatchObject({ usesHeld: 0, invalidReason: null })
    const [ended] = await shop.list()
    expect(ended).toMatchObject({
      status: 'expired',
      releasedAt: ended?.expiresAt,
      releasedBy: null,
    })
    expect(await shop.hold('order-2')).toMatchObject({ created: true })
    expect(await shop.list()).toMatchObject([{ status: 'held' }, ended])
  })

  it('is a redemption from its confirmation on, also if that is repeated', async () => {
    const tenant = await tenants.create()
    const { purchaseId, code } = await tenant.sold(1)
    const shop = shopOf(tenant, code)
    const { redemption: held } = await shop.hold('order-1')
    expect(await tenant.counts(purchaseId)).toMatchObject({ redeemed: 0, remaining: 1 })
    const confirmed = await shop.confirm(held.id)
    expect(confirmed).toEqual({ ...held, status: 'redeemed', confirmedAt: expect.any(Date) })
    expect(await shop.confirm(held.id)).toEqual(confirmed)
    expect(await tenant.counts(purchaseId)).toMatchObject({ redeemed: 1, remaining: 0 })
    await endNow(tenant)
    await fireTimer()
    expect(await shop.voucher()).toMatchObject({ timesUsed: 1, usesHeld: 0 })
    for (const again of [await shop.hold('order-1'), await shop.redeem('order-1')]) {
      expect(again).toEqual({ redemption: confirmed, created: false })
    }
    await shop.release(held.id)
    expect(await shop.voucher()).toMatchObject({ timesUsed: 0, invalidReason: null })
    await expect(shop.confirm(held.id)).rejects.toMatchObject({ code: 'wrong_state' })
  })

  it('is given back once, and cannot be confirmed then', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const shop = shopOf(tenant, code)
    const { redemption } = await shop.hold('order-1')
    const released = await shop.release(redemption.id)
    expect(released).toMatchObject({ status: 'released', releasedBy: 'key_shop' })
    expect(await shop.release(redemption.id)).toEqual(released)
    expect(await shop.voucher()).toMatchObject({ usesHeld: 0, invalidReason: null })
    await expect(shop.confirm(redemption.id)).rejects.toMatchObject({ code: 'wrong_state' })
    await expectExact(tenant, code)
  })

  it('stays the same for the same reference, and is not prolonged', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1, { maxUses: 3 })
    const shop = shopOf(tenant, code)
    const { redemption } = await shop.hold('order-1', 60)
    for (const again of [await shop.hold('order-1', 3_600), await shop.holdAlone('order-1', 1)]) {
      expect(again).toEqual({ redemption, created: false })
    }
    expect(await expectExact(tenant, code)).toEqual({ used: 0, held: 1 })
  })

  it('is a new one when the same order comes again after the end', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const shop = shopOf(tenant, code)
    const first = await shop.hold('order-1')
    await endNow(tenant)
    const second = await shop.hold('order-1')
    expect(second).toMatchObject({ created: true, redemption: { status: 'held' } })
    expect(second.redemption.id).not.toBe(first.redemption.id)
    await expect(shop.confirm(first.redemption.id)).rejects.toMatchObject({ code: 'hold_expired' })
    expect(await expectExact(tenant, code)).toEqual({ used: 0, held: 1 })
  })

  it('is confirmed when its order redeems the voucher', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const shop = shopOf(tenant, code)
    const { redemption } = await shop.hold('order-1')
    const redeemed = await shop.redeem('order-1')
    expect(redeemed).toMatchObject({ created: true, redemption: { status: 'redeemed' } })
    expect(redeemed.redemption.id).toBe(redemption.id)
    expect(await shop.redeem('order-1')).toEqual({ ...redeemed, created: false })
    expect(await expectExact(tenant, code)).toEqual({ used: 1, held: 0 })
  })

  it('answers 404 in another conference', async () => {
    const [tenant, other] = await Promise.all([tenants.create(), tenants.create()])
    const { code } = await other.sold(1)
    const { redemption } = await shopOf(other, code).hold('order-1')
    await expect(shopOf(tenant, code).confirm(redemption.id)).rejects.toMatchObject({
      code: 'not_found',
    })
    expect(await expectExact(other, code)).toEqual({ used: 0, held: 1 })
  })
})

describe('a hold whose voucher changes before the confirmation', () => {
  const changes: [string, (tenant: Tenant, purchaseId: string, code: string) => unknown][] = [
    ['deactivated', (tenant, _purchase, code) => tenant.deactivate(code)],
    ['deactivated', (tenant, purchaseId) => tenant.align(purchaseId, { inactive: 1 })],
    ['frozen', (tenant, purchaseId) => tenant.align(purchaseId, { frozen: 1 })],
    ['frozen', (tenant, purchaseId) => tenant.align(purchaseId, { disputed: true })],
  ]
  it.each(changes)('is refused while the voucher is %s', async (reason, change) => {
    const tenant = await tenants.create()
    const { code, purchaseId } = await tenant.sold(1)
    const shop = shopOf(tenant, code)
    const { redemption } = await shop.hold('order-1')
    await change(tenant, purchaseId, code)
    await expect(shop.confirm(redemption.id)).rejects.toEqual(invalid(reason))
    await expect(shop.redeem('order-1')).rejects.toEqual(invalid(reason))
    await endNow(tenant)
    await expect(shop.confirm(redemption.id)).rejects.toEqual(invalid(reason))
    await tenant.align(purchaseId, {})
    await tenant.activate(code)
    expect(await shop.confirm(redemption.id)).toMatchObject({ status: 'redeemed' })
    expect(await expectExact(tenant, code)).toEqual({ used: 1, held: 0 })
  })

  it('is the last that a refund of a part takes', async () => {
    const tenant = await tenants.create()
    const { batchId, codes, purchaseId } = await tenant.sold(3)
    const shop = shopOf(tenant, codes[2] ?? '')
    const { redemption } = await shop.hold('order-1')
    await tenant.align(purchaseId, { inactive: 1, frozen: 2 })
    const taken = await tenant.ordinals(batchId, ({ state }) => state !== 'active')
    expect(taken).toEqual([1, 2])
    expect(await shop.confirm(redemption.id)).toMatchObject({ status: 'redeemed' })
  })

  it('is refused while the batch is published, and waits for the publication', async () => {
    const tenant = await tenants.create()
    const { batchId, code } = await tenant.sold(1)
    const ref = { conferenceId: tenant.conferenceId, batchId }
    const shop = shopOf(tenant, code)
    const { redemption } = await shop.hold('order-1')
    let confirmed: Promise<unknown> | undefined
    await tenant.run(async (trx) => {
      // The held use can be used at Stripe.
      expect(await markBatchPublished(trx, ref)).toMatchObject([{ remaining: 1 }])
      confirmed = shop.confirm(redemption.id).catch((error: unknown) => error)
      await expect.poll(() => waiting(tenant)).toBe(1)
    })
    expect(await confirmed).toMatchObject({ code: 'published' })
    await tenant.run((trx) => unpublishBatch(trx, ref, 'pub_none'))
    expect(await shop.confirm(redemption.id)).toMatchObject({ status: 'redeemed' })
  })

  it('is confirmed after valid_until, because the dates were checked when it began', async () => {
    const tenant = await tenants.create()
    const { batchId, code } = await tenant.sold(2)
    const shop = shopOf(tenant, code)
    const { redemption } = await shop.hold('order-1')
    await tenant.run(async (trx) =>
      trx('voucher_batches')
        .where({ id: batchId })
        .update({ valid_until: trx.raw(`now() - interval '1 second'`) }),
    )
    expect(await shop.confirm(redemption.id)).toMatchObject({ status: 'redeemed' })
  })
})

describe('a hold that has ended', () => {
  it.each([false, true])(
    'is confirmed if a use is still free, whether the timer has fired (%j) or not',
    async (fired) => {
      const tenant = await tenants.create()
      const { code } = await tenant.sold(1)
      const shop = shopOf(tenant, code)
      const { redemption } = await shop.hold('order-1')
      await endNow(tenant)
      if (fired) await fireTimer()
      expect(await shop.confirm(redemption.id)).toMatchObject({
        id: redemption.id,
        status: 'redeemed',
        releasedAt: null,
      })
      expect(await expectExact(tenant, code)).toEqual({ used: 1, held: 0 })
    },
  )

  it('is refused with hold_expired if its use was taken, also by a hold', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const shop = shopOf(tenant, code)
    const { redemption } = await shop.hold('order-1')
    await endNow(tenant)
    const second = await shop.hold('order-2')
    const refused = expect.objectContaining({
      code: 'hold_expired',
      extra: { expires_at: expect.stringMatching(/Z$/) },
    })
    await expect(shop.confirm(redemption.id)).rejects.toEqual(refused)
    await shop.confirm(second.redemption.id)
    await expect(shop.confirm(redemption.id)).rejects.toEqual(refused)
    await shop.release(second.redemption.id)
    expect(await shop.confirm(redemption.id)).toMatchObject({ status: 'redeemed' })
  })

  it('is shown as expired after a release, and gives back no second use', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const shop = shopOf(tenant, code)
    const { redemption } = await shop.hold('order-1')
    await endNow(tenant)
    const released = await shop.release(redemption.id)
    expect(released).toMatchObject({ status: 'expired', releasedBy: null })
    expect(released.releasedAt).toEqual(released.expiresAt)
    await shop.hold('order-2')
    expect(await shop.release(redemption.id)).toEqual(released)
    expect(await expectExact(tenant, code)).toEqual({ used: 0, held: 1 })
  })

  it('is marked by the timer, which skips a locked voucher, and deleted after 30 days', async () => {
    const tenant = await tenants.create()
    const { codes } = await tenant.sold(2, { maxUses: 3 })
    const [locked = '', free = ''] = codes
    for (const code of codes) {
      const shop = shopOf(tenant, code)
      const { redemption } = await shop.hold('order-1')
      await shop.hold('order-2')
      await endNow(tenant, redemption.id)
    }
    await tenant.run(async (trx) => {
      await trx('vouchers').where({ code: locked }).forUpdate().select('id')
      await fireTimer()
    })
    expect(await countsOf(tenant, free)).toMatchObject({ held: 1, held_rows: 1 })
    expect(await countsOf(tenant, locked)).toMatchObject({ held: 2, held_rows: 2 })
    await fireTimer()
    expect(await countsOf(tenant, locked)).toMatchObject({ held: 1, held_rows: 1 })

    const { confirm, list, release, hold } = shopOf(tenant, free)
    await confirm((await hold('order-2')).redemption.id)
    const kept = await hold('order-3')
    await release(kept.redemption.id)
    expect(await deleteOldHolds(tenant.db)).toBe(0)
    await tenant.run(async (trx) =>
      trx('redemptions')
        .whereNot({ id: kept.redemption.id })
        .whereRaw('not is_held')
        .update({
          expires_at: trx.raw(`now() - interval '31 days'`),
          released_at: trx.raw(
            `case when confirmed_at is null then now() - interval '31 days' end`,
          ),
        }),
    )
    expect(await deleteOldHolds(tenant.db)).toBe(2)
    const left = await list()
    expect(left.map(({ status }) => status)).toEqual(['released', 'redeemed'])
  })
})

it('holds disappear when the schema is rolled back, redemptions stay', async () => {
  const tenant = await tenants.create()
  const { code } = await tenant.sold(1, { maxUses: 3 })
  const shop = shopOf(tenant, code)
  await shop.redeem('order-1')
  const confirmed = await shop.hold('order-2')
  await shop.confirm(confirmed.redemption.id)
  const held = await shop.hold('order-3')
  await tenants.db.transaction(async (trx) => {
    await down(trx)
    await up(trx)
  })
  expect(await expectExact(tenant, code)).toEqual({ used: 2, held: 0 })
  expect(await shop.voucher()).toMatchObject({ invalidReason: null })
  await expect(shop.confirm(held.redemption.id)).rejects.toMatchObject({ code: 'not_found' })
})

it('the previous release can neither take a held use nor release a hold as a redemption', async () => {
  const tenant = await tenants.create()
  const { batchId, code } = await tenant.sold(1)
  const { redemption } = await shopOf(tenant, code).hold('order-1')
  await expect(tenant.use(batchId, [1])).rejects.toMatchObject({
    constraint: 'vouchers_uses_with_held',
  })
  const released = tenant.run(async (trx) =>
    trx('redemptions')
      .where({ id: redemption.id })
      .update({ released_at: trx.fn.now(), released_by: 'key_shop' }),
  )
  await expect(released).rejects.toMatchObject({ constraint: 'redemptions_held_whole' })
})
