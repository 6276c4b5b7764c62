import type { Tx } from '../db/connect.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError } from '../shared/errors.ts'
import {
  type AssignableVoucher,
  type AssignmentOutcome,
  type DecidedAssignment,
  decideAssignment,
  emailKey,
  isRefusal,
  readAssignable,
  refusalText,
  saveAssignments,
} from './assign-vouchers.ts'
import {
  type AssignmentFile,
  type AssignmentLine,
  type LineError,
  toFieldError,
} from './assignment-file.ts'
import { lockBatch } from './freeze-vouchers.ts'
import { codeKey } from './voucher.ts'

export type BulkOptions = {
  /** Nothing is locked, saved or sent. */
  dryRun: boolean
  /** Whether a line with a code may replace the person who has it. */
  replace: boolean
  /** Whether the persons get their codes by e-mail. */
  send: boolean
}

/** A line and the voucher that it gets. */
export type AssignedLine = AssignmentLine & { code: string; outcome: AssignmentOutcome }

/** Empty `errors`: every line gets its voucher. Else nothing was saved, and the other lines are a preview. */
export type BulkAssignment = {
  lines: AssignedLine[]
  skipped: number
  errors: LineError[]
}

/** Errors in a problem document; `error_count` has their number. */
const MAX_ERRORS = 100

type Decided = DecidedAssignment & { line: AssignmentLine }
type Plan = { decided: Decided[]; errors: LineError[] }
type Batch = { conferenceId: string; batchId: string; lock: boolean }

/**
 * Assigns vouchers of one batch to the persons of a file: all lines, or none. A line with a code gets that
 * voucher. A line without one gets a voucher that its person already has, else the next free one in the order of
 * issue. So the same file again changes nothing and sends nothing. Two lines with the same address are two
 * vouchers.
 *
 * @param batchId null: nothing was issued for the purchase.
 * @throws AppError `validation_failed` with the errors by line, unless it is a dry run.
 */
export async function assignInBulk(
  trx: Tx,
  caller: Caller,
  batchId: string | null,
  file: AssignmentFile,
  { dryRun, replace, send }: BulkOptions,
): Promise<BulkAssignment> {
  const { conferenceId } = caller
  if (batchId === null) {
    throw new AppError(
      'wrong_state',
      'The purchase has no vouchers: they are issued when it is paid.',
    )
  }
  if (!dryRun) await lockBatch(trx, conferenceId, { id: batchId })
  const batch = { conferenceId, batchId, lock: !dryRun }
  const coded = await planLinesWithCode(trx, batch, file.lines, replace)
  const claimed = coded.decided.map(({ voucher }) => voucher.id)
  const others = await planLinesWithoutCode(trx, batch, file.lines, claimed)
  const decided = [...coded.decided, ...others.decided].toSorted(byLine)
  const errors = [...file.errors, ...coded.errors, ...others.errors].toSorted(
    (a, b) => a.line - b.line,
  )
  if (!dryRun && errors.length > 0) throw fileError(errors)
  if (!dryRun) await saveAssignments(trx, caller, { batchId, send }, decided)
  return { lines: decided.map(toAssignedLine), skipped: file.skipped, errors }
}

const byLine = (a: Decided, b: Decided) => a.line.line - b.line.line

const toAssignedLine = ({ line, voucher, outcome }: Decided): AssignedLine => ({
  ...line,
  code: voucher.code,
  // A name that the file does not give stays.
  name: line.name ?? (outcome === 'unchanged' ? (voucher.assignedTo?.name ?? null) : null),
  outcome,
})

async function planLinesWithCode(
  trx: Tx,
  batch: Batch,
  lines: readonly AssignmentLine[],
  replace: boolean,
): Promise<Plan> {
  const plan: Plan = { decided: [], errors: [] }
  const keys = lines.flatMap(({ code }) => (code === null ? [] : [codeKey(code)]))
  if (keys.length === 0) return plan
  const vouchers = await readAssignable(
    trx,
    batch,
    'v.code_key = any(cast(:keys as text[])) order by v.id',
    { keys },
  )
  const byKey = new Map(vouchers.map((voucher) => [voucher.codeKey, voucher]))
  const lineOf = new Map<string, number>()
  for (const line of lines) {
    if (line.code === null) continue
    const key = codeKey(line.code)
    const voucher = byKey.get(key)
    const earlier = lineOf.get(key)
    const fail = (detail: string) => plan.errors.push({ line: line.line, column: 'code', detail })
    if (earlier !== undefined) fail(`is also in line ${earlier}`)
    else if (voucher === undefined) fail('is not a code of these vouchers')
    else {
      lineOf.set(key, line.line)
      decideLine(plan, line, voucher, replace ? undefined : null)
    }
  }
  return plan
}

function decideLine(
  plan: Plan,
  line: AssignmentLine,
  voucher: AssignableVoucher,
  replaces: null | undefined,
): void {
  const outcome = decideAssignment(voucher, line, replaces)
  if (isRefusal(outcome)) {
    plan.errors.push({ line: line.line, column: 'code', detail: refusalText(outcome, voucher) })
  } else {
    plan.decided.push({ line, voucher, assignee: line, outcome })
  }
}

async function planLinesWithoutCode(
  trx: Tx,
  batch: Batch,
  lines: readonly AssignmentLine[],
  claimed: readonly number[],
): Promise<Plan> {
  const plan: Plan = { decided: [], errors: [] }
  const open = lines.filter(({ code }) => code === null)
  if (open.length === 0) return plan
  const owned = await vouchersByPerson(trx, batch, open, claimed)
  const needing = open.filter((line) => {
    const voucher = owned.get(emailKey(line.email))?.shift()
    if (voucher !== undefined) decideLine(plan, line, voucher, null)
    return voucher === undefined
  })
  const free = await readFree(trx, batch, claimed, needing.length)
  needing.forEach((line, index) => {
    const voucher = free[index]
    if (voucher === undefined) {
      const detail = `There is no free voucher for this line: ${free.length} are free, and ${needing.length} lines need one.`
      plan.errors.push({ line: line.line, column: null, detail })
    } else {
      decideLine(plan, line, voucher, null)
    }
  })
  return plan
}

/** The vouchers that the persons have already, in the order of issue. Deactivated ones do not count. */
async function vouchersByPerson(
  trx: Tx,
  batch: Batch,
  lines: readonly AssignmentLine[],
  claimed: readonly number[],
): Promise<Map<string, AssignableVoucher[]>> {
  const vouchers = await readAssignable(
    trx,
    batch,
    `v.id = any(array(
       select p.voucher_id from voucher_assignments p
       where p.conference_id = :conferenceId and p.email_key = any(cast(:emails as text[]))))
     and v.state <> 'deactivated' and v.id <> all(cast(:claimed as bigint[]))
     order by v.ordinal`,
    { emails: [...new Set(lines.map(({ email }) => emailKey(email)))], claimed },
  )
  const owned = new Map<string, AssignableVoucher[]>()
  for (const voucher of vouchers) {
    const key = voucher.assignedTo?.emailKey ?? ''
    owned.set(key, [...(owned.get(key) ?? []), voucher])
  }
  return owned
}

/** The next free vouchers. A statement that waited for a redemption reads the voucher again, and takes another. */
function readFree(
  trx: Tx,
  batch: Batch,
  claimed: readonly number[],
  count: number,
): Promise<AssignableVoucher[]> {
  if (count === 0) return Promise.resolve([])
  return readAssignable(
    trx,
    batch,
    `v.state = 'active' and v.times_used = 0
       and (b.valid_until is null or b.valid_until > statement_timestamp())
       and v.id <> all(cast(:claimed as bigint[])) and a.email is null
     order by v.ordinal limit :count`,
    { claimed, count },
  )
}

function fileError(errors: readonly LineError[]): AppError {
  const count = errors.length
  const [first] = errors
  return new AppError(
    'validation_failed',
    `Nothing was assigned: ${count === 1 ? 'one line is' : `${count} problems are`} to be corrected, the first in line ${first?.line ?? 1}.`,
    { errors: errors.slice(0, MAX_ERRORS).map(toFieldError), extra: { error_count: count } },
  )
}
