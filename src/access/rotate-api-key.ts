import type { Tx } from '../db/connect.ts'
import type { Principal } from '../http/access-rule.ts'
import { AppError } from '../shared/errors.ts'
import type { ApiKey, IssuedKey } from './api-key.ts'
import { assertMayGrant, issueKey } from './create-api-key.ts'
import { lockKey, markRotated } from './key-store.ts'

function stateProblem({ revokedAt, rotatedTo }: ApiKey, expired: boolean): string | null {
  if (revokedAt !== null) return 'The key is revoked. Create a new one.'
  if (rotatedTo !== null) return `The key was rotated; rotate ${rotatedTo} in its place.`
  return expired ? 'The key has expired. Create a new one.' : null
}

/**
 * Gives out a successor with the same rights, name and expiry. Both work for `overlapSeconds`, then
 * only the successor. Whoever rotates learns the new secret, so the scopes must be its own.
 *
 * @throws AppError `not_found`, `forbidden`, and `wrong_state` for a key that is revoked, expired or
 * rotated already.
 */
export async function rotateKey(
  trx: Tx,
  caller: Principal,
  target: { conferenceId: string | null; id: string },
  overlapSeconds: number,
): Promise<IssuedKey> {
  const { apiKey, expired } = await lockKey(trx, target.conferenceId, target.id)
  assertMayGrant(caller, apiKey.scopes)
  const problem = stateProblem(apiKey, expired)
  if (problem !== null) throw new AppError('wrong_state', problem)
  const issued = await issueKey(trx, apiKey, caller.keyId)
  await markRotated(trx, apiKey.id, issued.apiKey.id, overlapSeconds)
  return issued
}
