import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { isDatabaseUnavailable } from '../../src/db/pg-errors.ts'
import { type ExportFormat, exportVouchers } from '../../src/vouchers/export-vouchers.ts'
import { deactivateVoucher } from '../../src/vouchers/freeze-and-deactivate-vouchers.ts'
import type { CodeMaker } from '../../src/vouchers/voucher-code.ts'
import { type Tenant, useTenants } from './voucher-fixture.ts'

const tenants = useTenants()

const HEADER = 'code,times_used,max_uses,is_active,valid_from,valid_until'

const exported = (tenant: Tenant, batchId: string | null, format: ExportFormat) =>
  text(exportVouchers(tenant.db, tenant.conferenceId, batchId, format))
const linesOf = (content: string) => content.split('\n').slice(0, -1)

describe('the CSV of a purchase', () => {
  it('has the documented header and one line per code, by ordinal', async () => {
    const tenant = await tenants.create()
    const validUntil = new Date('2099-01-01T00:00:00Z')
    const { batchId, codes } = await tenant.sold(3, { maxUses: 2, validUntil })
    await tenant.use(batchId, [2])
    await tenant.run((trx) => deactivateVoucher(trx, tenant.conferenceId, codes[2] ?? ''))
    expect(linesOf(await exported(tenant, batchId, 'csv'))).toEqual([
      HEADER,
      `${codes[0]},0,2,true,,2099-01-01T00:00:00.000Z`,
      `${codes[1]},1,2,true,,2099-01-01T00:00:00.000Z`,
      `${codes[2]},0,2,false,,2099-01-01T00:00:00.000Z`,
    ])
  })

  it('has only the header if nothing was issued', async () => {
    const tenant = await tenants.create()
    expect(await exported(tenant, null, 'csv')).toBe(`${HEADER}\n`)
    expect(await exported(tenant, null, 'ndjson')).toBe('')
  })

  it.each(['=1+1', '+1', '-2', '@SUM', '\tX', '\rX'])(
    'neutralises the cell %j, which a spreadsheet would run',
    async (code) => {
      const tenant = await tenants.create()
      const makeCodes: CodeMaker = () => [code]
      const { batchId } = await tenant.issue({ count: 1, makeCodes })
      const [, line] = (await exported(tenant, batchId, 'csv')).split(/\n(?=["'])/)
      expect(line).toMatch(/^"?'/)
      expect(line).toContain(`'${code}`)
    },
  )
})

describe('the NDJSON of a purchase', () => {
  it('has a voucher as the API shows it on each line', async () => {
    const tenant = await tenants.create()
    const { batchId, purchaseId, codes } = await tenant.sold(2)
    const objects = linesOf(await exported(tenant, batchId, 'ndjson')).map((line) =>
      JSON.parse(line),
    )
    expect(objects.map(({ code }) => code)).toEqual(codes)
    expect(objects[0]).toEqual({
      code: codes[0],
      object: 'voucher',
      batch: batchId,
      purchase: purchaseId,
      state: 'active',
      valid: true,
      invalid_reason: null,
      times_used: 0,
      max_uses: 1,
      valid_from: null,
      valid_until: null,
      voucher_type: 'comp',
      discount_value: 0,
      unlocks_hidden_tickets: false,
      ticket_type: null,
      add_on: null,
      assigned_to: null,
      created_at: expect.stringMatching(/Z$/),
    })
  })
})

describe('a large export', () => {
  it('is one snapshot: changes during the export are not in it', async () => {
    const tenant = await tenants.create()
    const { batchId } = await tenant.issue({ count: 6_000 })
    const stream = exportVouchers(tenant.db, tenant.conferenceId, batchId, 'csv')
    const parts: string[] = []
    for await (const part of stream) {
      if (parts.length === 0) {
        await tenant.run(async (trx) => trx('vouchers').update({ times_used: 1 }))
        await tenant.run(async (trx) => trx('vouchers').where('ordinal', '>', 5_000).delete())
      }
      parts.push(String(part))
    }
    const lines = linesOf(parts.join('')).slice(1)
    expect(lines).toHaveLength(6_000)
    expect(new Set(lines.map((line) => line.split(',')[1]))).toEqual(new Set(['0']))
  })

  it('reads only as fast as the reader takes rows, and releases its connection when the reader disconnects', async () => {
    const tenant = await tenants.create()
    const { batchId } = await tenant.issue({ count: 20_000 })
    const stream = exportVouchers(tenant.db, tenant.conferenceId, batchId, 'ndjson')
    await new Promise((resolve) => stream.once('readable', resolve))
    await expect.poll(() => openTransactions(tenant)).toBe(1)
    // 20,000 lines are 7 MB; the stream buffers one or two pages.
    expect(stream.readableLength).toBeLessThan(1_000_000)
    stream.destroy()
    await expect.poll(() => openTransactions(tenant)).toBe(0)
  })

  it('ends when the reader takes nothing until the timeout', async () => {
    const tenant = await tenants.create()
    const { batchId } = await tenant.issue({ count: 20_000 })
    const stream = exportVouchers(tenant.db, tenant.conferenceId, batchId, 'ndjson', 50)
    const failed = new Promise<Error>((resolve) => stream.once('error', resolve))
    expect((await failed).message).toMatch(/The reader took nothing for 50 ms/)
    await expect.poll(() => openTransactions(tenant)).toBe(0)
  })

  it('fails the stream, and not the process, when the database is lost', async () => {
    const tenant = await tenants.create()
    const { batchId } = await tenant.issue({ count: 20_000 })
    const stream = exportVouchers(tenant.db, tenant.conferenceId, batchId, 'csv')
    let parts = 0
    const reading = (async () => {
      for await (const _ of stream) {
        parts += 1
        // The first part is the header, the second the first page: by now the cursor is open.
        if (parts !== 2) continue
        const { rowCount } = await tenant.db.raw(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and query like 'fetch % from exported'`,
        )
        expect(rowCount).toBe(1)
      }
    })()
    await expect(reading).rejects.toSatisfy(isDatabaseUnavailable)
    expect(parts).toBeLessThan(21)
    expect(await tenant.stored(batchId)).toHaveLength(20_000)
  })
})

async function openTransactions(tenant: Tenant): Promise<number> {
  const { rows } = await tenant.db.raw<{ rows: { n: number }[] }>(
    `select count(*) as n from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid()
       and (state = 'idle in transaction' or state = 'active')`,
  )
  return rows[0]?.n ?? 0
}
