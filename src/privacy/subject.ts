import type { Tx } from '../db/connect.ts'
import { AppError } from '../shared/errors.ts'
import { getSponsor } from '../sponsors/sponsor-store.ts'

/** Whose data it is: a person with an e-mail address, or a sponsor. */
export type SubjectRef = { kind: 'person'; email: string } | { kind: 'sponsor'; sponsorId: string }

/** @throws AppError `not_found` for an unknown sponsor. */
export async function findSubject(
  trx: Tx,
  conferenceId: string,
  { email = '', sponsor }: { email?: string | undefined; sponsor?: string | undefined },
): Promise<SubjectRef> {
  if (sponsor === undefined) return { kind: 'person', email }
  return { kind: 'sponsor', sponsorId: (await getSponsor(trx, conferenceId, sponsor)).id }
}

/** What data of the subject contains, in any case. */
export type Terms = { emails: string[]; names: string[] }

/**
 * One transaction at a time marks subjects in a conference; the others wait, also for an export that reads. Each writes
 * several sets of marks, so two could wait for each other. Makes the salt of the conference's marks, too.
 */
export async function lockMarks(trx: Tx, conferenceId: string): Promise<void> {
  await trx.raw(
    `insert into erasure_salts (conference_id, salt) values (?, gen_random_uuid()::text)
     on conflict do nothing`,
    [conferenceId],
  )
  await trx('erasure_salts').where({ conference_id: conferenceId }).forUpdate().first('salt')
}

/** The e-mail addresses and names by which data of the subject is found. @throws AppError `not_found` */
export async function findTerms(
  trx: Tx,
  conferenceId: string,
  subject: SubjectRef,
): Promise<Terms> {
  if (subject.kind === 'person') {
    const { email } = subject
    // A single word may be the name of many things.
    const names = (await namesOf(trx, conferenceId, email)).filter((name) => /\S\s+\S/.test(name))
    return { emails: [email], names }
  }
  const { name, contactEmail } = await getSponsor(trx, conferenceId, subject.sponsorId)
  const { rows } = await trx.raw<{ rows: { name: string | null; email: string | null }[] }>(
    `select coalesce(name, params ->> 'name') as name, coalesce(email, params ->> 'email') as email
       from customers where conference_id = :conferenceId and sponsor_id = :sponsorId
     union select name, email from users
       where conference_id = :conferenceId and sponsor_id = :sponsorId`,
    { conferenceId, sponsorId: subject.sponsorId },
  )
  const own = await notOfOtherSponsors(
    trx,
    conferenceId,
    subject.sponsorId,
    distinct([contactEmail, ...rows.map(({ email }) => email)]),
  )
  return { emails: own, names: distinct([name, ...rows.map((row) => row.name)]) }
}

/** The name of a sponsor that was erased. */
export const ERASED_SPONSOR = 'Erased sponsor'

const distinct = (texts: readonly (string | null)[]): string[] => [
  ...new Set(texts.filter((text) => text !== null && isTerm(text)) as string[]),
]

// What replaces a term has three characters, so no text grows beyond its limit.
const isTerm = (text: string) =>
  text.trim().length >= 3 && text !== ERASED_SPONSOR && text !== '***'

/** Two sponsors may have the same contact, who then stays the contact of the other one. */
async function notOfOtherSponsors(
  trx: Tx,
  conferenceId: string,
  sponsorId: string,
  emails: readonly string[],
): Promise<string[]> {
  const { rows } = await trx.raw<{ rows: { email: string }[] }>(
    `select email from unnest(?::text[]) as email where not exists (
       select from sponsors where conference_id = ? and id <> ?
         and lower(contact_email) = lower(email))`,
    [[...emails], conferenceId, sponsorId],
  )
  return rows.map(({ email }) => email)
}

/** The names beside the address in the mirror, except those of sponsors. */
async function namesOf(trx: Tx, conferenceId: string, email: string): Promise<string[]> {
  const sources = [
    ['users', 'name', 'email'],
    ['voucher_assignments', 'name', 'email'],
    ['stripe.customers', 'name', 'email'],
    ['stripe.charges', 'billing_name', 'billing_email'],
    ['stripe.payment_methods', 'billing_name', 'billing_email'],
    ['stripe.checkout_sessions', 'customer_name', 'customer_email'],
    ['stripe.invoices', 'customer_name', 'customer_email'],
  ].map(
    ([table, name, address]) =>
      `select ${name} as name from ${table} where conference_id = :conferenceId and lower(${address}) = lower(:email)`,
  )
  const { rows } = await trx.raw<{ rows: { name: string | null }[] }>(
    `select distinct name from (${sources.join(' union all ')}) as found where not exists (
       select from sponsors s where s.conference_id = :conferenceId and lower(s.name) = lower(found.name))`,
    { conferenceId, email },
  )
  return distinct(rows.map(({ name }) => name))
}

/** SQL for the ids of the subject's objects at Stripe that name it themselves. */
function rootObjects(subject: SubjectRef): string {
  if (subject.kind === 'sponsor') {
    const owners = `select id from bulk_purchases where conference_id = :conferenceId and sponsor_id = :sponsorId
      union all select id from charges where conference_id = :conferenceId and sponsor_id = :sponsorId`
    return `
      select stripe_customer_id as id from customers
        where conference_id = :conferenceId and sponsor_id = :sponsorId
      union select payment_intent_id from payments
        where conference_id = :conferenceId and owner_id in (${owners})
      union select unnest(array[payment_intent_id, session_id]) from payment_attempts
        where conference_id = :conferenceId and owner_id in (${owners})
      union select s.stripe_subscription_id from subscriptions s
        join customers c on c.conference_id = s.conference_id and c.id = s.customer_id
        where s.conference_id = :conferenceId and c.sponsor_id = :sponsorId`
  }
  const naming = (table: string, ids: string, ...addresses: string[]) =>
    `select unnest(array[${ids}]) from stripe.${table} where conference_id = :conferenceId
       and lower(:email) in (${addresses.map((address) => `lower(${address})`).join(', ')})`
  return [
    // A customer of a sponsor also is the sponsor's; only its row with the address is redacted.
    `select id from stripe.customers where conference_id = :conferenceId and lower(email) = lower(:email)
       and id not in (select stripe_customer_id from customers
         where conference_id = :conferenceId and stripe_customer_id is not null)`,
    naming('checkout_sessions', 'id, payment_intent, setup_intent', 'customer_email'),
    naming('charges', 'id, payment_intent, payment_method', 'billing_email', 'receipt_email'),
    naming('payment_intents', 'id, latest_charge', 'receipt_email'),
    naming('payment_methods', 'id', 'billing_email'),
    naming('invoices', 'id, payment_intent, charge', 'customer_email'),
    naming('refunds', 'id', 'instructions_email'),
  ].join(' union ')
}

/** What of the mirror belongs to an object of the subject: table, the columns that name it, and what else it names. */
export const BELONGING: readonly (readonly [table: string, by: string[], names: string[]])[] = [
  ['charges', ['customer', 'payment_intent'], ['payment_method']],
  ['checkout_sessions', ['customer', 'payment_intent'], ['setup_intent', 'invoice']],
  ['invoices', ['customer', 'payment_intent', 'charge'], []],
  ['payment_intents', ['customer'], ['payment_method', 'latest_charge']],
  ['payment_methods', ['customer'], []],
  ['setup_intents', ['customer'], ['payment_method']],
  ['subscriptions', ['customer'], []],
  ['refunds', ['charge', 'payment_intent'], []],
  ['disputes', ['charge', 'payment_intent'], []],
  ['balance_transactions', ['source'], []],
]

/** Marks the subject's objects at Stripe as erased, with all that belong to them. */
export async function markObjects(
  trx: Tx,
  conferenceId: string,
  subject: SubjectRef,
): Promise<void> {
  const values =
    subject.kind === 'person'
      ? { conferenceId, email: subject.email, sponsorId: '' }
      : { conferenceId, email: '', sponsorId: subject.sponsorId }
  const mark = async (ids: string) => {
    const { rowCount } = await trx.raw<{ rowCount: number }>(
      `insert into erased_subjects (conference_id, kind, token)
       select cast(:conferenceId as text), 'object', id from (${ids}) as found (id)
       where id is not null order by id on conflict do nothing`,
      values,
    )
    return rowCount
  }
  await mark(rootObjects(subject))
  const belonging = BELONGING.map(
    ([table, by, names]) =>
      `select unnest(array[${['m.id', ...names.map((name) => `m.${name}`)].join(', ')}])
       from stripe.${table} m join erased_subjects e on e.conference_id = m.conference_id
         and e.kind = 'object' and e.token in (m.id, ${by.map((name) => `m.${name}`).join(', ')})
       where m.conference_id = :conferenceId`,
  ).join(' union ')
  while ((await mark(belonging)) > 0);
}

/** Marks addresses as erased: what contains them is redacted when it is written. */
export async function markEmails(
  trx: Tx,
  conferenceId: string,
  emails: readonly string[],
): Promise<void> {
  await trx.raw(
    `insert into erased_subjects (conference_id, kind, token)
     select distinct ?, 'email', email_token(?, email) from unnest(?::text[]) as email
     on conflict do nothing`,
    [conferenceId, conferenceId, [...emails]],
  )
}

/** Ends without an error if no money of the subject is on its way. @throws AppError `money_open` */
export async function refuseOpenMoney(
  trx: Tx,
  conferenceId: string,
  subject: SubjectRef,
): Promise<void> {
  const mine =
    subject.kind === 'sponsor'
      ? 'sponsor_id = :sponsorId'
      : `id in (
          select owner_id from payments p join erased_subjects e on e.conference_id = p.conference_id
            and e.kind = 'object' and e.token = p.payment_intent_id where p.conference_id = :conferenceId
          union select owner_id from payment_attempts a join erased_subjects e
            on e.conference_id = a.conference_id and e.kind = 'object'
            and e.token in (a.session_id, a.payment_intent_id) where a.conference_id = :conferenceId)`
  const of = (table: string) => `from ${table} where conference_id = :conferenceId`
  const { rows } = await trx.raw<{ rows: { what: string; count: number }[] }>(
    `with mine as materialized (
       select id, status in ('PENDING', 'PROCESSING') as is_open, 'purchases' as kind
         ${of('bulk_purchases')} and ${mine}
       union all select id, status in ('open', 'processing', 'requires_action'), 'charges'
         ${of('charges')} and ${mine})
     select what, count(*)::int as count from (
       select kind as what from mine where is_open
       union all select 'payments' ${of('payment_attempts')} and owner_id in (select id from mine)
         and state in ('creating', 'open', 'processing')
       union all select 'refunds' ${of('refund_requests')} and owner_id in (select id from mine)
         and state = 'requested'
       union all select 'refunds' ${of('payment_refunds')} and owner_id in (select id from mine)
         and status in ('pending', 'requires_action')
       union all select 'disputes' ${of('payment_disputes')} and owner_id in (select id from mine)
         and status not in ('won', 'lost', 'warning_closed', 'prevented')
       union all select 'subscriptions' from subscriptions s
         join customers c on c.conference_id = s.conference_id and c.id = s.customer_id
         left join stripe.subscriptions m
           on m.conference_id = s.conference_id and m.id = s.stripe_subscription_id
         where s.conference_id = :conferenceId and c.sponsor_id = :sponsorId and s.state <> 'refused'
           and coalesce(m.status, '') not in ('canceled', 'incomplete_expired')
           and m.deleted_at is null
     ) as found group by what order by what`,
    { conferenceId, sponsorId: subject.kind === 'sponsor' ? subject.sponsorId : '' },
  )
  if (rows.length === 0) return
  const list = rows.map(({ what, count }) => `${what} (${count})`).join(', ')
  throw new AppError(
    'money_open',
    `Money of this subject is not settled yet: ${list}. Finish or cancel it first.`,
  )
}
