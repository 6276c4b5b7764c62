import { text } from 'node:stream/consumers'
import { stringify } from 'csv-stringify/sync'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { connect, type Db } from '../../src/db/connect.ts'
import { isDatabaseUnavailable } from '../../src/db/pg-errors.ts'
import { readFrom } from '../../src/db/read-replica.ts'
import { type ExportFormat, exportVouchers } from '../../src/vouchers/export-vouchers.ts'
import type { CodeMaker } from '../../src/vouchers/issue-vouchers.ts'
import { codeKey } from '../../src/vouchers/voucher.ts'
import { POLL_OPTIONS } from '../support/timeouts.ts'
import { type Tenant, useTenants } from './voucher-fixture.ts'

const tenants = useTenants()

const HEADER = 'code,times_used,max_uses,is_active,valid_from,valid_until'

const exported = (tenant: Tenant, batchId: string | null, format: ExportFormat) =>
  text(exportVouchers(readFrom(tenant.db), tenant.conferenceId, batchId, format))
const linesOf = (content: string) => content.split('\n').slice(0, -1)

describe('the CSV of a purchase', () => {
  it('has the documented header and one line per code, by ordinal', async () => {
    const tenant = await tenants.create()
    const validUntil = new Date('2099-01-01T00:00:00Z')
    const { batchId, codes } = await tenant.sold(3, { maxUses: 2, validUntil })
    await tenant.use(batchId, [2])
    await tenant.deactivate(codes[2] ?? '')
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

  it('is what csv-stringify writes, whatever characters codes have', async () => {
    const tenant = await tenants.create()
    const symbol = fc.constantFrom(...Array.from('=+-@\t\r\n",;\'\\ A9b＝＋－＠é'))
    const drawn = fc.sample(fc.string({ unit: symbol, maxLength: 5 }), { numRuns: 500, seed: 1 })
    const codes = [...new Map(drawn.map((code) => [codeKey(code), code])).values()]
    const { batchId } = await tenant.issue({ count: codes.length, makeCodes: () => codes })
    const rows = codes.map((code) => [code, 0, 1, 'true', '', ''])
    const expected = stringify([HEADER.split(','), ...rows], { escape_formulas: true })
    expect(await exported(tenant, batchId, 'csv')).toBe(expected)
  })

  it('goes on after codes that are missing', async () => {
    const tenant = await tenants.create()
    const { batchId } = await tenant.issue({ count: 11_000 })
    await tenant.run(async (trx) => trx('vouchers').whereBetween('ordinal', [2, 10_500]).delete())
    const stored = await tenant.stored(batchId)
    const lines = linesOf(await exported(tenant, batchId, 'csv')).slice(1)
    expect(lines.map((line) => line.split(',')[0])).toEqual(stored.map(({ code }) => code))
    expect(lines).toHaveLength(501)
  })

  it('shows the times in UTC, with milliseconds', async () => {
    const tenant = await tenants.create()
    const validFrom = new Date('2026-02-28T23:59:59.999Z')
    const { batchId } = await tenant.sold(1, { validFrom })
    expect(linesOf(await exported(tenant, batchId, 'csv'))[1]).toMatch(
      /,0,1,true,2026-02-28T23:59:59\.999Z,$/,
    )
  })
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
      uses_held: 0,
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
  it('has every voucher once, as it is when its part is read', async () => {
    const tenant = await tenants.create()
    const { batchId } = await tenant.issue({ count: 26_000 })
    const stream = exportVouchers(readFrom(tenant.db), tenant.conferenceId, batchId, 'csv')
    const parts: string[] = []
    for await (const part of stream) {
      if (parts.length === 0) {
        await tenant.run(async (trx) => trx('vouchers').update({ times_used: 1 }))
      }
      parts.push(String(part))
    }
    const lines = linesOf(parts.join('')).slice(1)
    const stored = await tenant.stored(batchId)
    expect(lines.map((line) => line.split(',')[0])).toEqual(stored.map(({ code }) => code))
    expect(lines.at(-1)?.split(',')[1]).toBe('1')
  })

  it.each([
    ['csv' as const, 400_000],
    // 20,000 lines are 7 MB.
    ['ndjson' as const, 1_000_000],
  ])(
    'as %s reads only as fast as the reader takes rows, and holds no connection meanwhile (issue 8, line 16)',
    async (format, buffered) => {
      const tenant = await tenants.create()
      const { batchId } = await tenant.issue({ count: 20_000 })
      const oneConnection = connect(tenants.connectionString, { max: 1 })
      const stream = exportVouchers(readFrom(oneConnection), tenant.conferenceId, batchId, format)
      await new Promise((resolve) => stream.once('readable', resolve))
      await expect.poll(() => openTransactions(tenant)).toBe(0)
      // One or two parts.
      expect(stream.readableLength).toBeLessThan(buffered)
      expect((await oneConnection.raw('select 1 as one')).rows).toEqual([{ one: 1 }])
      stream.destroy()
      await oneConnection.destroy()
    },
  )

  it.each(['csv', 'ndjson'] as const)(
    'as %s ends when the reader takes nothing until the timeout',
    async (format) => {
      const tenant = await tenants.create()
      const { batchId } = await tenant.issue({ count: 20_000 })
      const stream = exportVouchers(readFrom(tenant.db), tenant.conferenceId, batchId, format, {
        stalledAfterMs: 50,
      })
      const failed = new Promise<Error>((resolve) => stream.once('error', resolve))
      expect((await failed).message).toMatch(/The reader took nothing for 50 ms/)
      await expect.poll(() => openTransactions(tenant)).toBe(0)
    },
  )

  it('fails the stream, and not the process, when the database is lost', async () => {
    const tenant = await tenants.create()
    const { batchId } = await tenant.issue({ count: 20_000 })
    const lost = connect(tenants.connectionString, { max: 1, applicationName: 'lost' })
    const stream = exportVouchers(readFrom(lost), tenant.conferenceId, batchId, 'csv')
    const lock = await tenant.db.transaction()
    let killed: Promise<unknown> | undefined
    let parts = 0
    const reading = (async () => {
      for await (const _ of stream) {
        parts += 1
        // The first part is the header, the second the first slice.
        if (parts !== 2) continue
        await lock.raw('lock table vouchers')
        killed = vi.waitUntil(
          async () => (await terminateWaiting(lock, 'lost')) === 1,
          POLL_OPTIONS,
        )
      }
    })()
    await expect(reading).rejects.toSatisfy(isDatabaseUnavailable)
    await killed
    await lock.rollback()
    await lost.destroy()
    expect(parts).toBeLessThan(21)
    expect(await tenant.stored(batchId)).toHaveLength(20_000)
  })
})

/** Ends the sessions of this application that wait for a lock. Returns their number. */
async function terminateWaiting(db: Db, application: string): Promise<number | null> {
  const { rowCount } = await db.raw<{ rowCount: number | null }>(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and application_name = ? and wait_event_type = 'Lock'`,
    [application],
  )
  return rowCount
}

async function openTransactions(tenant: Tenant): Promise<number> {
  const { rows } = await tenant.db.raw<{ rows: { n: number }[] }>(
    `select count(*) as n from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid()
       and (state = 'idle in transaction' or state = 'active')`,
  )
  return rows[0]?.n ?? 0
}
