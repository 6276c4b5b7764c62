import type { Tx } from '../db/connect.ts'
import { announceEvent } from '../notifications/outgoing/announce-event.ts'
import { insertCodes } from './insert-codes.ts'
import { type BatchSpec, type IssuableBatch, takeBatch } from './voucher-batch.ts'
import { type CodeMaker, newCodes } from './voucher-code.ts'

// How many codes are in memory at once, whatever the size of the batch.
const WINDOW = 50_000

// With eight symbols one code in a million collides with a million others; ten fruitless rounds
// in a row mean that the code space is used up or the random source is broken.
const MOST_FRUITLESS_ROUNDS = 10

type Window = { first: number; last: number }

function windows(count: number): Window[] {
  return Array.from({ length: Math.ceil(count / WINDOW) }, (_, i) => ({
    first: i * WINDOW + 1,
    last: Math.min((i + 1) * WINDOW, count),
  }))
}

async function missingOrdinals(trx: Tx, batch: IssuableBatch, window: Window): Promise<number[]> {
  const { rows } = await trx.raw<{ rows: { ordinal: number }[] }>(
    `select wanted.ordinal
     from generate_series(cast(:first as integer), cast(:last as integer)) as wanted (ordinal)
     where not exists (
       select from vouchers v
       where v.conference_id = :conferenceId and v.batch_id = :batchId
         and v.ordinal = wanted.ordinal)
     order by wanted.ordinal`,
    { ...window, conferenceId: batch.conferenceId, batchId: batch.id },
  )
  return rows.map((row) => row.ordinal)
}

const everyOrdinal = ({ first, last }: Window) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i)

async function fillWindow(
  trx: Tx,
  batch: IssuableBatch,
  window: Window,
  makeCodes: CodeMaker,
): Promise<number> {
  let issued = 0
  let fruitless = 0
  let missing = batch.fresh ? everyOrdinal(window) : await missingOrdinals(trx, batch, window)
  while (missing.length > 0) {
    const codes = makeCodes(batch.prefix, batch.codeLength, missing.length)
    const written = await insertCodes(trx, batch, missing, codes)
    issued += written
    if (written === missing.length) break
    fruitless = written === 0 ? fruitless + 1 : 0
    if (fruitless === MOST_FRUITLESS_ROUNDS) {
      throw new Error(`Every code made for batch ${batch.id} exists already`)
    }
    missing = await missingOrdinals(trx, batch, window)
  }
  return issued
}

/**
 * Makes the codes of a batch: all of them the first time, only missing ordinals when it is called
 * again for the same purchase (or the same sponsor's complimentary codes), nothing when none is
 * missing. Then the stored batch counts, not the spec. Parallel calls for one purchase wait for each
 * other. Cost per code does not depend on how many codes exist, and memory not on the count.
 *
 * @param makeCodes must give sorted codes; tests pass one that collides.
 * @returns `issued`: how many codes this call made.
 */
export async function issueVouchers(
  trx: Tx,
  spec: BatchSpec,
  makeCodes: CodeMaker = newCodes,
): Promise<{ batchId: string; issued: number }> {
  const batch = await takeBatch(trx, spec)
  let issued = 0
  for (const window of windows(batch.count)) {
    issued += await fillWindow(trx, batch, window, makeCodes)
  }
  if (issued > 0) {
    const { conferenceId, source, purchaseId, sponsorId } = spec
    await announceEvent(trx, {
      conferenceId,
      type: 'vouchers.issued',
      data: { batch: batch.id, purchase: purchaseId, sponsor: sponsorId, source, count: issued },
    })
  }
  return { batchId: batch.id, issued }
}
