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
function linesOf(conferenceId: string, batchId: string, count: number): Readable {
  const lines = newCodes(PREFIX, 12, count).map(
    (code, i) => `${conferenceId}\t${batchId}\t${i + 1}\t${code}\t${codeKey(code)}\t1\n`,
  )
  const groups = Array.from({ length: Math.ceil(count / 1_000) }, (_, i) =>
    Buffer.from(lines.slice(i * 1_000, (i + 1) * 1_000).join('')),
  )
  return Readable.from(groups)
}

// Without row security, which forbids COPY. Postgres plans the look-up of a batch once, while there are few
// rows, so there is only the index of the key.
const COPY_TABLES = `
  create table batches_copy (conference_id text, id text, primary key (conference_id, id));
  create table vouchers_copy (like vouchers including all);
  alter table vouchers_copy add constraint batch_reference foreign key (conference_id, batch_id)
    references batches_copy (conference_id, id);
  set enable_seqscan = off`
// Both sides begin with empty tables.
const WITHOUT_REFERENCE = `
  alter table vouchers_copy drop constraint batch_reference;
  truncate vouchers_copy, vouchers, redemptions, published_vouchers, voucher_assignments`

/**
 * Milliseconds of a batch, from nothing to its commit, against a COPY of as many finished, sorted rows
 * into a copy of the tables.
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
    await session.query(COPY_TABLES)
    const conferenceId = await createBenchConference(db)
    const issue =
      (id: string, count: number, times = 1): Round =>
      () =>
        milliseconds(times, () => issueBatch(db, id, count))
    const copy =
      (count: number, times = 1): Round =>
      async () => {
        const lines: Readable[] = []
        for (let time = 0; time < times; time += 1) {
          const batchId = newId('voucherBatch')
          await session.query('insert into batches_copy values ($1, $2)', [conferenceId, batchId])
          lines.push(linesOf(conferenceId, batchId, count))
        }
        return milliseconds(times, async () => {
          const into =
            'copy vouchers_copy (conference_id, batch_id, ordinal, code, code_key, max_uses) from stdin'
          await pipeline(lines.pop() ?? [], session.query(copyFrom(into)))
        })
      }

    const figure = { against: 'COPY of the sorted rows', unit: 'ms' }
    const aim = { atMost: 1.3 }
    const mine = (count: number, times = 1) => issue(conferenceId, count, times)
    const small = await compareRounds(mine(40, 50), copy(40, 50), rounds)
    const middle = await compareRounds(mine(10_000, 5), copy(10_000, 5), rounds)
    const large = await compareRounds(mine(100_000), copy(100_000), rounds)
    await session.query(WITHOUT_REFERENCE)
    const bare = await compareRounds(mine(100_000), copy(100_000), rounds)

    const [empty, full] = [await createBenchConference(db), await createBenchConference(db)]
    await issueBatch(db, full, existing)
    const grown = await compareRounds(issue(full, 10_000, 3), issue(empty, 10_000, 3), rounds)
    return [
      { ...small, ...figure, work: 'issue 40 codes' },
      { ...middle, ...figure, aim, work: 'issue 10k codes' },
      { ...large, ...figure, aim, work: 'issue 100k codes' },
      {
        ...bare,
        ...figure,
        work: 'issue 100k codes',
        against: 'COPY without a reference to the batch',
      },
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
