import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { customAlphabet } from 'nanoid'
import { from as copyFrom } from 'pg-copy-streams'
import { codeLengthOf } from '../conferences/conference-store.ts'
import type { Tx } from '../db/connect.ts'
import { PREPARED, withCopy } from '../db/pipeline.ts'
import { publishEvent } from '../notifications/outbound-events.ts'
import { newId } from '../shared/ids.ts'
import {
  LOCKED_COLUMNS,
  type LockedBatch,
  type LockedRow,
  realignBatch,
  toLockedBatch,
} from './align-vouchers.ts'
import { countIssuedAgain } from './voucher-counts.ts'
import type { VoucherTerms } from './voucher-terms.ts'

/** Where the vouchers come from: a paid purchase, a staff member, or a sponsor's level. */
type BatchSource = 'purchase' | 'staff' | 'comp'

/** Everything that the vouchers of one batch share. */
export type BatchSpec = {
  conferenceId: string
  source: BatchSource
  purchaseId: string | null
  sponsorId: string | null
  /** 1 to 1,000,000. */
  count: number
  /** ISO 4217: the currency of a fixed discount. */
  currency: string
  ticketTypeId: string | null
  addOnId: string | null
  terms: VoucherTerms
  createdBy: string
}

/**
 * Issues the vouchers of a batch. Called again for the same purchase, or for the same sponsor's
 * complimentary codes, it issues only missing ordinals, by the stored batch and not by the spec.
 * Parallel calls for one purchase wait for each other. The cost per code does not depend on how many
 * codes exist, and the memory does not depend on the count.
 *
 * @param makeCodes must return sorted codes; tests pass one whose codes collide.
 * @returns `issued`: how many vouchers this call issued.
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
  // A batch counts all its vouchers as issued from the beginning.
  if (issued > 0 && !batch.fresh) await countIssuedAgain(trx, batch, issued)
  if (issued > 0) {
    const { conferenceId, source, purchaseId, sponsorId } = spec
    await publishEvent(trx, {
      conferenceId,
      type: 'vouchers.issued',
      data: { batch: batch.id, purchase: purchaseId, sponsor: sponsorId, source, count: issued },
    })
    // New vouchers are active. The missing ones of an earlier batch may have to be frozen or inactive.
    await realignBatch(trx, batch)
  }
  return { batchId: batch.id, issued }
}

/** A locked batch with the columns that issuing needs. */
type IssuableBatch = LockedBatch & {
  prefix: string
  /** Random symbols of a code, 8 to 32: what the conference had set when the batch was inserted. */
  codeLength: number
  maxUses: number
  /** Whether this transaction inserted the batch, so that it has no vouchers yet. */
  fresh: boolean
}

type IssuableRow = LockedRow & { prefix: string; code_length: number; max_uses: number }

const ISSUABLE_COLUMNS = [...LOCKED_COLUMNS, 'prefix', 'code_length', 'max_uses'] as const

async function insertBatch(trx: Tx, spec: BatchSpec): Promise<IssuableRow | undefined> {
  const { terms } = spec
  const [row] = await trx('voucher_batches')
    .options(PREPARED)
    .insert({
      conference_id: spec.conferenceId,
      id: newId('voucherBatch'),
      source: spec.source,
      purchase_id: spec.purchaseId,
      sponsor_id: spec.sponsorId,
      count: spec.count,
      prefix: terms.prefix,
      code_length: codeLengthOf(trx, spec.conferenceId),
      voucher_type: terms.voucherType,
      discount_value: terms.discountValue,
      currency: spec.currency,
      max_uses: terms.maxUses,
      valid_from: terms.validFrom,
      valid_until: terms.validUntil,
      unlocks_hidden_tickets: terms.unlocksHiddenTickets,
      ticket_type_id: spec.ticketTypeId,
      add_on_id: spec.addOnId,
      created_by: spec.createdBy,
    })
    .onConflict()
    .ignore()
    .returning<IssuableRow[]>([...ISSUABLE_COLUMNS])
  return row
}

/**
 * Locks the batch of a purchase, or of a sponsor's complimentary vouchers, and inserts it if there is
 * none; a staff batch is always new. Whoever issues vouchers, changes their state or locks more than one
 * of them locks their batches first, so that these transactions run one after the other.
 */
async function takeBatch(trx: Tx, spec: BatchSpec): Promise<IssuableBatch> {
  const { conferenceId } = spec
  const inserted = await insertBatch(trx, spec)
  const row =
    inserted ??
    (await trx('voucher_batches')
      .where({ conference_id: conferenceId, source: spec.source })
      .where(
        spec.source === 'purchase'
          ? { purchase_id: spec.purchaseId }
          : { sponsor_id: spec.sponsorId },
      )
      .forNoKeyUpdate()
      .first<IssuableRow | undefined>([...ISSUABLE_COLUMNS]))
  if (row === undefined) throw new Error('The batch was neither inserted nor found')
  return {
    ...toLockedBatch(conferenceId, row),
    prefix: row.prefix,
    codeLength: row.code_length,
    maxUses: row.max_uses,
    fresh: inserted !== undefined,
  }
}

/** Generates distinct codes; a test passes one whose codes collide. */
export type CodeMaker = (prefix: string, codeLength: number, count: number) => string[]

/** 32 symbols without 0 and O, 1 and I: people read codes aloud and type them from paper. */
const randomPart = customAlphabet('23456789ABCDEFGHJKLMNPQRSTUVWXYZ')

/**
 * Generates unguessable codes: the prefix and `codeLength` random symbols (12 of 32 are 60 bits).
 *
 * They are sorted, because rows that are inserted in index order touch each index page once.
 */
export const newCodes: CodeMaker = (prefix, codeLength, count) =>
  Array.from({ length: count }, () => prefix + randomPart(codeLength)).sort()

// How many codes are in memory at a time, for a batch of any size.
const WINDOW_SIZE = 50_000

// With eight symbols and a million existing codes, about one new code in a million collides. Ten rounds
// without a new code mean that all codes are used or the random source is broken.
const MAX_FRUITLESS_ROUNDS = 10

type Window = { first: number; last: number }

function windows(count: number): Window[] {
  return Array.from({ length: Math.ceil(count / WINDOW_SIZE) }, (_, i) => ({
    first: i * WINDOW_SIZE + 1,
    last: Math.min((i + 1) * WINDOW_SIZE, count),
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

const allOrdinals = ({ first, last }: Window) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i)

async function fillWindow(
  trx: Tx,
  batch: IssuableBatch,
  window: Window,
  makeCodes: CodeMaker,
): Promise<number> {
  let issued = 0
  let fruitless = 0
  let missing = batch.fresh ? allOrdinals(window) : await missingOrdinals(trx, batch, window)
  while (missing.length > 0) {
    const codes = makeCodes(batch.prefix, batch.codeLength, missing.length)
    const written = await insertCodes(trx, batch, missing, codes)
    issued += written
    if (written === missing.length) break
    fruitless = written === 0 ? fruitless + 1 : 0
    if (fruitless === MAX_FRUITLESS_ROUNDS) {
      throw new Error(`Every code generated for batch ${batch.id} already exists`)
    }
    missing = await missingOrdinals(trx, batch, window)
  }
  return issued
}

// Above this many codes, COPY avoids an array parameter of megabytes.
const COPY_THRESHOLD = 10_000

// With one conflict target, Postgres checks one index instead of three. Under the batch's lock no other
// conflict can occur.
const INSERT = `
  insert into vouchers (conference_id, batch_id, ordinal, code, code_key, max_uses)
  select :conferenceId, :batchId, made.ordinal, made.code,
    upper(translate(made.code, ' -', '')) collate "C", :maxUses`
const SKIP_EXISTING = `
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
     ${SKIP_EXISTING}`,
    { ...bindings(batch), ordinals, codes },
  )
  return rowCount
}

// Codes are [A-Z0-9-], so COPY needs no escaping. Groups of lines keep the stream's overhead per code
// small.
function* copyLines(ordinals: number[], codes: string[]): Generator<string> {
  const GROUP = 1_000
  for (let start = 0; start < codes.length; start += GROUP) {
    const group = codes.slice(start, start + GROUP)
    yield group.map((code, i) => `${ordinals[start + i]}\t${code}\n`).join('')
  }
}

// COPY writes to a temporary table: Postgres refuses COPY FROM on a table with row security, and COPY
// cannot skip codes that exist.
async function insertByCopy(
  trx: Tx,
  batch: IssuableBatch,
  ordinals: number[],
  codes: string[],
): Promise<number> {
  await trx.raw(
    `create temporary table if not exists made_codes (ordinal integer, code text) on commit drop`,
  )
  await withCopy(trx, (connection) => {
    const copy = connection.query(copyFrom('copy made_codes (ordinal, code) from stdin'))
    return pipeline(Readable.from(copyLines(ordinals, codes)), copy)
  })
  const { rowCount } = await trx.raw<{ rowCount: number }>(
    `${INSERT} from made_codes made ${SKIP_EXISTING}`,
    bindings(batch),
  )
  await trx.raw(`truncate made_codes`)
  return rowCount
}

/**
 * Inserts codes at the given ordinals (both sorted, same length). A code that already exists is skipped,
 * and its ordinal stays free.
 *
 * @returns how many were inserted.
 */
function insertCodes(
  trx: Tx,
  batch: IssuableBatch,
  ordinals: number[],
  codes: string[],
): Promise<number> {
  return codes.length > COPY_THRESHOLD
    ? insertByCopy(trx, batch, ordinals, codes)
    : insertByUnnest(trx, batch, ordinals, codes)
}
