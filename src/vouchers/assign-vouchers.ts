import type { Tx } from '../db/connect.ts'
import { indexAssignments, unindexAssignments } from '../db/text-search.ts'
import { addJobs } from '../jobs/job-queue.ts'
import type { Caller } from '../shared/caller.ts'
import { AppError } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { lockBatch } from './freeze-vouchers.ts'
import { codeKey, INVALID_REASON, type InvalidReason, type Voucher } from './voucher.ts'
import { getVoucher, JOIN_ASSIGNMENTS } from './voucher-store.ts'

// Every change of an assignment runs under the lock of the voucher's batch, so parallel changes run one after
// the other, and an upload finds each free voucher once. It locks the vouchers too, as a redemption does,
// so that none is redeemed in between.

/** The person to whom a voucher is to be assigned. */
export type Assignee = { email: string; name: string | null }

/** The form in which addresses are compared, as the column `email_key` has it. */
export const emailKey = (email: string) => email.toLowerCase()

/** A voucher that is to be assigned, locked. */
export type AssignableVoucher = {
  id: number
  code: string
  codeKey: string
  timesUsed: number
  invalidReason: InvalidReason | null
  /** To whom it is assigned now. */
  assignedTo: (Assignee & { emailKey: string }) | null
}

/** What an assignment does. `updated`: the person stays, the name changes, and no e-mail is sent. */
export const ASSIGNMENT_OUTCOMES = ['assigned', 'replaced', 'updated', 'unchanged'] as const

export type AssignmentOutcome = (typeof ASSIGNMENT_OUTCOMES)[number]

export type AssignmentRefusal = 'redeemed' | 'invalid' | 'already_assigned'

/**
 * Decides what assigning a voucher to a person does, or why it is refused. A name that is not given stays.
 *
 * @param replaces the address that may be replaced, null for none; undefined: any.
 */
export function decideAssignment(
  { assignedTo, timesUsed, invalidReason }: AssignableVoucher,
  { email, name }: Assignee,
  replaces: string | null | undefined,
): AssignmentOutcome | AssignmentRefusal {
  if (assignedTo?.emailKey === emailKey(email)) {
    return name === null || name === assignedTo.name ? 'unchanged' : 'updated'
  }
  if (assignedTo !== null && replaces !== undefined) {
    if (replaces === null || emailKey(replaces) !== assignedTo.emailKey) return 'already_assigned'
  }
  if (timesUsed > 0) return 'redeemed'
  const mayBecomeValid = invalidReason === 'not_yet_valid' || invalidReason === 'published'
  if (invalidReason !== null && !mayBecomeValid) return 'invalid'
  return assignedTo === null ? 'assigned' : 'replaced'
}

/** Why a voucher was not assigned, as a sentence. */
export function refusalText(refusal: AssignmentRefusal, voucher: AssignableVoucher): string {
  if (refusal === 'redeemed') return 'The voucher was redeemed, so its assignment is final.'
  if (refusal === 'already_assigned') return 'The voucher is assigned to another person.'
  return `The voucher is ${(voucher.invalidReason ?? 'invalid').replaceAll('_', ' ')}, so it cannot be assigned.`
}

export const isRefusal = (
  decision: AssignmentOutcome | AssignmentRefusal,
): decision is AssignmentRefusal => !(ASSIGNMENT_OUTCOMES as readonly string[]).includes(decision)

export type AssignOptions = {
  /** The address that may be replaced, null for none. Undefined: any. */
  replaces?: string | null | undefined
  /** Whether the person gets the code by e-mail. */
  send: boolean
}

/**
 * Assigns a voucher to a person, who gets the code by e-mail. The same person again is a no-op, except that
 * a new name is stored. A former person gets no e-mail, but still knows the code.
 *
 * @throws AppError `not_found`, also for another sponsor's voucher; `already_assigned` against `replaces`;
 * `wrong_state` if the voucher was redeemed, or cannot be redeemed now or later.
 */
export async function assignVoucher(
  trx: Tx,
  caller: Caller,
  code: string,
  assignee: Assignee,
  { replaces, send }: AssignOptions,
): Promise<Voucher> {
  const { batchId, voucher } = await lockVoucher(trx, caller, code)
  const decision = decideAssignment(voucher, assignee, replaces)
  if (isRefusal(decision)) {
    const detail = refusalText(decision, voucher)
    if (decision === 'already_assigned') throw new AppError('already_assigned', detail)
    throw new AppError('wrong_state', detail, {
      extra: { times_used: voucher.timesUsed, invalid_reason: voucher.invalidReason },
    })
  }
  await saveAssignments(trx, caller, { batchId, send }, [{ voucher, assignee, outcome: decision }])
  return getVoucher(trx, caller.conferenceId, code)
}

/**
 * Removes the assignment of a voucher. The former person gets no e-mail, but still knows the code. Without an
 * assignment it is a no-op.
 *
 * @throws AppError `not_found`; `wrong_state` if the voucher was redeemed.
 */
export async function unassignVoucher(trx: Tx, caller: Caller, code: string): Promise<Voucher> {
  const { conferenceId } = caller
  const { voucher } = await lockVoucher(trx, caller, code)
  if (voucher.assignedTo !== null) {
    if (voucher.timesUsed > 0) {
      throw new AppError('wrong_state', refusalText('redeemed', voucher), {
        extra: { times_used: voucher.timesUsed, invalid_reason: voucher.invalidReason },
      })
    }
    await trx('voucher_assignments')
      .where({ conference_id: conferenceId, voucher_id: voucher.id })
      .delete()
    await unindexAssignments(trx, conferenceId, [String(voucher.id)])
  }
  return getVoucher(trx, conferenceId, code)
}

/**
 * Sends the code to the person to whom the voucher is assigned, again if necessary.
 *
 * @throws AppError `not_found`; `wrong_state` without an assignment, or if the voucher cannot be redeemed.
 */
export async function sendAssignment(trx: Tx, caller: Caller, code: string): Promise<Voucher> {
  const { conferenceId } = caller
  const { voucher } = await lockVoucher(trx, caller, code)
  if (voucher.assignedTo === null) {
    throw new AppError('wrong_state', 'The voucher is assigned to no one. Assign it first.')
  }
  if (!isMailable(voucher.invalidReason)) {
    throw new AppError('wrong_state', 'The voucher cannot be redeemed, so its code is not sent.', {
      extra: { times_used: voucher.timesUsed, invalid_reason: voucher.invalidReason },
    })
  }
  const message = newId('mail')
  await trx('voucher_assignments')
    .where({ conference_id: conferenceId, voucher_id: voucher.id })
    .update({ message })
  await addMailJobs(trx, conferenceId, [{ id: voucher.id, message }])
  return getVoucher(trx, conferenceId, code)
}

/** Whether the code of such a voucher is sent to a person. */
export const isMailable = (reason: InvalidReason | null) =>
  reason === null || reason === 'not_yet_valid' || reason === 'published'

async function lockVoucher(
  trx: Tx,
  { conferenceId, sponsorId }: Caller,
  code: string,
): Promise<{ batchId: string; voucher: AssignableVoucher }> {
  const { batchId } = await getVoucher(trx, conferenceId, code, sponsorId)
  await lockBatch(trx, conferenceId, { id: batchId })
  const [voucher] = await readAssignable(
    trx,
    { conferenceId, batchId, lock: true },
    'v.code_key = :key',
    {
      key: codeKey(code),
    },
  )
  if (voucher === undefined) throw new Error('The voucher was found, but not in its batch')
  return { batchId, voucher }
}

type AssignableRow = {
  id: number
  code: string
  code_key: string
  times_used: number
  invalid_reason: InvalidReason | null
  email: string | null
  email_key: string | null
  name: string | null
}

/**
 * Vouchers of a batch with their assignments. With `lock`, they are locked against redemptions until the
 * transaction ends.
 *
 * @param condition SQL about `v` and `a`, without values, and what follows up to the limit.
 */
export async function readAssignable(
  trx: Tx,
  batch: { conferenceId: string; batchId: string; lock: boolean },
  condition: string,
  bindings: Record<string, string | number | readonly (string | number)[]>,
): Promise<AssignableVoucher[]> {
  const { conferenceId, batchId, lock } = batch
  const { rows } = await trx.raw<{ rows: AssignableRow[] }>(
    `select v.id, v.code, v.code_key, v.times_used, ${INVALID_REASON} as invalid_reason,
       a.email, a.email_key, a.name
     from vouchers v
     join voucher_batches b on b.conference_id = v.conference_id and b.id = v.batch_id
     ${JOIN_ASSIGNMENTS}
     where v.conference_id = :conferenceId and v.batch_id = :batchId and ${condition}
     ${lock ? 'for no key update of v' : ''}`,
    { conferenceId, batchId, ...bindings },
  )
  return rows.map((row) => ({
    id: row.id,
    code: row.code,
    codeKey: row.code_key,
    timesUsed: row.times_used,
    invalidReason: row.invalid_reason,
    assignedTo:
      row.email === null || row.email_key === null
        ? null
        : { email: row.email, emailKey: row.email_key, name: row.name },
  }))
}

/** A decision about one voucher. */
export type DecidedAssignment = {
  voucher: AssignableVoucher
  assignee: Assignee
  outcome: AssignmentOutcome
}

/** Saves decisions about vouchers of one locked batch, and adds the e-mails to new persons. */
export async function saveAssignments(
  trx: Tx,
  caller: Caller,
  { batchId, send }: { batchId: string; send: boolean },
  decided: readonly DecidedAssignment[],
): Promise<void> {
  const { conferenceId } = caller
  const persons = decided
    .filter(({ outcome }) => outcome === 'assigned' || outcome === 'replaced')
    .map((decision) => ({ ...decision, message: send ? newId('mail') : null }))
  const names = decided.filter(({ outcome }) => outcome === 'updated')
  const saved = [
    ...(await savePersons(trx, caller, batchId, persons)),
    ...(await saveNames(trx, conferenceId, names)),
  ]
  if (saved.length === 0) return
  const entries = saved.map(({ id, listed_at: listedAt, email, name }) => ({
    id: String(id),
    listedAt,
    text: `${email}\n${name ?? ''}`,
  }))
  await indexAssignments(trx, conferenceId, entries)
  await addMailJobs(
    trx,
    conferenceId,
    persons.flatMap(({ voucher: { id }, message }) => (message === null ? [] : [{ id, message }])),
  )
}

type SavedRow = { id: number; listed_at: string; email: string; name: string | null }

const SAVED = 'a.voucher_id as id, a.assigned_at::text as listed_at, a.email, a.name'

async function savePersons(
  trx: Tx,
  { conferenceId, actor }: Caller,
  batchId: string,
  persons: readonly (DecidedAssignment & { message: string | null })[],
): Promise<SavedRow[]> {
  if (persons.length === 0) return []
  const { rows } = await trx.raw<{ rows: SavedRow[] }>(
    `insert into voucher_assignments as a
       (conference_id, voucher_id, sponsor_id, email, name, assigned_by, message)
     select :conferenceId, p.id, b.sponsor_id, p.email, p.name, :by, p.message
     from unnest(cast(:ids as bigint[]), cast(:emails as text[]), cast(:names as text[]),
       cast(:messages as text[])) as p (id, email, name, message)
     join voucher_batches b on b.conference_id = :conferenceId and b.id = :batchId
     order by p.id -- as an erasure locks them
     on conflict (conference_id, voucher_id) do update set email = excluded.email, name = excluded.name,
       assigned_at = excluded.assigned_at, assigned_by = excluded.assigned_by,
       message = excluded.message, sent_at = null
     returning ${SAVED}`,
    {
      conferenceId,
      batchId,
      by: actor.id,
      ids: persons.map(({ voucher }) => voucher.id),
      emails: persons.map(({ assignee }) => assignee.email),
      names: persons.map(({ assignee }) => assignee.name),
      messages: persons.map(({ message }) => message),
    },
  )
  return rows
}

async function saveNames(
  trx: Tx,
  conferenceId: string,
  names: readonly DecidedAssignment[],
): Promise<SavedRow[]> {
  if (names.length === 0) return []
  const { rows } = await trx.raw<{ rows: SavedRow[] }>(
    `update voucher_assignments a set name = n.name
     from unnest(cast(:ids as bigint[]), cast(:names as text[])) as n (id, name)
     where a.conference_id = :conferenceId and a.voucher_id = n.id
     returning ${SAVED}`,
    {
      conferenceId,
      ids: names.map(({ voucher }) => voucher.id),
      names: names.map(({ assignee }) => assignee.name),
    },
  )
  return rows
}

async function addMailJobs(
  trx: Tx,
  conferenceId: string,
  mails: readonly { id: number; message: string }[],
): Promise<void> {
  await addJobs(
    trx,
    'mail_assignment',
    mails.map(({ id, message }) => ({ conference_id: conferenceId, voucher_id: id, message })),
  )
}
