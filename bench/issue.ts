import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { connect, type Db } from '../src/db/connect.ts'
import { withTenant } from '../src/db/tenant-scope.ts'
import { newId } from '../src/shared/ids.ts'
import { issueVouchers, newCodes } from '../src/vouchers/issue-vouchers.ts'
import { codeKey } from '../src/vouchers/voucher.ts'
import { DEFAULT_TERMS } from '../src/vouchers/voucher-terms.ts'
import { compareRounds, type Figure, type Round } from './compare.ts'

export type IssueBenchOptions = {
  /** A migrated database of its own: the figures depend on what is in it. */
  connectionString: string
  rounds?: number
  /** Codes of the larger conference. */
  existing?: number
}

const PREFIX = 'BULK-BENCH-'

export async function createBenchConference(db: Db): Promise<string> {
  const id = newId('conference')
  await withTenant(db, { conferenceId: id }, async (trx) =>
    trx('conferences').insert({
      id,
      slug: id.replace('_', '-').toLowerCase(),
      name: 'Bench',
      currency: 'EUR',
      max_quantity: 1_000_000,
    }),
  )
  return id
}

/** Issues one batch and commits it. Returns its id. */
export async function issueBatch(db: Db, conferenceId: string, count: number): Promise<string> {
  const { batchId, issued } = await withTenant(db, { conferenceId }, (trx) =>
    issueVouchers(trx, {
      conferenceId,
      source: 'staff',
      purchaseId: null,
      sponsorId: null,
      count,
      currency: 'EUR',
      ticketTypeId: null,
      addOnId: null,
      terms: { ...DEFAULT_TERMS, prefix: PREFIX },
      createdBy: 'bench',
    }),
  )
  if (issued !== count) throw new Error(`${issued} of ${count} codes were issued`)
  return batchId
}

/** Milliseconds of one of several repetitions. */
async function milliseconds(times: number, work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  for (let time = 0; time < times; time += 1) await work()
  return (performance.now() - begun) / times
}

/** COPY lines of a batch, sorted as the batch is. */
function linesOf(conferenceId: string, count: number): Readable {
  const batchId = newId('voucherBatch')
  const lines = newCodes(PREFIX, 12, count).map(
    (code, i) => `${conferenceId}\t${batchId}\t${i + 1}\t${code}\t${codeKey(code)}\t1\n`,
  )
  const groups = Array.from({ length: Math.ceil(count / 1_000) }, (_, i) =>
    Buffer.from(lines.slice(i * 1_000, (i + 1) * 1_000).join('')),
  )
  return Readable.from(groups)
}

/**
 * Milliseconds of a batch, from nothing to its commit, against a COPY of as many finished, sorted rows into
 * a table with the same columns, indexes and checks but without row security and without a reference to
 * the batch.
 */
export async function benchIssue({
  connectionString,
  rounds = 5,
  existing = 500_000,
}: IssueBenchOptions): Promise<Figure[]> {
  const db = connect(connectionString, { max: 1 })
  const session = new pg.Client({ connectionString })
  await session.connect()
  try {
    await session.query('create table vouchers_copy (like vouchers including all)')
    const conferenceId = await createBenchConference(db)
    const issue =
      (id: string, count: number, times = 1): Round =>
      () =>
        milliseconds(times, () => issueBatch(db, id, count))
    const copy =
      (count: number, times = 1): Round =>
      () => {
        const batches = Array.from({ length: times }, () => linesOf(conferenceId, count))
        return milliseconds(times, async () => {
          const into = session.query(
            copyFrom(
              'copy vouchers_copy (conference_id, batch_id, ordinal, code, code_key, max_uses) from stdin',
            ),
          )
          await pipeline(batches.pop() ?? [], into)
        })
      }

    const figure = { against: 'COPY of the sorted rows', unit: 'ms' }
    const aim = { atMost: 1.3 }
    const small = await compareRounds(issue(conferenceId, 40, 50), copy(40, 50), rounds)
    const middle = await compareRounds(issue(conferenceId, 10_000, 5), copy(10_000, 5), rounds)
    const large = await compareRounds(issue(conferenceId, 100_000), copy(100_000), rounds)

    const [empty, full] = [await createBenchConference(db), await createBenchConference(db)]
    await issueBatch(db, full, existing)
    const grown = await compareRounds(issue(full, 10_000, 3), issue(empty, 10_000, 3), rounds)
    return [
      { ...small, ...figure, work: 'issue 40 codes' },
      { ...middle, ...figure, aim, work: 'issue 10k codes' },
      { ...large, ...figure, aim, work: 'issue 100k codes' },
      {
        ...grown,
        work: `issue 10k codes beside ${existing / 1_000}k`,
        against: 'in an empty conference',
        unit: 'ms',
        aim,
      },
    ]
  } finally {
    await session.end()
    await db.destroy()
  }
}
