import type { Tx } from '../db/connect.ts'
import { addJob } from '../jobs/job-queue.ts'
import type { Principal, Scope } from '../shared/caller.ts'
import { AppError, invalidField } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import type { KeyRole } from './api-key-store.ts'
import { assertMayGrant, checkRights, type RequestedRights } from './grant-rights.ts'
import { insertUser, lockUser, type UserRow, type UserScope, updateUser } from './user-store.ts'

/** Which users somebody may see and change: a sponsor's member those of the own sponsor. */
export function userScopeOf(principal: Principal, conferenceId: string | null): UserScope {
  return { conferenceId, sponsorId: principal.role === 'sponsor' ? principal.sponsorId : null }
}

export type Invitation = { email: string; name?: string | undefined } & RequestedRights

/**
 * Makes a person a user of a conference and mails where to sign in.
 *
 * @param conference `name` is for the mail.
 * @throws AppError `already_exists`, `validation_failed`, or `forbidden` for rights that the inviter lacks.
 */
export async function inviteUser(
  trx: Tx,
  inviter: Principal,
  conference: { id: string; name: string },
  { email, name, ...requested }: Invitation,
): Promise<UserRow> {
  const rights =
    inviter.role === 'sponsor'
      ? colleagueRights(inviter.sponsorId, requested)
      : await checkRights(trx, inviter, conference.id, requested)
  const user = await insertUser(trx, {
    id: newId('user'),
    conference_id: conference.id,
    email,
    name: name ?? null,
    role: requested.role,
    sponsor_id: rights.sponsorId,
    scopes: rights.scopes,
    invited_by: inviter.id,
  })
  await addJob(trx, 'mail_invitation', { email, to: conference.name, message: newId('mail') })
  return user
}

/** A sponsor's member may invite colleagues, and only them. */
function colleagueRights(ownSponsor: string, { role, sponsor, scopes }: RequestedRights) {
  if (role !== 'sponsor') throw new AppError('forbidden', 'A sponsor may invite only colleagues.')
  if (scopes !== undefined && scopes.length > 0) {
    throw invalidField('/scopes', 'is allowed only for the role staff')
  }
  if (sponsor !== undefined && sponsor !== ownSponsor) {
    throw invalidField('/sponsor', 'must be your own sponsor, or absent')
  }
  return { sponsorId: ownSponsor, scopes: [] }
}

/** Makes a person an operator. @throws AppError `already_exists` */
export async function inviteOperator(
  trx: Tx,
  inviterId: string,
  { email, name }: { email: string; name?: string | undefined },
): Promise<UserRow> {
  const none = { conference_id: null, sponsor_id: null, scopes: [] }
  const user = {
    ...none,
    id: newId('user'),
    email,
    name: name ?? null,
    role: 'operator' as KeyRole,
  }
  const invited = await insertUser(trx, { ...user, invited_by: inviterId })
  await addJob(trx, 'mail_invitation', { email, to: 'all conferences', message: newId('mail') })
  return invited
}

export type UserChanges = { name?: string | null | undefined; scopes?: Scope[] | undefined }

/**
 * Changes the name or the scopes of a user.
 *
 * @throws AppError `not_found`, `validation_failed` for scopes of a sponsor's member, `forbidden` for
 * scopes that the caller lacks.
 */
export async function changeUser(
  trx: Tx,
  caller: Principal,
  scope: UserScope,
  id: string,
  { name, scopes }: UserChanges,
): Promise<UserRow> {
  const user = await lockUser(trx, scope, id)
  if (scopes !== undefined) {
    if (user.role !== 'staff') throw invalidField('/scopes', 'is allowed only for the role staff')
    const added = scopes.filter((each) => !user.scopes.includes(each))
    assertMayGrant(caller, { role: 'staff', scopes: added })
  }
  const changes = {
    ...(name === undefined ? {} : { name }),
    ...(scopes === undefined ? {} : { scopes: [...new Set(scopes)] }),
  }
  return Object.keys(changes).length === 0 ? user : updateUser(trx, id, changes)
}
