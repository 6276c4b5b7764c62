import { expect, it } from 'vitest'
import { NO_TARGET, type VoucherTarget } from '../../src/vouchers/freeze-vouchers.ts'
import { redeemVoucher, releaseRedemption } from '../../src/vouchers/redeem-voucher.ts'
import { type Stored, type Tenant, useTenants } from './voucher-fixture.ts'

const tenants = useTenants()
const COUNT = 7
const actor = { kind: 'staff' as const, id: 'key_test' }

/** Numbers from 0 to `below` − 1, the same for the same seed. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.floor((state / 2_147_483_648) * below)
  }
}

/** One step of a history. Refused steps change nothing. */
async function step(
  tenant: Tenant,
  { purchaseId, batchId, codes }: { purchaseId: string; batchId: string; codes: string[] },
  open: string[],
  target: VoucherTarget,
  random: (below: number) => number,
): Promise<VoucherTarget> {
  const code = codes[random(COUNT)] ?? ''
  const { conferenceId } = tenant
  const refused = () => null
  switch (random(6)) {
    case 0:
      await tenant.deactivate(code)
      return target
    case 1:
      await tenant.activate(code).catch(refused)
      return target
    case 2: {
      const request = { code, reference: `order-${random(1_000_000)}`, actor }
      const made = await tenant
        .run((trx) => redeemVoucher(trx, conferenceId, request))
        .catch(refused)
      if (made !== null) open.push(made.redemption.id)
      return target
    }
    case 3: {
      const [id] = open.splice(random(open.length), 1)
      if (id !== undefined) {
        await tenant.run((trx) => releaseRedemption(trx, conferenceId, id, actor))
      }
      return target
    }
    default: {
      const inactive = random(COUNT + 1)
      const frozen = inactive + random(COUNT + 1 - inactive)
      // Each named voucher is one that the numbers contain.
      const ids = (await tenant.stored(batchId)).map(({ id }) => id)
      const named = ids.filter(() => random(4) === 0)
      const next = {
        inactive,
        frozen,
        disputed: random(3) === 0,
        namedInactive: named.slice(0, inactive),
        namedFrozen: named.slice(inactive, frozen),
      }
      await tenant.align(purchaseId, next)
      return next
    }
  }
}

/** The states of a batch as the target requires them, in numbers. */
function expectAligned(vouchers: Stored[], target: VoucherTarget, maxUses: number): void {
  const byStaff = vouchers.filter((voucher) => voucher.deactivated_by === 'staff').length
  const others = vouchers.filter((voucher) => voucher.deactivated_by !== 'staff')
  const unredeemed = others.filter((voucher) => voucher.times_used === 0).length
  const off = others.filter((voucher) => voucher.deactivated_by === 'refund')
  const active = others.filter((voucher) => voucher.deactivated_by === null)
  const usable = active.filter((voucher) => voucher.times_used < maxUses)
  const held = active.filter((voucher) => voucher.held_by_refund)
  const disputed = vouchers.filter((voucher) => voucher.held_by_dispute)
  const isNamed = (ids: readonly number[]) => (voucher: Stored) =>
    ids.includes(voucher.id) && voucher.times_used === 0
  const namedOff = others.filter(isNamed(target.namedInactive))
  const namedHeld = others.filter(isNamed(target.namedFrozen))
  const wantedOff = Math.max(target.inactive - byStaff, namedOff.length)
  const wantedGone = Math.max(target.frozen - byStaff, wantedOff + namedHeld.length)
  const taken = (wanted: number) => Math.min(wanted, unredeemed)

  const allInactive = target.inactive >= COUNT
  const allFrozen = target.frozen >= COUNT
  const redeemed = (some: Stored[]) => some.filter((voucher) => voucher.times_used > 0)
  expect(off).toHaveLength(allInactive ? others.length : taken(wantedOff))
  expect(allInactive ? [] : redeemed(off)).toEqual([])
  const wantedHeld = taken(wantedGone) - taken(wantedOff)
  expect(held).toHaveLength(allFrozen ? usable.length : wantedHeld)
  expect(allFrozen ? held : redeemed(held)).toEqual(allFrozen ? usable : [])
  expect(disputed).toEqual(target.disputed ? usable : [])
  expect(off).toEqual(expect.arrayContaining(namedOff))
  expect([...off, ...held]).toEqual(expect.arrayContaining(namedHeld))
}

it.each(Array.from({ length: 12 }, (_, i) => i + 1))(
  'vouchers agree with the target after every step of random history %i (issue 8, line 4)',
  async (seed) => {
    const random = randomNumbers(seed * 7_919)
    const tenant = await tenants.create()
    const maxUses = 1 + random(2)
    const sold = await tenant.sold(COUNT, { maxUses })
    const open: string[] = []
    let target: VoucherTarget = NO_TARGET
    for (let n = 0; n < 40; n += 1) {
      target = await step(tenant, sold, open, target, random)
      expectAligned(await tenant.stored(sold.batchId), target, maxUses)
    }
  },
)
