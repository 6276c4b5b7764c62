import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import { isUniqueViolation } from '../db/pg-errors.ts'
import type { Scope } from '../shared/caller.ts'
import { AppError, notFound } from '../shared/errors.ts'
import type { KeyRole } from './api-key-store.ts'

/** A person who may sign in. One person may be a user of several conferences, with the same address. */
export type UserRow = {
  id: string
  /** null for an operator, who belongs to no conference. */
  conference_id: string | null
  email: string
  name: string | null
  role: KeyRole
  sponsor_id: string | null
  scopes: Scope[]
  /** At most a minute old. */
  last_seen_at: Date | null
  created_at: Date
}

const COLUMNS = [
  'id',
  'conference_id',
  'email',
  'name',
  'role',
  'sponsor_id',
  'scopes',
  'last_seen_at',
  'created_at',
] as const

export type NewUser = Omit<UserRow, 'last_seen_at' | 'created_at'> & { invited_by: string }

/** @throws AppError `already_exists` when the address is a user of the conference already. */
export async function insertUser(trx: Tx, user: NewUser): Promise<UserRow> {
  try {
    const [row] = await trx('users')
      .insert(user)
      .returning<UserRow[]>([...COLUMNS])
    if (row === undefined) throw new Error('The insert returned no row')
    return row
  } catch (error) {
    if (!isUniqueViolation(error, 'users_email_key')) throw error
    throw new AppError('already_exists', `${user.email} is a user of this conference already.`, {
      errors: [{ pointer: '/email', detail: 'is taken' }],
    })
  }
}

/** Whose users: of a conference (null: the operators), of one of its sponsors (null: of all). */
export type UserScope = { conferenceId: string | null; sponsorId: string | null }

function usersOf(trx: Tx, { conferenceId, sponsorId }: UserScope) {
  const users = trx('users').where({ conference_id: conferenceId, removed_at: null })
  return sponsorId === null ? users : users.where({ sponsor_id: sponsorId })
}

/** Newest first, without those that were removed. */
export function listUsers(trx: Tx, scope: UserScope, page: PageQuery): Promise<Page<UserRow>> {
  return fetchPage(usersOf(trx, scope).select([...COLUMNS]), page)
}

/** @throws AppError `not_found` */
export async function lockUser(trx: Tx, scope: UserScope, id: string): Promise<UserRow> {
  const row = await usersOf(trx, scope)
    .where({ id })
    .forUpdate()
    .first<UserRow | undefined>([...COLUMNS])
  if (row === undefined) throw notFound('user')
  return row
}

export async function updateUser(
  trx: Tx,
  id: string,
  changes: Partial<Pick<UserRow, 'name' | 'scopes'>>,
): Promise<UserRow> {
  const [row] = await trx('users')
    .where({ id })
    .update(changes)
    .returning<UserRow[]>([...COLUMNS])
  if (row === undefined) throw notFound('user')
  return row
}

/** The user's next request is refused. The row stays for the history. @throws AppError `not_found` */
export async function removeUser(trx: Tx, scope: UserScope, id: string): Promise<void> {
  const changed = await usersOf(trx, scope).where({ id }).update({ removed_at: trx.fn.now() })
  if (changed === 0) throw notFound('user')
}
