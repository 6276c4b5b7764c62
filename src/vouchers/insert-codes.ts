import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import type { Tx } from '../db/connect.ts'
import type { IssuableBatch } from './voucher-batch.ts'

// Above this many codes at once COPY spares the driver an array parameter of megabytes.
const COPY_ABOVE = 10_000

// One arbiter instead of any: Postgres then looks for a conflict in one index and not in three, and
// under the batch's lock no other can occur.
const INSERT = `
  insert into vouchers (conference_id, batch_id, ordinal, code, code_key, max_uses)
  select :conferenceId, :batchId, made.ordinal, made.code,
    upper(translate(made.code, ' -', '')) collate "C", :maxUses`
const KEEP_THE_FIRST = `
  order by made.ordinal
  on conflict (conference_id, code_key) do nothing`

function bindings(batch: IssuableBatch) {
  return { conferenceId: batch.conferenceId, batchId: batch.id, maxUses: batch.maxUses }
}

async function insertByUnnest(
  trx: Tx,
  batch: IssuableBatch,
  ordinals: number[],
  codes: string[],
): Promise<number> {
  const { rowCount } = await trx.raw<{ rowCount: number }>(
    `${INSERT} from unnest(cast(:ordinals as integer[]), cast(:codes as text[])) as made (ordinal, code)
     ${KEEP_THE_FIRST}`,
    { ...bindings(batch), ordinals, codes },
  )
  return rowCount
}

// Codes are [A-Z0-9-], so nothing needs COPY's escaping. Yielding lines in groups keeps the stream's
// overhead per code small.
function* copyLines(ordinals: number[], codes: string[]): Generator<string> {
  const GROUP = 1_000
  for (let start = 0; start < codes.length; start += GROUP) {
    const group = codes.slice(start, start + GROUP)
    yield group.map((code, i) => `${ordinals[start + i]}\t${code}\n`).join('')
  }
}

// COPY goes into a temporary table first: Postgres refuses COPY FROM on a table with row security,
// and COPY cannot skip a code that exists.
async function insertByCopy(
  trx: Tx,
  batch: IssuableBatch,
  ordinals: number[],
  codes: string[],
): Promise<number> {
  await trx.raw(
    `create temporary table if not exists made_codes (ordinal integer, code text) on commit drop`,
  )
  // knex types a transaction's client as any; it is the one pg connection of this transaction.
  const connection = (await trx.client.acquireConnection()) as pg.Client
  const copy = connection.query(copyFrom('copy made_codes (ordinal, code) from stdin'))
  await pipeline(Readable.from(copyLines(ordinals, codes)), copy)
  const { rowCount } = await trx.raw<{ rowCount: number }>(
    `${INSERT} from made_codes made ${KEEP_THE_FIRST}`,
    bindings(batch),
  )
  await trx.raw(`truncate made_codes`)
  return rowCount
}

/**
 * Writes codes at the given ordinals (both sorted, same length). A code that exists already is left
 * out and its ordinal stays free.
 *
 * @returns how many were written.
 */
export function insertCodes(
  trx: Tx,
  batch: IssuableBatch,
  ordinals: number[],
  codes: string[],
): Promise<number> {
  return codes.length > COPY_ABOVE
    ? insertByCopy(trx, batch, ordinals, codes)
    : insertByUnnest(trx, batch, ordinals, codes)
}
