import { describe, expect, it } from 'vitest'
import { endDueHolds } from '../../src/vouchers/redemption-holds.ts'
import { roundTripsOf } from '../support/round-trips.ts'
import { endNow, expectExact, shopOf, times } from './hold-fixture.ts'
import { useTenants } from './voucher-fixture.ts'

const tenants = useTenants()
const fireTimer = () => endDueHolds(tenants.db)

describe('200 parallel calls for one hot code', () => {
  const MAX_USES = 50
  const hotCode = async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1, { maxUses: MAX_USES })
    const shops = times(3).map(() => shopOf(tenant, code))
    const shop = (n: number) => shops[n % shops.length] ?? shopOf(tenant, code)
    return { tenant, code, shop }
  }
  const fulfilled = <T>(answers: readonly PromiseSettledResult<T>[]) =>
    answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  const codesOf = (answers: readonly PromiseSettledResult<unknown>[]) =>
    new Set(
      answers.flatMap((answer) =>
        answer.status === 'rejected' ? [(answer.reason as { code?: string }).code] : [],
      ),
    )

  it('hold exactly its uses; their confirmations take each once', async () => {
    const { tenant, code, shop } = await hotCode()
    const answers = await Promise.allSettled(times(200).map((n) => shop(n).hold(`order-${n}`)))
    const held = fulfilled(answers)
    expect(held).toHaveLength(MAX_USES)
    expect(codesOf(answers)).toEqual(new Set(['voucher_invalid']))
    expect(await expectExact(tenant, code)).toEqual({ used: 0, held: MAX_USES })
    await Promise.all(
      times(200).map((n) => shop(n).confirm(held[n % MAX_USES]?.redemption.id ?? '')),
    )
    expect(await expectExact(tenant, code)).toEqual({ used: MAX_USES, held: 0 })
  })

  it('share the uses of holds that have ended, with late confirmations', async () => {
    const { tenant, code, shop } = await hotCode()
    const held = await Promise.all(times(MAX_USES).map((n) => shop(n).hold(`order-${n}`)))
    await endNow(tenant)
    const answers = await Promise.allSettled([
      ...held.map(({ redemption }, n) => shop(n).confirm(redemption.id)),
      ...times(75).map((n) => shop(n).hold(`later-${n}`)),
      ...times(75).map((n) => shop(n).redeem(`now-${n}`)),
      fireTimer(),
    ])
    expect(fulfilled<unknown>(answers)).toHaveLength(MAX_USES + 1)
    expect([...codesOf(answers)].filter((each) => each !== 'hold_expired')).toEqual([
      'voucher_invalid',
    ])
    const { used, held: stillHeld } = await expectExact(tenant, code)
    expect(used + stillHeld).toBe(MAX_USES)
  })

  it('stay exact while holds are taken, confirmed, given back, ended and refused by a dispute', async () => {
    const { tenant, code, shop } = await hotCode()
    const order = async (n: number) => {
      const { hold, holdAlone, confirm, redeem, release } = shop(n)
      const { redemption } = await (n % 5 === 0 ? holdAlone : hold)(`order-${n % 120}`)
      if (n % 4 === 0) await endNow(tenant, redemption.id)
      if (n % 3 === 0) await release(redemption.id)
      else if (n % 3 === 1) await confirm(redemption.id)
      else await redeem(`order-${n % 120}`)
    }
    const [answers] = await Promise.all([
      Promise.allSettled(times(200).map(order)),
      (async () => {
        const { purchase_id: purchaseId } = await tenant.run(async (trx) =>
          trx('voucher_batches').first<{ purchase_id: string }>('purchase_id'),
        )
        for (const disputed of [true, false]) await tenant.align(purchaseId, { disputed })
        await fireTimer()
      })(),
    ])
    const known = new Set(['voucher_invalid', 'hold_expired', 'wrong_state'])
    expect([...codesOf(answers)].filter((each) => !known.has(each ?? ''))).toEqual([])
    const { used, held } = await expectExact(tenant, code)
    expect(used + held).toBeLessThanOrEqual(MAX_USES)
    // Every use that is left can be had.
    await endNow(tenant)
    const rest = await Promise.allSettled(times(200).map((n) => shop(n).redeem(`rest-${n}`)))
    expect(fulfilled(rest)).toHaveLength(MAX_USES - used)
    expect(await expectExact(tenant, code)).toEqual({ used: MAX_USES, held: 0 })
  })
})

describe('the round trips of holds', () => {
  it('are one to hold, two to confirm', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const shop = shopOf(tenant, code)
    let id = ''
    const held = await roundTripsOf(async () => {
      id = (await shop.hold('order-1')).redemption.id
    })
    expect(held).toHaveLength(1)
    expect(await roundTripsOf(() => shop.confirm(id))).toEqual([
      expect.stringContaining('update redemptions'),
      expect.stringMatching(/^commit/i),
    ])
  })
})
