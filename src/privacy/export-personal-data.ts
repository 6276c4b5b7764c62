import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { MIRROR_TABLES } from './personal-data.ts'
import { matchSql, patternOf, TEXT_TABLES, tenantSql } from './redact-texts.ts'
import { findTerms, lockMarks, markEmails, markObjects, type SubjectRef } from './subject.ts'

type Row = Record<string, unknown>

/** All rows about a subject, by table. */
export type PersonalData = Record<string, Row[]>

/** Secrets, and texts that only this service can use. The codes of vouchers have an export of their own. */
const LEFT_OUT = [
  'conference_id',
  'secret_hash',
  'secret_sealed',
  'previous_secret_sealed',
  'code',
  'code_key',
  'body',
]

/** The records of a sponsor that do not name it. */
const OF_SPONSOR = {
  sponsors: 'id = :sponsorId',
  api_keys: 'sponsor_id = :sponsorId',
  customers: 'sponsor_id = :sponsorId',
  bulk_purchases: 'sponsor_id = :sponsorId',
  charges: 'sponsor_id = :sponsorId',
  voucher_batches: 'sponsor_id = :sponsorId',
  users: 'sponsor_id = :sponsorId',
  voucher_assignments: 'sponsor_id = :sponsorId',
  ...Object.fromEntries(
    ['payments', 'payment_attempts', 'payment_refunds', 'payment_disputes'].map((table) => [
      table,
      `owner_id in (
        select id from bulk_purchases where conference_id = :conferenceId and sponsor_id = :sponsorId
        union all select id from charges where conference_id = :conferenceId and sponsor_id = :sponsorId)`,
    ]),
  ),
} as const

/**
 * Everything that an erasure of the subject would find, and the records of a sponsor: it marks the subject as
 * an erasure does, reads what the marks find, and rolls the marks back.
 *
 * @throws AppError `not_found` for an unknown sponsor.
 */
export function exportPersonalData(
  db: Db,
  conferenceId: string,
  subject: SubjectRef,
): Promise<PersonalData> {
  return withTenant(db, { conferenceId }, async (trx) => {
    await trx.raw('savepoint before_marks')
    const found = await collect(trx, conferenceId, subject)
    await trx.raw('rollback to savepoint before_marks')
    return found
  })
}

async function collect(trx: Tx, conferenceId: string, subject: SubjectRef): Promise<PersonalData> {
  const found: PersonalData = {}
  const pattern = await mark(trx, conferenceId, subject)
  const values = {
    conferenceId,
    pattern: pattern ?? '',
    sponsorId: subject.kind === 'sponsor' ? subject.sponsorId : '',
    email: subject.kind === 'person' ? subject.email : '',
  }
  const add = async (
    table: string,
    where: string,
    row = `to_jsonb(t) - cast(:leftOut as text[])`,
  ) => {
    const { rows } = await trx.raw<{ rows: { row: Row }[] }>(
      `select ${row} as row from ${table} as t where ${tenantSql(table, 't')} and (${where})`,
      { ...values, leftOut: LEFT_OUT },
    )
    if (rows.length > 0) found[table] = rows.map((each) => each.row)
  }
  const ofSubject: Record<string, string> =
    subject.kind === 'sponsor'
      ? OF_SPONSOR
      : {
          sponsors: 'lower(contact_email) = lower(:email)',
          users: 'email_key = lower(:email)',
          voucher_assignments: 'email_key = lower(:email)',
          customers: `lower(:email) in (lower(email), lower(params ->> 'email'))`,
        }
  for (const table of new Set([...Object.keys(ofSubject), ...TEXT_TABLES])) {
    const matches = pattern === null || !TEXT_TABLES.includes(table) ? [] : [matchSql(table)]
    const where = [...(ofSubject[table] === undefined ? [] : [ofSubject[table]]), ...matches]
    if (where.length > 0) await add(table, where.join(' or '))
  }
  await add(
    'stripe_events',
    't.body is not null and redact_event(t.conference_id, t.body) <> t.body',
    `convert_from(t.body, 'UTF8')::jsonb`,
  )
  for (const table of MIRROR_TABLES)
    await add(table, 'is_erased(t.conference_id, t.data)', 't.data')
  return found
}

async function mark(trx: Tx, conferenceId: string, subject: SubjectRef): Promise<string | null> {
  await lockMarks(trx, conferenceId)
  // Of other subjects: their rows are not this one's.
  await trx('erased_subjects').where({ conference_id: conferenceId }).delete()
  const terms = await findTerms(trx, conferenceId, subject)
  await markEmails(trx, conferenceId, terms.emails)
  await markObjects(trx, conferenceId, subject)
  return patternOf(terms)
}
