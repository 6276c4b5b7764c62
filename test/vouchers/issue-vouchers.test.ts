import { describe, expect, it } from 'vitest'
import { type CodeMaker, issueVouchers, newCodes } from '../../src/vouchers/issue-vouchers.ts'
import { useTenants } from './voucher-fixture.ts'

const tenants = useTenants()

/** Returns a function whose promises resolve when it was called by all. */
function meetingPoint(parties: number): () => Promise<void> {
  let open = () => {}
  const all = new Promise<void>((resolve) => {
    open = resolve
  })
  return () => {
    parties -= 1
    if (parties === 0) open()
    return all
  }
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

describe('issuing the codes of a purchase', () => {
  it('issues the purchased number of codes, each with its own ordinal and key', async () => {
    const tenant = await tenants.create()
    const purchaseId = await tenant.purchase(40)
    const { batchId, issued } = await tenant.issue({ count: 40, purchaseId })
    expect(issued).toBe(40)
    const vouchers = await tenant.stored(batchId)
    expect(vouchers.map(({ ordinal }) => ordinal)).toEqual(upTo(40))
    expect(new Set(vouchers.map(({ code }) => code)).size).toBe(40)
    for (const { code } of vouchers) {
      expect(code).toMatch(/^BULK-ACME-[23456789ABCDEFGHJKLMNPQRSTUVWXYZ]{12}$/)
    }
  })

  it('issues none when it is called again, and uses the same batch', async () => {
    const tenant = await tenants.create()
    const purchaseId = await tenant.purchase(5)
    const first = await tenant.issue({ count: 5, purchaseId })
    const again = await tenant.issue({ count: 5, purchaseId })
    expect(again).toEqual({ batchId: first.batchId, issued: 0 })
    expect(await tenant.stored(first.batchId)).toHaveLength(5)
  })

  it('D7: issues exactly the missing codes and never a second batch', async () => {
    const tenant = await tenants.create()
    const { purchaseId, batchId } = await tenant.sold(10)
    const before = await tenant.stored(batchId)
    await tenant.run(async (trx) =>
      trx('vouchers').where({ batch_id: batchId }).whereIn('ordinal', [3, 7, 10]).delete(),
    )
    const { issued } = await tenant.issue({ count: 10, purchaseId })
    expect(issued).toBe(3)
    const after = await tenant.stored(batchId)
    expect(after.map(({ ordinal }) => ordinal)).toEqual(upTo(10))
    const kept = after.filter(({ ordinal }) => ![3, 7, 10].includes(ordinal))
    expect(kept).toEqual(before.filter(({ ordinal }) => ![3, 7, 10].includes(ordinal)))
  })

  it('issues the codes once when twenty transactions issue the same purchase in parallel', async () => {
    const tenant = await tenants.create()
    const purchaseId = await tenant.purchase(200)
    const results = await Promise.all(upTo(20).map(() => tenant.issue({ count: 200, purchaseId })))
    expect(new Set(results.map(({ batchId }) => batchId)).size).toBe(1)
    expect(results.reduce((sum, { issued }) => sum + issued, 0)).toBe(200)
    expect(await tenant.stored(results[0]?.batchId ?? '')).toHaveLength(200)
  })

  it('leaves no rows if its transaction fails', async () => {
    const tenant = await tenants.create()
    const purchaseId = await tenant.purchase(20)
    const failing = tenant.run(async (trx) => {
      await issueVouchers(trx, tenant.spec({ count: 20, purchaseId }))
      throw new Error('killed before the commit')
    })
    await expect(failing).rejects.toThrow('killed')
    const { issued } = await tenant.issue({ count: 20, purchaseId })
    expect(issued).toBe(20)
  })

  it('keeps the terms of the existing batch when a second call has others', async () => {
    const tenant = await tenants.create()
    const purchaseId = await tenant.purchase(3)
    const { batchId } = await tenant.issue({ count: 3, purchaseId })
    await tenant.run(async (trx) => trx('vouchers').where({ ordinal: 2 }).delete())
    await tenant.issue({ count: 900, purchaseId, terms: { prefix: 'OTHER-', maxUses: 9 } })
    const vouchers = await tenant.stored(batchId)
    expect(vouchers.map(({ code }) => code.slice(0, 10))).toEqual(Array(3).fill('BULK-ACME-'))
  })
})

describe('codes that exist already', () => {
  // Symbols that real codes do not use, so that a collision is certain and visible.
  const poor =
    (codes: string[]): CodeMaker =>
    (_prefix, _length, count) =>
      Array.from({ length: count }, () => codes.shift() ?? 'NONE-LEFT').sort()

  it('D23: tops up after collisions with codes of another batch', async () => {
    const tenant = await tenants.create()
    const other = await tenant.issue({ count: 3, makeCodes: poor(['AA', 'BB', 'CC']) })
    const codes = ['AA', 'DD', 'BB', 'EE', 'C-C', 'AA', 'FF', 'GG', 'HH']
    const { batchId, issued } = await tenant.issue({ count: 5, makeCodes: poor(codes) })
    expect(issued).toBe(5)
    const made = await tenant.stored(batchId)
    expect(made.map(({ ordinal }) => ordinal)).toEqual(upTo(5))
    expect(made.map(({ code }) => code).toSorted()).toEqual(['DD', 'EE', 'FF', 'GG', 'HH'])
    expect((await tenant.stored(other.batchId)).map(({ code }) => code)).toEqual(['AA', 'BB', 'CC'])
  })

  it('D23: tops up after the same code is drawn twice in one batch', async () => {
    const tenant = await tenants.create()
    const makeCodes = poor(['AA', 'AA', 'AA', 'BB', 'BB', 'CC'])
    const { batchId } = await tenant.issue({ count: 3, makeCodes })
    const made = await tenant.stored(batchId)
    expect(made.map(({ code }) => code).toSorted()).toEqual(['AA', 'BB', 'CC'])
  })

  it('D23: tops up each part of a large batch', async () => {
    const tenant = await tenants.create()
    await tenant.issue({ count: 50, makeCodes: poor(upTo(50).map((n) => `X${n}`)) })
    let round = 0
    const makeCodes: CodeMaker = (prefix, length, count) => {
      round += 1
      const colliding = round === 1 ? upTo(50).map((n) => `X${n}`) : []
      return [...colliding, ...newCodes(prefix, length, count - colliding.length)].sort()
    }
    const { batchId, issued } = await tenant.issue({ count: 10_050, makeCodes })
    expect({ issued, round }).toEqual({ issued: 10_050, round: 3 })
    expect(await tenant.ordinals(batchId, () => true)).toEqual(upTo(10_050))
  })

  it('are unique per conference: another conference can have the same code', async () => {
    const [one, two] = await Promise.all([tenants.create(), tenants.create()])
    for (const tenant of [one, two]) {
      const { issued } = await tenant.issue({ count: 1, makeCodes: poor(['SAME']) })
      expect(issued).toBe(1)
    }
  })

  it('are issued for two batches that generate the same codes in parallel', async () => {
    const tenant = await tenants.create()
    const shared = upTo(100).map((n) => `S${String(n).padStart(3, '0')}`)
    const rest = (name: string) => upTo(100).map((n) => `${name}${String(n).padStart(3, '0')}`)
    const batches = await Promise.all(
      ['P', 'Q', 'R'].map((name) =>
        tenant.issue({ count: 100, makeCodes: poor([...shared, ...rest(name)]) }),
      ),
    )
    for (const { batchId } of batches) expect(await tenant.stored(batchId)).toHaveLength(100)
  })

  it('are issued for two transactions that wait for codes of each other', async () => {
    const tenant = await tenants.create()
    const bothHoldOne = meetingPoint(2)
    const issueTwice = (own: string, other: string) =>
      tenant.run(async (trx) => {
        const spec = tenant.spec({ count: 1 })
        const first = await issueVouchers(trx, spec, poor([own]))
        await bothHoldOne()
        const second = await issueVouchers(trx, spec, poor([other, `${own}${other}`]))
        return [first.batchId, second.batchId]
      })
    const batches = (await Promise.all([issueTwice('P', 'Q'), issueTwice('Q', 'P')])).flat()
    const stored = await Promise.all(batches.map((batchId) => tenant.stored(batchId)))
    const codes = stored.map((vouchers) => vouchers.map(({ code }) => code))
    expect(codes).toEqual([['P'], ['PQ'], ['Q'], ['QP']])
  })

  it('are issued for two large batches whose parts collide crosswise', async () => {
    const tenant = await tenants.create()
    const [a, b] = [newCodes('A-', 12, 10_000), newCodes('B-', 12, 10_000)]
    const issueLarge = (parts: string[][]) => {
      const makeCodes: CodeMaker = (...draw) => parts.shift() ?? newCodes(...draw)
      return tenant.issue({ count: 20_000, makeCodes })
    }
    const batches = await Promise.all([issueLarge([a, b]), issueLarge([b, a])])
    expect(batches.map(({ issued }) => issued)).toEqual([20_000, 20_000])
    for (const { batchId } of batches) {
      expect(await tenant.ordinals(batchId, () => true)).toEqual(upTo(20_000))
    }
    const { rows } = await tenant.run((trx) =>
      trx.raw(`select count(distinct code_key) as keys from vouchers`),
    )
    expect(rows).toEqual([{ keys: 40_000 }])
  })

  it('fail instead of looping forever if no new code can be generated', async () => {
    const tenant = await tenants.create()
    const makeCodes: CodeMaker = (_prefix, _length, count) => Array(count).fill('ONLY')
    await expect(tenant.issue({ count: 2, makeCodes })).rejects.toThrow(/already exists/)
  })
})

describe('large batches', () => {
  it('are issued in parts, and only missing codes again', async () => {
    const tenant = await tenants.create()
    const purchaseId = await tenant.purchase(20_000)
    const { batchId, issued } = await tenant.issue({ count: 20_000, purchaseId })
    expect(issued).toBe(20_000)
    await tenant.run(async (trx) =>
      trx('vouchers').where({ batch_id: batchId }).where('ordinal', '>', 6_000).delete(),
    )
    expect((await tenant.issue({ count: 20_000, purchaseId })).issued).toBe(14_000)
    expect(await tenant.ordinals(batchId, () => true)).toEqual(upTo(20_000))
  })

  it('have every ordinal, in the order of the codes, across the parts in which they are issued', async () => {
    const tenant = await tenants.create()
    const purchaseId = await tenant.purchase(60_001)
    await tenant.issue({ count: 60_001, purchaseId })
    const { rows } = await tenant.run((trx) =>
      trx.raw(`select min(ordinal), max(ordinal), count(*), count(distinct code_key) as keys,
                 bool_and(is_above) as is_sorted
               from (select ordinal, code_key,
                   code_key > coalesce(lag(code_key) over (order by ordinal), '') as is_above
                 from vouchers) as in_order`),
    )
    const [of, keys] = [{ min: 1, max: 60_001, count: 60_001 }, 60_001]
    expect(rows).toEqual([{ ...of, keys, is_sorted: true }])
  })
})

describe('staff and complimentary batches', () => {
  it('issues a new batch for each request of staff', async () => {
    const tenant = await tenants.create()
    const first = await tenant.issue({ count: 2 })
    const second = await tenant.issue({ count: 2 })
    expect(second.batchId).not.toBe(first.batchId)
    expect(second.issued).toBe(2)
  })

  it("makes a sponsor's complimentary codes once", async () => {
    const tenant = await tenants.create()
    const results = await Promise.all(upTo(5).map(() => tenant.issue({ count: 4, source: 'comp' })))
    expect(results.reduce((sum, { issued }) => sum + issued, 0)).toBe(4)
  })
})
