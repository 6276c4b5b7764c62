import { describe, expect, it } from 'vitest'
import { createRedeemer, redeemVoucher } from '../../src/vouchers/redeem-voucher.ts'
import { getVoucher } from '../../src/vouchers/voucher-store.ts'
import { roundTripsOf } from '../support/round-trips.ts'
import { type Tenant, useTenants, waiting } from './voucher-fixture.ts'

const tenants = useTenants()
const actor = { kind: 'staff' as const, id: 'key_shop' }

const redeem = (tenant: Tenant, code: string, reference: string) =>
  tenant.run((trx) => redeemVoucher(trx, tenant.conferenceId, { code, reference, actor }))
const voucherOf = (tenant: Tenant, code: string) =>
  tenant.run((trx) => getVoucher(trx, tenant.conferenceId, code))
const times = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

function invalid(reason: string) {
  return expect.objectContaining({ code: 'voucher_invalid', extra: { invalid_reason: reason } })
}

async function countRedemptions(tenant: Tenant): Promise<number> {
  return tenant.run(async (trx) => {
    const [row] = await trx('redemptions').whereNull('released_at').count<{ count: number }[]>()
    return row?.count ?? 0
  })
}

describe('a redemption in one round trip', () => {
  const atOnce = (tenant: Tenant, code: string, reference: string) =>
    createRedeemer(tenant.db)(tenant.conferenceId, { code, reference, actor })

  it('returns and refuses the same as one in a transaction', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const reference = `'; drop table redemptions; -- ?? :id $1 \\`
    const { redemption } = await atOnce(tenant, code, reference)
    expect(redemption).toMatchObject({ reference, releasedAt: null, redeemedBy: 'key_shop' })
    expect(await atOnce(tenant, code, reference)).toEqual({ redemption, created: false })
    expect(await redeem(tenant, code, reference)).toEqual({ redemption, created: false })
    await expect(atOnce(tenant, code, 'order-2')).rejects.toEqual(invalid('used_up'))
    await expect(atOnce(tenant, 'NEVER-MADE', 'x')).rejects.toMatchObject({ code: 'not_found' })
  })

  it('takes one use when the same order redeems in parallel, also of a code with one use', async () => {
    const tenant = await tenants.create()
    for (const maxUses of [1, 50]) {
      const { code } = await tenant.sold(1, { maxUses })
      const answers = await Promise.all(times(30).map(() => atOnce(tenant, code, 'order-1')))
      expect(new Set(answers.map(({ redemption }) => redemption.id)).size).toBe(1)
      expect(answers.filter(({ created }) => created)).toHaveLength(1)
      expect(await voucherOf(tenant, code)).toMatchObject({ timesUsed: 1 })
    }
  })
})

describe('redemptions that share a statement', () => {
  const redeemerOf = (tenant: Tenant) => {
    const share = createRedeemer(tenant.db)
    return (code: string, reference: string) =>
      share(tenant.conferenceId, { code, reference, actor })
  }

  it('take the uses that each voucher has, in one round trip', async () => {
    const tenant = await tenants.create()
    const hot = await tenant.sold(1, { maxUses: 5 })
    const single = await tenant.sold(8)
    const share = redeemerOf(tenant)
    const sent = await roundTripsOf(() =>
      Promise.all([
        ...times(5).map((n) => share(hot.code, `order-${n}`)),
        ...single.codes.map((code) => share(code, 'order-1')),
      ]),
    )
    expect(sent).toHaveLength(1)
    expect(await voucherOf(tenant, hot.code)).toMatchObject({ timesUsed: 5 })
    for (const code of single.codes) {
      expect(await voucherOf(tenant, code)).toMatchObject({ timesUsed: 1 })
    }
  })

  it('answer each request as if it were alone', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1, { maxUses: 2 })
    const off = await tenant.sold(1)
    await tenant.deactivate(off.code)
    const share = redeemerOf(tenant)
    const known = await share(code, 'order-1')
    const answers = await Promise.allSettled([
      share(off.code, 'order-1'),
      share(code, 'order-1'),
      share('NEVER-MADE', 'order-1'),
      share(code.toLowerCase(), 'order-2'),
      share(code, 'order-2'),
      share(code, 'order-3'),
    ])
    const [deactivated, repeated, missing, second, sameSecond, third] = answers
    expect(deactivated).toEqual({ status: 'rejected', reason: invalid('deactivated') })
    expect(repeated).toEqual({ status: 'fulfilled', value: { ...known, created: false } })
    expect(missing).toMatchObject({ status: 'rejected', reason: { code: 'not_found' } })
    expect(second).toMatchObject({ status: 'fulfilled', value: { created: true } })
    expect(sameSecond).toMatchObject({ status: 'fulfilled', value: { created: false } })
    expect(third).toEqual({ status: 'rejected', reason: invalid('used_up') })
    expect(await voucherOf(tenant, code)).toMatchObject({ timesUsed: 2 })
  })

  it('do not wait for a locked voucher of another request', async () => {
    const tenant = await tenants.create()
    const [locked = '', free = '', later = ''] = (await tenant.sold(3)).codes
    const share = redeemerOf(tenant)
    let waits: Promise<unknown> | undefined
    await tenant.run(async (trx) => {
      await trx('vouchers').where({ code: locked }).forUpdate().select('id')
      waits = share(locked, 'order-1')
      expect(await share(free, 'order-1')).toMatchObject({ created: true })
      await expect.poll(() => waiting(tenant)).toBe(1)
      expect(await share(later, 'order-1')).toMatchObject({ created: true })
    })
    expect(await waits).toMatchObject({ created: true })
  })

  it('take exactly the uses of hot codes in several processes, while staff change vouchers', async () => {
    const tenant = await tenants.create()
    const { codes, purchaseId } = await tenant.sold(4, { maxUses: 10 })
    const processes = times(3).map(() => redeemerOf(tenant))
    const orders = times(12).flatMap((n) =>
      processes.flatMap((share, i) => codes.map((code) => () => share(code, `order-${n}-${i}`))),
    )
    const answers = await Promise.all([
      Promise.allSettled(orders.map((order) => order())),
      (async () => {
        for (const disputed of [true, false, true, false])
          await tenant.align(purchaseId, { disputed })
      })(),
    ])
    const refusals = answers[0].flatMap((answer) =>
      answer.status === 'rejected' ? [answer.reason] : [],
    )
    for (const reason of refusals) expect(reason).toMatchObject({ code: 'voucher_invalid' })
    // Those that a dispute refused come again.
    await Promise.allSettled(orders.map((order) => order()))
    for (const code of codes) {
      expect(await voucherOf(tenant, code)).toMatchObject({ timesUsed: 10 })
    }
    expect(await countRedemptions(tenant)).toBe(40)
  })
})

type PlanNode = { 'Relation Name'?: string; 'Index Cond'?: string; Plans?: PlanNode[] }

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)]

describe('the plan of a redemption', () => {
  // A prepared plan stays when the table grows.
  it('finds the redemptions of one voucher by key, also when it is made on an empty table', async () => {
    const tenant = await tenants.create()
    const { code } = await tenant.sold(1)
    const sent = await roundTripsOf(() =>
      createRedeemer(tenant.db)(tenant.conferenceId, { code, reference: 'order-1', actor }),
    )
    const statement = sent
      .flatMap((trip) => trip.split('; '))
      .find((sql) => sql.includes('insert into redemptions'))
    const { rows } = await tenant.run((trx) =>
      trx.raw<{ rows: { 'QUERY PLAN': [{ Plan: PlanNode }] }[] }>(
        `explain (generic_plan, format json) ${statement}`,
      ),
    )
    const conditions = rows
      .flatMap((row) => nodesOf(row['QUERY PLAN'][0].Plan))
      .filter((node) => node['Relation Name'] === 'redemptions')
      .flatMap((node) => node['Index Cond'] ?? [])
    expect(conditions).toEqual([expect.stringContaining('voucher_id')])
  })
})
