import pg from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import { connect } from '../src/db/connect.ts'
import { readFrom } from '../src/db/read-replica.ts'
import { exportVouchers } from '../src/vouchers/export-vouchers.ts'
import { compareRounds, type Figure } from './compare.ts'
import { createBenchConference, issueBatch } from './issue.ts'
import { measureExportMemory } from './processes.ts'

export type ExportBenchOptions = {
  /** A migrated database of its own. */
  connectionString: string
  rounds?: number
  /** Codes of the export whose rate is measured. */
  codes?: number
  /** Codes of the export whose memory is measured. */
  manyCodes?: number
}

const MEMORY_LIMIT_MB = 64

/** The lines of the CSV, in the order of issue. */
const copyCsv = (conferenceId: string, batchId: string) => `
  copy (
    select v.code, v.times_used, v.max_uses,
      case when v.state = 'active' then 'true' else 'false' end as is_active,
      cast(null as text) as valid_from, cast(null as text) as valid_until
    from vouchers v
    where v.conference_id = '${conferenceId}' and v.batch_id = '${batchId}'
    order by v.ordinal) to stdout (format csv, header)`

async function bytesOf(parts: AsyncIterable<Buffer>): Promise<number> {
  let bytes = 0
  for await (const part of parts) bytes += part.length
  return bytes
}

/**
 * Codes a second of the CSV, against one COPY of the same lines in the same role through Node, and the
 * memory that the CSV of many codes takes.
 */
export async function benchExport({
  connectionString,
  rounds = 5,
  codes = 400_000,
  manyCodes = 1_000_000,
}: ExportBenchOptions): Promise<Figure[]> {
  const db = connect(connectionString, { max: 1 })
  const session = new pg.Client({ connectionString })
  await session.connect()
  try {
    const conferenceId = await createBenchConference(db)
    const batchId = await issueBatch(db, conferenceId, codes)
    const many = await issueBatch(db, conferenceId, manyCodes)
    await session.query('vacuum analyze vouchers')

    // Both must write the same.
    let expected: number | undefined
    const rate = async (write: () => Promise<number>) => {
      const begun = performance.now()
      const bytes = await write()
      expected ??= bytes
      if (bytes !== expected) throw new Error(`${bytes} bytes instead of ${expected}`)
      return codes / ((performance.now() - begun) / 1_000)
    }
    const ours = () =>
      rate(() => bytesOf(exportVouchers(readFrom(db), conferenceId, batchId, 'csv')))
    const copy = () =>
      rate(async () => {
        await session.query(
          `begin; select set_config('app.conference_id', '${conferenceId}', true)`,
        )
        const bytes = await bytesOf(session.query(copyTo(copyCsv(conferenceId, batchId))))
        await session.query('commit')
        return bytes
      })
    const rates = await compareRounds(ours, copy, rounds)
    const growth = () => measureExportMemory(connectionString, conferenceId, many)
    const memory = await compareRounds(growth, async () => MEMORY_LIMIT_MB, Math.min(rounds, 3))
    return [
      {
        ...rates,
        work: `CSV of ${codes / 1_000}k codes`,
        against: 'COPY TO STDOUT through Node',
        unit: 'codes/s',
        aim: { atLeast: 0.6 },
      },
      {
        ...memory,
        work: `memory of a CSV of ${manyCodes / 1_000}k codes`,
        against: `${MEMORY_LIMIT_MB} MB`,
        unit: 'MB',
        aim: { atMost: 1 },
      },
    ]
  } finally {
    await session.end()
    await db.destroy()
  }
}
