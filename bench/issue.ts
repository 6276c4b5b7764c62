import { connect, type Db } from '../src/db/connect.ts'
import { withTenant } from '../src/db/tenant-scope.ts'
import { newId } from '../src/shared/ids.ts'
import { exportVouchers } from '../src/vouchers/export-vouchers.ts'
import { issueVouchers } from '../src/vouchers/issue-vouchers.ts'
import { DEFAULT_TERMS } from '../src/vouchers/voucher-terms.ts'

export type IssueBenchOptions = {
  /** A migrated database of its own: the figures depend on what is in it. */
  connectionString: string
  print: (line: string) => void
  /** Leaves out the batch of a million codes, which takes about half a minute. */
  quick?: boolean
}

const EXISTING = 500_000
const SAMPLE = 10_000
const ROUNDS = 5

const megabytes = () => Math.round(process.memoryUsage().rss / 2 ** 20)
const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

async function makeConference(db: Db): Promise<string> {
  const conferenceId = newId('conference')
  await withTenant(db, { conferenceId }, async (trx) =>
    trx('conferences').insert({
      id: conferenceId,
      slug: `bench-${Date.now()}`,
      name: 'Bench',
      currency: 'EUR',
      max_quantity: 1_000_000,
    }),
  )
  return conferenceId
}

/** Issues one batch and commits it. Returns its id and the seconds that it took. */
async function issue(db: Db, conferenceId: string, count: number) {
  const started = performance.now()
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
      terms: { ...DEFAULT_TERMS, prefix: 'BULK-BENCH-' },
      createdBy: 'bench',
    }),
  )
  if (issued !== count) throw new Error(`${issued} of ${count} codes were issued`)
  return { batchId, seconds: (performance.now() - started) / 1000 }
}

async function costPerCode(db: Db, conferenceId: string): Promise<number> {
  const seconds: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    seconds.push((await issue(db, conferenceId, SAMPLE)).seconds)
  }
  return median(seconds) / SAMPLE
}

async function readExport(db: Db, conferenceId: string, batchId: string) {
  const started = performance.now()
  let bytes = 0
  for await (const part of exportVouchers(db, conferenceId, batchId, 'csv')) bytes += part.length
  return { bytes, seconds: (performance.now() - started) / 1000 }
}

/**
 * Codes a second by batch size, the memory that a large batch takes, and what must stay near 1: the
 * cost of a code with 500,000 codes in the conference against its cost in an empty one.
 */
export async function benchIssue({
  connectionString,
  print,
  quick = false,
}: IssueBenchOptions): Promise<{ ratio: number }> {
  const db = connect(connectionString, { max: 2 })
  try {
    await issue(db, await makeConference(db), SAMPLE) // connects and warms up
    const empty = await costPerCode(db, await makeConference(db))
    const sizes = [500, 10_000, 100_000, ...(quick ? [] : [1_000_000])]
    for (const size of sizes) {
      const conference = await makeConference(db)
      const { batchId, seconds } = await issue(db, conference, size)
      const rate = Math.round(size / seconds)
      print(`issue ${size} codes: ${seconds.toFixed(2)} s, ${rate} codes/s, ${megabytes()} MB`)
      if (size < 1_000_000) continue
      const { bytes, seconds: took } = await readExport(db, conference, batchId)
      print(`export ${size} codes as CSV: ${took.toFixed(2)} s, ${bytes} bytes, ${megabytes()} MB`)
    }
    const full = await makeConference(db)
    await issue(db, full, EXISTING)
    const ratio = (await costPerCode(db, full)) / empty
    print(`cost of a code with ${EXISTING} existing / with none: ${ratio.toFixed(2)}`)
    return { ratio }
  } finally {
    await db.destroy()
  }
}
