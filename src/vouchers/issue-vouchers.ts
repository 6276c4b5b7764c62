import { randomInt } from 'node:crypto'
import type { Knex } from 'knex'
import { customAlphabet } from 'nanoid'
import { codeLengthOf } from '../conferences/conference-store.ts'
import type { Tx } from '../db/connect.ts'
import { isDeadlock, isUniqueViolation } from '../db/pg-errors.ts'
import { PREPARED, runInOrder } from '../db/pipeline.ts'
import { publishEvent } from '../notifications/outbound-events.ts'
import { newId } from '../shared/ids.ts'
import { inSpan } from '../shared/work-context.ts'
import {
  LOCKED_COLUMNS,
  type LockedBatch,
  type LockedRow,
  realignBatch,
  toLockedBatch,
} from './freeze-vouchers.ts'
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
export function issueVouchers(
  trx: Tx,
  spec: BatchSpec,
  makeCodes: CodeMaker = newCodes,
): Promise<{ batchId: string; issued: number }> {
  return inSpan('issue vouchers', {}, async (span) => {
    const result = await issueMissing(trx, spec, makeCodes)
    span?.set({ 'sponsor_vouchers.vouchers_issued': result.issued })
    return result
  })
}

async function issueMissing(
  trx: Tx,
  spec: BatchSpec,
  makeCodes: CodeMaker,
): Promise<{ batchId: string; issued: number }> {
  const batch = await takeBatch(trx, spec)
  let issued = 0
  for (const slice of slicesOf(batch.count)) {
    issued += await fillSlice(trx, batch, slice, makeCodes)
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

/** A part of the range of all codes, which is 0 to 1. */
type CodeRange = { from: number; to: number }

const ALL_CODES: CodeRange = { from: 0, to: 1 }

/** Generates sorted codes; a test passes one whose codes collide. */
export type CodeMaker = (
  prefix: string,
  codeLength: number,
  count: number,
  range?: CodeRange,
) => string[]

/** 32 symbols without 0 and O, 1 and I: people read codes aloud and type them from paper. In their order. */
const SYMBOLS = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ'
const randomPart = customAlphabet(SYMBOLS)

// The first symbols of a code are one number, by which codes are sorted. Its range has more values than
// a batch has codes.
const LEADING = 4
const LEADING_VALUES = SYMBOLS.length ** LEADING

function leadingSymbols(value: number): string {
  let symbols = ''
  for (let shift = 5 * (LEADING - 1); shift >= 0; shift -= 5) {
    symbols += SYMBOLS.charAt((value >> shift) & 31)
  }
  return symbols
}

/**
 * Generates unguessable codes: the prefix and `codeLength` random symbols (12 of 32 are 60 bits).
 *
 * They are sorted, because rows that are inserted in index order touch each index page once.
 */
export const newCodes: CodeMaker = (prefix, codeLength, count, { from, to } = ALL_CODES) => {
  const first = Math.floor(from * LEADING_VALUES)
  const end = Math.floor(to * LEADING_VALUES)
  const newCode = () =>
    prefix + leadingSymbols(randomInt(first, end)) + randomPart(codeLength - LEADING)
  return Array.from({ length: count }, newCode).sort()
}

// How many codes are in memory at a time, for a batch of any size. Larger slices are not faster.
const SLICE_SIZE = 10_000

// With eight symbols and a million existing codes, about one new code in a million collides. Ten rounds
// without a new code mean that all codes are used or the random source is broken.
const MAX_FRUITLESS_ROUNDS = 10

/** Ordinals of a batch, which get codes of one part of the range: so a batch is inserted in index order. */
type Slice = { first: number; last: number; range: CodeRange }

function slicesOf(count: number): Slice[] {
  return Array.from({ length: Math.ceil(count / SLICE_SIZE) }, (_, i) => {
    const [before, last] = [i * SLICE_SIZE, Math.min((i + 1) * SLICE_SIZE, count)]
    return { first: before + 1, last, range: { from: before / count, to: last / count } }
  })
}

async function missingOrdinals(
  trx: Tx,
  batch: IssuableBatch,
  { first, last }: Slice,
): Promise<number[]> {
  const { rows } = await trx.raw<{ rows: { ordinal: number }[] }>(
    `select wanted.ordinal
     from generate_series(cast(:first as integer), cast(:last as integer)) as wanted (ordinal)
     where not exists (
       select from vouchers v
       where v.conference_id = :conferenceId and v.batch_id = :batchId
         and v.ordinal = wanted.ordinal)
     order by wanted.ordinal`,
    { first, last, conferenceId: batch.conferenceId, batchId: batch.id },
  )
  return rows.map((row) => row.ordinal)
}

const allOrdinals = ({ first, last }: Slice) =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i)

/** Issues the missing vouchers of a slice. Returns how many. */
async function fillSlice(
  trx: Tx,
  batch: IssuableBatch,
  slice: Slice,
  makeCodes: CodeMaker,
): Promise<number> {
  const wanted = batch.fresh ? allOrdinals(slice) : await missingOrdinals(trx, batch, slice)
  let missing = wanted
  let fruitless = 0
  while (missing.length > 0) {
    const codes = makeCodes(batch.prefix, batch.codeLength, missing.length, slice.range)
    if (await insertCodes(trx, batch, missing, codes)) break
    const left = await missingOrdinals(trx, batch, slice)
    fruitless = left.length === missing.length ? fruitless + 1 : 0
    if (fruitless === MAX_FRUITLESS_ROUNDS) {
      throw new Error(`Every code generated for batch ${batch.id} already exists`)
    }
    missing = left
  }
  return wanted.length
}

const INSERT = `
  insert into vouchers (conference_id, batch_id, ordinal, code, code_key, max_uses)
  select :conferenceId, :batchId, made.ordinal, made.code,
    upper(translate(made.code, ' -', '')) collate "C", :maxUses
  from unnest(cast(:ordinals as integer[]), cast(:codes as text[])) as made (ordinal, code)`
// With one conflict target, Postgres checks one index instead of three. Under the batch's lock no other
// conflict can occur.
const INSERT_NEW = `${INSERT} on conflict (conference_id, code_key) do nothing`

/**
 * Inserts codes at the given ordinals (both sorted, same length). It expects that none of them exists,
 * because looking for each one first takes Postgres a third longer. If one exists, it inserts the others.
 *
 * A code that another transaction has inserted makes this one wait for its end. If both wait for each
 * other's codes, Postgres fails one of them, which then needs other codes.
 *
 * @returns whether all were inserted. If not, some ordinals are still free.
 */
async function insertCodes(
  trx: Tx,
  batch: IssuableBatch,
  ordinals: number[],
  codes: string[],
): Promise<boolean> {
  const { conferenceId, id: batchId, maxUses } = batch
  const values = { conferenceId, batchId, maxUses, ordinals, codes }
  const first = await tryInsert(trx, trx.raw(INSERT, values))
  if (first === 'code exists') await tryInsert(trx, trx.raw(INSERT_NEW, values))
  return first === 'inserted'
}

/** Runs the insert in one round trip with a savepoint, so that the transaction can go on after a failure. */
async function tryInsert(
  trx: Tx,
  insert: Knex.Raw,
): Promise<'inserted' | 'code exists' | 'deadlock'> {
  try {
    await runInOrder(trx, [trx.raw('savepoint codes'), insert, trx.raw('release codes')])
    return 'inserted'
  } catch (error) {
    const exists = isUniqueViolation(error, 'vouchers_code_key')
    if (!exists && !isDeadlock(error)) throw error
    await trx.raw('rollback to codes; release codes')
    return exists ? 'code exists' : 'deadlock'
  }
}
