import type { Tx } from '../db/connect.ts'
import type { Principal, Scope } from '../shared/caller.ts'
import { sha256 } from '../shared/cryptography.ts'
import { AppError, invalidField } from '../shared/errors.ts'
import { newId, newSecret } from '../shared/ids.ts'
import {
  type ApiKey,
  formatKey,
  type IssuedKey,
  insertKey,
  isFuture,
  type KeyRole,
  lockKey,
  markRotated,
} from './api-key-store.ts'
import { assertMayGrant, checkRights } from './grant-rights.ts'

export type KeySpec = Pick<
  ApiKey,
  'conferenceId' | 'role' | 'sponsorId' | 'scopes' | 'name' | 'expiresAt'
>

/** A request for a key of a conference. `sponsor` is an id, slug or external id. */
export type ConferenceKeyRequest = {
  role: Exclude<KeyRole, 'operator'>
  sponsor?: string | undefined
  scopes?: Scope[] | undefined
  name: string
  expires_at?: Date | undefined
}

/**
 * Creates a staff or sponsor key of a conference.
 *
 * @throws AppError `validation_failed` for an unknown sponsor, scopes on a sponsor key, or a time in
 * the past; `forbidden` for rights that the creator lacks.
 */
export async function createConferenceKey(
  trx: Tx,
  creator: Principal,
  conferenceId: string,
  request: ConferenceKeyRequest,
): Promise<IssuedKey> {
  const { role, name } = request
  const { sponsorId, scopes } = await checkRights(trx, creator, conferenceId, request)
  const expiresAt = await expiryOf(trx, request.expires_at)
  return issueKey(trx, { conferenceId, role, sponsorId, scopes, name, expiresAt }, creator.id)
}

async function expiryOf(trx: Tx, expiresAt: Date | undefined): Promise<Date | null> {
  if (expiresAt === undefined) return null
  if (await isFuture(trx, expiresAt)) return expiresAt
  throw invalidField('/expires_at', 'must be in the future')
}

/** Creates a key. Its secret is returned once; only its hash is stored. */
async function issueKey(trx: Tx, spec: KeySpec, createdBy: string): Promise<IssuedKey> {
  const id = newId('apiKey')
  const secret = newSecret()
  const apiKey = await insertKey(trx, {
    id,
    conference_id: spec.conferenceId,
    role: spec.role,
    sponsor_id: spec.sponsorId,
    scopes: spec.scopes,
    name: spec.name,
    secret_hash: sha256(secret),
    last4: secret.slice(-4),
    expires_at: spec.expiresAt,
    created_by: createdBy,
  })
  return { apiKey, text: formatKey(spec.role, id, secret) }
}

/** Creates an operator key. @throws AppError `validation_failed` for a time in the past. */
export async function createOperatorKey(
  trx: Tx,
  creator: Principal,
  request: { name: string; expires_at?: Date | undefined },
): Promise<IssuedKey> {
  const expiresAt = await expiryOf(trx, request.expires_at)
  const none = { conferenceId: null, sponsorId: null, scopes: [] }
  return issueKey(trx, { ...none, role: 'operator', name: request.name, expiresAt }, creator.id)
}

/**
 * Issues a successor with the same rights, name and expiry. Both keys work for `overlapSeconds`, then
 * only the successor. The caller receives the new secret, so it must have all rights of the key.
 *
 * @throws AppError `not_found`, `forbidden`, or `wrong_state` for a key that is revoked, expired or
 * already rotated.
 */
export async function rotateKey(
  trx: Tx,
  caller: Principal,
  target: { conferenceId: string | null; id: string },
  overlapSeconds: number,
): Promise<IssuedKey> {
  const { apiKey, expired } = await lockKey(trx, target.conferenceId, target.id)
  assertMayGrant(caller, apiKey)
  const problem = stateProblem(apiKey, expired)
  if (problem !== null) throw new AppError('wrong_state', problem)
  const issued = await issueKey(trx, apiKey, caller.id)
  await markRotated(trx, apiKey.id, issued.apiKey.id, overlapSeconds)
  return issued
}

function stateProblem({ revokedAt, rotatedTo }: ApiKey, expired: boolean): string | null {
  if (revokedAt !== null) return 'The key is revoked. Create a new key.'
  if (rotatedTo !== null)
    return `The key was already rotated. Rotate its successor ${rotatedTo} instead.`
  return expired ? 'The key has expired. Create a new key.' : null
}
