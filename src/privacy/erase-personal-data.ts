import { setTimeout as sleep } from 'node:timers/promises'
import { forgetSignIns } from '../access/sign-in.ts'
import type { Db, Tx } from '../db/connect.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { unindexAssignments } from '../db/text-search.ts'
import { addJob } from '../jobs/job-queue.ts'
import type { Actor } from '../shared/caller.ts'
import type { Encryption } from '../shared/cryptography.ts'
import { AppError } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import { lockSponsor } from '../sponsors/sponsor-store.ts'
import { type Erasure, getErasure, termsContext } from './erasure-store.ts'
import { MIRROR_TABLES } from './personal-data.ts'
import {
  changePage,
  type Page,
  patternOf,
  redactJson,
  redactPage,
  TEXT_TABLES,
} from './redact-texts.ts'
import {
  ERASED_SPONSOR,
  findTerms,
  lockMarks,
  markEmails,
  markObjects,
  refuseOpenMoney,
  type SubjectRef,
  type Terms,
} from './subject.ts'

export type EraseDeps = {
  db: Db
  encryption: Encryption
  /** Changes the stored answers to requests with an Idempotency-Key. Returns how many it changed. */
  redactAnswers: RedactAnswers
}

export type RedactAnswers = (
  conferenceId: string,
  redact: (text: unknown) => unknown,
) => Promise<number>

type ErasureRef = { conferenceId: string; erasureId: string }

// Longer than most erasures take, so that the job usually has nothing to do.
const JOB_DELAY_MS = 60_000

/**
 * Begins an erasure. From the commit on, the subject's own rows have no name and no address, nothing of it
 * comes back from Stripe, and a job finishes the erasure if this process dies. A subject has one erasure:
 * a repeat continues it.
 *
 * @returns its id.
 * @throws AppError `not_found`, `money_open`
 */
export async function beginErasure(
  trx: Tx,
  encryption: Encryption,
  requester: { conferenceId: string; actor: Actor },
  subject: SubjectRef,
): Promise<string> {
  const { conferenceId, actor } = requester
  await lockMarks(trx, conferenceId)
  if (subject.kind === 'sponsor') await lockSponsor(trx, conferenceId, subject.sponsorId)
  const found = await findTerms(trx, conferenceId, subject)
  await markEmails(trx, conferenceId, found.emails)
  await markObjects(trx, conferenceId, subject)
  await refuseOpenMoney(trx, conferenceId, subject)
  const { rows } = await trx.raw<{ rows: { id: string; terms_sealed: string }[] }>(
    `insert into erasures (conference_id, id, subject, sponsor_id, token, terms_sealed, stripe_customers,
       requested_by)
     values (:conferenceId, :id, :kind, :sponsorId,
       coalesce(:sponsorId, email_token(:conferenceId, :email)), '', :customers, :by)
     on conflict (conference_id, token) do update
       set state = 'running', terms_sealed = coalesce(erasures.terms_sealed, ''), finished_at = null
     returning id, terms_sealed`,
    {
      conferenceId,
      id: newId('erasure'),
      kind: subject.kind,
      sponsorId: subject.kind === 'sponsor' ? subject.sponsorId : null,
      email: subject.kind === 'person' ? subject.email : '',
      customers: await customersAtStripe(trx, conferenceId, subject),
      by: actor.id,
    },
  )
  const [row] = rows
  if (row === undefined) throw new Error('The insert returned no row')
  const erasureId = row.id
  const ref = { conferenceId, erasureId }
  const before = openTerms(encryption, ref, row.terms_sealed)
  const terms: Terms = {
    emails: [...new Set([...before.emails, ...found.emails])],
    names: [...new Set([...before.names, ...found.names])],
  }
  await trx('erasures')
    .where({ conference_id: conferenceId, id: erasureId })
    .update({ terms_sealed: encryption.encrypt(JSON.stringify(terms), termsContext(ref)) })
  await eraseOwnRows(trx, ref, subject)
  await addJob(
    trx,
    'finish_erasure',
    { conference_id: conferenceId, id: erasureId },
    { runAt: new Date(Date.now() + JOB_DELAY_MS) },
  )
  return erasureId
}

/** What an erasure that is not done looks for. Its own rows do not show it any more. */
function openTerms(encryption: Encryption, ref: ErasureRef, sealed: string): Terms {
  if (sealed === '') return { emails: [], names: [] }
  // What beginErasure encrypted.
  return JSON.parse(encryption.decrypt(sealed, termsContext(ref))) as Terms
}

/** The subject's customers at Stripe, which keeps what it knows about them. */
async function customersAtStripe(
  trx: Tx,
  conferenceId: string,
  subject: SubjectRef,
): Promise<string[]> {
  const { rows } = await trx.raw<{ rows: { id: string }[] }>(
    subject.kind === 'sponsor'
      ? `select stripe_customer_id as id from customers
         where conference_id = ? and sponsor_id = ? and stripe_customer_id is not null`
      : `select id from stripe.customers where conference_id = ? and lower(email) = lower(?)`,
    [conferenceId, subject.kind === 'sponsor' ? subject.sponsorId : subject.email],
  )
  return rows.map(({ id }) => id)
}

/** An address that cannot receive a mail. @see https://www.rfc-editor.org/rfc/rfc2606 */
const ERASED_ADDRESS = 'erased-'

/** The rows that are about the subject itself: few, so they are erased with the beginning. */
async function eraseOwnRows(trx: Tx, ref: ErasureRef, subject: SubjectRef): Promise<void> {
  const { conferenceId } = ref
  const isSponsor = subject.kind === 'sponsor'
  const who = isSponsor ? subject.sponsorId : subject.email
  const change = async (table: string, sql: string) => {
    const { rowCount, rows } = await trx.raw<{ rowCount: number; rows: { id: string }[] }>(
      `update ${table} ${sql}`,
      { conferenceId, who },
    )
    await count(trx, ref, table, rowCount)
    return rows.map(({ id }) => id)
  }
  const customers = await change(
    'customers',
    `set name = null, email = null, params = '{"name":"***","email":null}', updated_at = now()
     where conference_id = :conferenceId and params ->> 'name' <> '***'
       and (${isSponsor ? 'sponsor_id = :who' : `lower(:who) in (lower(email), lower(params ->> 'email'))`})
     returning sponsor_id as id`,
  )
  const contacts = isSponsor
    ? []
    : await change(
        'sponsors',
        `set contact_email = null, updated_at = now()
         where conference_id = :conferenceId and lower(contact_email) = lower(:who) returning id`,
      )
  await change(
    'users',
    `set email = '${ERASED_ADDRESS}' || substr(md5(id), 1, 16) || '@erased.invalid', name = 'Erased',
       removed_at = coalesce(removed_at, now())
     where conference_id = :conferenceId and email not like '${ERASED_ADDRESS}%'
       and ${isSponsor ? 'sponsor_id = :who' : 'email_key = lower(:who)'} returning id`,
  )
  if (isSponsor) {
    // Releases before 0075 recorded the external id.
    await change(
      'audit_log',
      `set changes = changes || '{"external_id": {"hidden": true}}'
       where conference_id = :conferenceId and object_id = :who
         and changes -> 'external_id' is distinct from '{"hidden": true}'
         and changes -> 'external_id' is not null returning object_id as id`,
    )
    await change(
      'api_keys',
      `set name = 'Erased', revoked_at = coalesce(revoked_at, now())
       where conference_id = :conferenceId and sponsor_id = :who
         and (name <> 'Erased' or revoked_at is null) returning id`,
    )
    await change(
      'sponsors',
      `set name = '${ERASED_SPONSOR}', slug = 'erased-' || substr(md5(id), 1, 16), external_id = null,
         contact_email = null, updated_at = now()
       where conference_id = :conferenceId and id = :who
         and (name <> '${ERASED_SPONSOR}' or contact_email is not null or external_id is not null)
       returning id`,
    )
  }
  // Stripe's customer gets the new name, and no address, as after any change of a sponsor.
  for (const sponsorId of new Set([...customers, ...contacts])) {
    await addJob(trx, 'update_customer', { conference_id: conferenceId, sponsor_id: sponsorId })
  }
}

/** Adds changed rows to the erasure's counts. */
async function count(trx: Tx, ref: ErasureRef, table: string, rows: number): Promise<void> {
  if (rows === 0) return
  await trx.raw(
    `update erasures set erased = erased || jsonb_build_object(
       cast(:table as text), coalesce((erased ->> :table)::bigint, 0) + cast(:rows as bigint))
     where conference_id = :conferenceId and id = :erasureId`,
    { ...ref, table, rows },
  )
}

/**
 * Runs an erasure to its end, in short transactions. It may be repeated, also at the same time: what is
 * erased does not match any more.
 *
 * @throws AppError `not_found`
 */
export async function finishErasure(deps: EraseDeps, ref: ErasureRef): Promise<Erasure> {
  const { db, encryption } = deps
  const { conferenceId, erasureId } = ref
  const inTenant = <T>(work: (trx: Tx) => Promise<T>) => withTenant(db, { conferenceId }, work)
  const { sealed, subject } = await inTenant(async (trx) => loadWork(trx, ref))
  if (sealed === null) return inTenant((trx) => getErasure(trx, conferenceId, erasureId))
  const terms = openTerms(encryption, ref, sealed)
  await olderWritersEnd(db)
  await inTenant(async (trx) => {
    await lockMarks(trx, conferenceId)
    await markObjects(trx, conferenceId, withEmail(subject, terms))
  })

  for (const table of MIRROR_TABLES) {
    await eachPage(inTenant, ref, table, (trx, after) =>
      // The trigger of the table redacts the row.
      changePage(trx, table, { conferenceId }, after, {
        set: 'data = t.data',
        where:
          'is_erased(t.conference_id, t.data) and redact_object(t.data) is distinct from t.data',
      }),
    )
  }
  await eachPage(inTenant, ref, 'stripe_events', (trx, after) =>
    changePage(trx, 'stripe_events', { conferenceId }, after, {
      set: 'body = redact_event(t.conference_id, t.body)',
      where: 't.body is not null and redact_event(t.conference_id, t.body) <> t.body',
    }),
  )
  const whose = subject.kind === 'sponsor' ? 'sponsor_id = :who' : 'email_key = lower(:who)'
  const who = subject.kind === 'sponsor' ? subject.sponsorId : (terms.emails[0] ?? '')
  for (let left = true; left; ) {
    left = await inTenant(async (trx) => {
      const deleted = await deleteAssignments(trx, { conferenceId, who }, whose)
      await count(trx, ref, 'voucher_assignments', deleted)
      return deleted > 0
    })
  }
  const pattern = patternOf(terms)
  if (pattern !== null) {
    for (const table of TEXT_TABLES) {
      await eachPage(inTenant, ref, table, (trx, after) =>
        redactPage(trx, table, conferenceId, pattern, after),
      )
    }
    await inTenant(async (trx) => {
      await count(trx, ref, JOBS, await redactFailedJobs(trx, pattern))
    })
    const answers = await deps.redactAnswers(conferenceId, (answer) => redactJson(answer, pattern))
    await inTenant((trx) => count(trx, ref, 'idempotency_keys', answers))
  }
  for (const email of terms.emails) {
    const ended = await forgetSignIns(db, email)
    if (ended === null) continue
    await inTenant(async (trx) => {
      await count(trx, ref, 'sessions', ended)
      await count(trx, ref, JOBS, await deleteWaitingMails(trx, email))
    })
  }
  return inTenant(async (trx) => {
    await trx('erasures')
      .where({ conference_id: conferenceId, id: erasureId, terms_sealed: sealed })
      .update({ state: 'done', terms_sealed: null, finished_at: trx.fn.now() })
    return getErasure(trx, conferenceId, erasureId)
  })
}

const ASSIGNMENTS_PAGE = 2_000

/** Ends assignments to the person, or those that the sponsor made. The codes stay valid. */
async function deleteAssignments(
  trx: Tx,
  values: { conferenceId: string; who: string },
  whose: string,
): Promise<number> {
  const { rows } = await trx.raw<{ rows: { id: string }[] }>(
    `delete from voucher_assignments where conference_id = :conferenceId and voucher_id in (
       select voucher_id from voucher_assignments where conference_id = :conferenceId and ${whose}
       order by voucher_id limit ${ASSIGNMENTS_PAGE} for update)
     returning voucher_id::text as id`,
    values,
  )
  const ids = rows.map(({ id }) => id)
  if (ids.length > 0) await unindexAssignments(trx, values.conferenceId, ids)
  return ids.length
}

const JOBS = 'graphile_worker._private_jobs'

/** Invitations and links that were not sent yet. */
async function deleteWaitingMails(trx: Tx, email: string): Promise<number> {
  const { rowCount } = await trx.raw<{ rowCount: number }>(
    `delete from ${JOBS} where lower(payload ->> 'email') = lower(?) and locked_at is null`,
    [email],
  )
  return rowCount
}

/** Jobs that will not run again. The others end soon, and need their addresses. */
async function redactFailedJobs(trx: Tx, pattern: string): Promise<number> {
  const { rowCount } = await trx.raw<{ rowCount: number }>(
    `update ${JOBS} set payload = redact_texts(payload::jsonb, :pattern, 'gi')::json
     where attempts >= max_attempts and payload::text ~* :pattern`,
    { pattern },
  )
  return rowCount
}

const withEmail = (subject: SubjectRef, { emails: [email = ''] }: Terms): SubjectRef =>
  subject.kind === 'person' ? { kind: 'person', email } : subject

async function loadWork(
  trx: Tx,
  { conferenceId, erasureId }: ErasureRef,
): Promise<{ sealed: string | null; subject: SubjectRef }> {
  const row = await trx('erasures')
    .where({ conference_id: conferenceId, id: erasureId })
    .first<{ terms_sealed: string | null; sponsor_id: string | null } | undefined>(
      'terms_sealed',
      'sponsor_id',
    )
  const sponsorId = row?.sponsor_id ?? null
  return {
    sealed: row?.terms_sealed ?? null,
    subject: sponsorId === null ? { kind: 'person', email: '' } : { kind: 'sponsor', sponsorId },
  }
}

async function eachPage(
  inTenant: <T>(work: (trx: Tx) => Promise<T>) => Promise<T>,
  ref: ErasureRef,
  table: string,
  change: (trx: Tx, after: Page['last']) => Promise<Page>,
): Promise<void> {
  let after: Page['last'] = null
  do {
    after = await inTenant(async (trx) => {
      const { changed, last } = await change(trx, after)
      await count(trx, ref, table, changed)
      return last
    })
  } while (after !== null)
}

const WRITER_CHECK_MS = 20
const MAX_CHECKS = 1_500

/**
 * Waits for the transactions that write now. They may have looked for erased subjects before this one was
 * committed, and their rows are not visible yet.
 */
async function olderWritersEnd(db: Db): Promise<void> {
  const writers = `locktype = 'relation' and mode = 'RowExclusiveLock' and pid <> pg_backend_pid()
    and database = (select oid from pg_database where datname = current_database())`
  const { rows } = await db.raw<{ rows: { id: string }[] }>(
    `select distinct virtualtransaction as id from pg_locks where ${writers}`,
  )
  const older = rows.map(({ id }) => id)
  for (let checks = 0; older.length > 0; checks += 1) {
    const { rows: left } = await db.raw<{ rows: unknown[] }>(
      `select from pg_locks where ${writers} and virtualtransaction = any(?) limit 1`,
      [older],
    )
    if (left.length === 0) return
    if (checks === MAX_CHECKS) {
      throw new AppError(
        'database_unavailable',
        'A transaction that began before the erasure still runs. Repeat the request to continue.',
        { retryAfterSeconds: 60 },
      )
    }
    await sleep(WRITER_CHECK_MS)
  }
}
