import type { Tx } from '../db/connect.ts'
import type { Principal, Scope } from '../shared/caller.ts'
import { AppError, invalidField } from '../shared/errors.ts'
import { findSponsor } from '../sponsors/sponsor-store.ts'
import type { KeyRole } from './api-key-store.ts'

/** The rights of a new key or user of a conference. `sponsor` is an id, slug or external id. */
export type RequestedRights = {
  role: Exclude<KeyRole, 'operator'>
  sponsor?: string | undefined
  scopes?: readonly Scope[] | undefined
}

/**
 * Checks rights that somebody wants to grant.
 *
 * @throws AppError `validation_failed` for an unknown sponsor or scopes of a sponsor; `forbidden` for
 * rights that the creator lacks.
 */
export async function checkRights(
  trx: Tx,
  creator: Principal,
  conferenceId: string,
  requested: RequestedRights,
): Promise<{ sponsorId: string | null; scopes: Scope[] }> {
  const scopes = [...new Set(requested.scopes)]
  if (requested.role === 'sponsor' && scopes.length > 0) {
    throw invalidField('/scopes', 'is allowed only for the role staff')
  }
  assertMayGrant(creator, { role: requested.role, scopes })
  return { sponsorId: await sponsorIdOf(trx, conferenceId, requested), scopes }
}

async function sponsorIdOf(
  trx: Tx,
  conferenceId: string,
  { role, sponsor }: RequestedRights,
): Promise<string | null> {
  if (role === 'staff') {
    if (sponsor === undefined) return null
    throw invalidField('/sponsor', 'is allowed only for the role sponsor')
  }
  if (sponsor === undefined) throw invalidField('/sponsor', 'is required for the role sponsor')
  const found = await findSponsor(trx, conferenceId, sponsor)
  if (found === null) throw invalidField('/sponsor', `This conference has no sponsor "${sponsor}".`)
  return found.id
}

/** What staff must be allowed to do themselves to create a key or a user of a sponsor, who pays and reads the codes. */
const SCOPES_TO_GRANT_SPONSOR: readonly Scope[] = ['purchases:write', 'vouchers:read']

/** @throws AppError `forbidden` when the creator may not do everything that is granted. */
export function assertMayGrant(
  creator: Principal,
  granted: { role: KeyRole; scopes: readonly Scope[] },
): void {
  if (creator.role === 'operator') return
  const own = creator.role === 'staff' ? creator.scopes : []
  const needed = granted.role === 'sponsor' ? SCOPES_TO_GRANT_SPONSOR : granted.scopes
  const missing = needed.filter((scope) => !own.includes(scope))
  if (missing.length === 0) return
  throw new AppError(
    'forbidden',
    `This key cannot grant scopes that it lacks: ${missing.join(', ')}.`,
  )
}
