import type { Db, Tx } from '../db/connect.ts'
import { deleteInBatches } from '../db/delete-in-batches.ts'
import { systemStatement, withSystem } from '../db/tenant-scope.ts'
import { addJob } from '../jobs/job-queue.ts'
import type { Principal, Scope, SignedIn } from '../shared/caller.ts'
import { equalInConstantTime, sha256 } from '../shared/cryptography.ts'
import { AppError } from '../shared/errors.ts'
import { ID_PREFIXES, newId, newSecret } from '../shared/ids.ts'
import { type KeyRole, toPrincipal } from './api-key-store.ts'
import { SignInFailure } from './identity-provider.ts'

export const LINK_LIFETIME_MINUTES = 15

/** After a night without work, a person signs in again. */
const IDLE_HOURS = 12
const SESSION_DAYS = 7

const keyOf = (email: string) => email.toLowerCase()

/** What a link or a cookie contains: the id finds the row, and the database has only a hash of the secret. */
type Token = { id: string; secret: string }

const TOKEN = /^([0-9A-Za-z]{21})_([0-9A-Za-z]{40})$/

const formatToken = ({ id, secret }: Token) => `${id.slice(id.indexOf('_') + 1)}_${secret}`

function parseToken(text: string, prefix: string): Token | null {
  const [, body, secret] = TOKEN.exec(text) ?? []
  return body === undefined || secret === undefined ? null : { id: `${prefix}_${body}`, secret }
}

/** The page that a link in a mail opens. The token is in the fragment, which no server and no log sees. */
const linkTo = (webUrl: string, token: string) =>
  `${webUrl.replace(/\/+$/, '')}/sign-in#token=${token}`

/**
 * Requests a mail with a link. Does the same for every address, so the answer does not show who is a user.
 */
export async function requestSignIn(db: Db, email: string): Promise<void> {
  await withSystem(db, 'authenticate', (trx) =>
    addJob(trx, 'mail_sign_in', { email, message: newId('mail') }),
  )
}

/**
 * Creates a link with which the user of an address signs in once.
 *
 * @param maxLinks of the address within the life of a link.
 * @returns null when no user has the address, or it has too many links already.
 */
export async function createSignInLink(
  db: Db,
  email: string,
  webUrl: string,
  maxLinks: number,
): Promise<string | null> {
  const token = { id: newId('signInLink'), secret: newSecret() }
  const created = await withSystem(db, 'authenticate', async (trx) => {
    const { rowCount } = await trx.raw<{ rowCount: number }>(
      `insert into sign_in_links (id, secret_hash, email_key, expires_at)
       select ?, ?, ?, now() + make_interval(mins => ?)
       where exists (select from users where email_key = ? and removed_at is null)
         and (select count(*) from sign_in_links where email_key = ?
              and created_at > now() - make_interval(mins => ?)) < ?`,
      [
        token.id,
        sha256(token.secret),
        keyOf(email),
        LINK_LIFETIME_MINUTES,
        keyOf(email),
        keyOf(email),
        LINK_LIFETIME_MINUTES,
        maxLinks,
      ],
    )
    return rowCount === 1
  })
  return created ? linkTo(webUrl, formatToken(token)) : null
}

/** A new session. `cookie` is its only copy. */
export type NewSession = { id: string; cookie: string; expiresAt: Date }

/**
 * Uses a link, which works once, and begins a session.
 *
 * @param userAgent of the browser, so that the person recognises the session in a list.
 * @throws AppError `unauthenticated` for a link that is unknown, used or too old.
 */
export async function signInWithLink(
  db: Db,
  text: string,
  userAgent: string | undefined,
): Promise<NewSession> {
  const token = parseToken(text, ID_PREFIXES.signInLink)
  const session = await withSystem(db, 'authenticate', async (trx) => {
    if (token === null) return null
    const link = await trx('sign_in_links')
      .where({ id: token.id, used_at: null })
      .whereRaw('expires_at > now()')
      .forUpdate()
      .first<{ secret_hash: string; email_key: string } | undefined>('secret_hash', 'email_key')
    if (link === undefined || !equalInConstantTime(sha256(token.secret), link.secret_hash)) {
      return null
    }
    await trx('sign_in_links').where({ id: token.id }).update({ used_at: trx.fn.now() })
    return insertSession(trx, newId('session'), link.email_key, 'link', userAgent)
  })
  if (session === null) {
    throw new AppError(
      'unauthenticated',
      `This link was used already, or is older than ${LINK_LIFETIME_MINUTES} minutes. Request another one.`,
    )
  }
  return session
}

/**
 * Begins a session for an address that the identity provider has verified.
 *
 * It is for staff and operators, whom the provider of the organizer knows. A member of a sponsor is admitted
 * only by mail, because the organizer's provider must not decide who acts for a sponsor; but somebody who is
 * staff too has one session for both.
 *
 * @param id of the new session, from the attempt.
 * @throws SignInFailure `no_access`, or `expired` when the attempt has begun a session already.
 */
export async function signInWithProvider(
  db: Db,
  email: string,
  id: string,
  userAgent: string | undefined,
): Promise<NewSession> {
  return withSystem(db, 'authenticate', async (trx) => {
    const user = await trx('users')
      .where({ email_key: keyOf(email), removed_at: null })
      .whereIn('role', ['staff', 'operator'])
      .first<{ id: string } | undefined>('id')
    if (user === undefined) {
      throw new SignInFailure('no_access', 'the address is not of staff or of an operator')
    }
    const session = await insertSession(trx, id, keyOf(email), 'oidc', userAgent)
    if (session === null) throw new SignInFailure('expired', 'the attempt was used before')
    return session
  })
}

/** @returns null when the id is taken. */
async function insertSession(
  trx: Tx,
  id: string,
  emailKey: string,
  method: 'link' | 'oidc',
  userAgent = '',
): Promise<NewSession | null> {
  const token = { id, secret: newSecret() }
  const [row] = await trx('sessions')
    .insert({
      id: token.id,
      secret_hash: sha256(token.secret),
      email_key: emailKey,
      method,
      user_agent: userAgent.slice(0, 300),
      expires_at: trx.raw('now() + make_interval(days => ?)', [SESSION_DAYS]),
    })
    .onConflict('id')
    .ignore()
    .returning<{ expires_at: Date }[]>('expires_at')
  return row === undefined ? null : { id, cookie: formatToken(token), expiresAt: row.expires_at }
}

/** Sessions that are not over, by the database's clock. */
const IS_LIVE = `ended_at is null and expires_at > now()
  and last_seen_at > now() - interval '${IDLE_HOURS} hours'`

// A write for each request would double the work of the database for little information.
const SEEN_INTERVAL_SECONDS = 60

type SessionUserRow = {
  session_id: string
  secret_hash: string
  expires_at: Date
  use_is_due: boolean
  email: string
  id: string
  role: KeyRole
  conference_id: string | null
  sponsor_id: string | null
  scopes: Scope[]
}

/**
 * A removal ends what a stolen cookie allows: a session from before it does not come back to life when the
 * address is invited again.
 */
const WAS_NOT_REMOVED = `(u.created_at <= s.created_at or not exists (
  select from users gone
  where gone.email_key = s.email_key and gone.removed_at between s.created_at and u.created_at))`

/**
 * The session of a cookie with every user of its address, or null when the session is over or no user is
 * left. It caches nothing: a removed user and an ended session are refused with the next request.
 */
export async function authenticateSession(db: Db, cookie: string): Promise<SignedIn | null> {
  const token = parseToken(cookie, ID_PREFIXES.session)
  if (token === null) return null
  const rows = await systemStatement<SessionUserRow>(
    db,
    'authenticate',
    (bind) => `select s.id as session_id, s.secret_hash, s.expires_at, u.email,
       s.last_seen_at < now() - interval '${SEEN_INTERVAL_SECONDS} seconds' as use_is_due,
       u.id, u.role, u.conference_id, u.sponsor_id, u.scopes
     from (select * from sessions where id = ${bind(token.id)} and ${IS_LIVE}) s
     join users u on u.email_key = s.email_key and u.removed_at is null and ${WAS_NOT_REMOVED}
     order by u.created_at, u.id`,
  )
  const [first] = rows
  if (first === undefined || !equalInConstantTime(sha256(token.secret), first.secret_hash)) {
    return null
  }
  if (first.use_is_due) await recordUse(db, first.session_id)
  const users = rows.map((row) => toPrincipal(row.id, row)).filter((user) => user !== null)
  return {
    sessionId: first.session_id,
    email: first.email,
    expiresAt: first.expires_at,
    users: users satisfies Principal[],
  }
}

async function recordUse(db: Db, sessionId: string): Promise<void> {
  await withSystem(db, 'authenticate', async (trx) => {
    const [session] = await trx('sessions')
      .whereIn('id', trx('sessions').select('id').where({ id: sessionId }).forUpdate().skipLocked())
      .update({ last_seen_at: trx.fn.now() })
      .returning<{ email_key: string }[]>('email_key')
    if (session === undefined) return
    const users = trx('users').where({ email_key: session.email_key, removed_at: null })
    await trx('users')
      .whereIn('id', users.select('id').forUpdate().skipLocked())
      .update({ last_seen_at: trx.fn.now() })
  })
}

export type SessionRow = {
  id: string
  method: 'link' | 'oidc'
  user_agent: string | null
  created_at: Date
  last_seen_at: Date
  expires_at: Date
}

/** The live sessions of an address, newest first. */
export function listSessions(db: Db, email: string): Promise<SessionRow[]> {
  return systemStatement<SessionRow>(
    db,
    'authenticate',
    (bind) => `select id, method, user_agent, created_at, last_seen_at, expires_at
     from sessions where email_key = ${bind(keyOf(email))} and ${IS_LIVE}
     order by created_at desc, id desc limit 100`,
  )
}

/** Ends a session of an address. @returns false when the address has no such live session. */
export function endSession(db: Db, email: string, id: string): Promise<boolean> {
  return withSystem(db, 'authenticate', async (trx) => {
    const ended = await trx('sessions')
      .where({ id, email_key: keyOf(email), ended_at: null })
      .update({ ended_at: trx.fn.now() })
    return ended === 1
  })
}

/**
 * Deletes the links and sessions of an address, unless a conference knows it as a user.
 *
 * @returns their number, or null if it is known.
 */
export function forgetSignIns(db: Db, email: string): Promise<number | null> {
  return withSystem(db, 'authenticate', async (trx) => {
    const own = { email_key: keyOf(email) }
    const user = await trx('users')
      .where({ ...own, removed_at: null })
      .first<{ id: string } | undefined>('id')
    if (user !== undefined) return null
    const links: number = await trx('sign_in_links').where(own).delete()
    const sessions: number = await trx('sessions').where(own).delete()
    return links + sessions
  })
}

/** Deletes links and sessions that no longer work. @returns their number. */
export async function deleteOldSignIns(db: Db): Promise<number> {
  const links = await deleteInBatches(db, 'sign_in_links', `expires_at < now() - interval '1 day'`)
  return links + (await deleteInBatches(db, 'sessions', `expires_at < now() - interval '30 days'`))
}
