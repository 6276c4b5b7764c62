import type { Db } from '../db/connect.ts'
import { withSystem } from '../db/tenant-scope.ts'
import type { Principal } from '../http/access-rule.ts'
import { equalInConstantTime, sha256 } from '../shared/hash.ts'
import { parseKeyText } from './key-text.ts'
import { findUsableKey, type LoginRow, recordUse } from './login-store.ts'

/** The operator key of the environment has no row; this is its name in the history. */
const BOOTSTRAP_KEY_ID = 'operator'

function toPrincipal(keyId: string, row: LoginRow): Principal | null {
  if (row.role === 'operator') return { role: 'operator', keyId }
  const { conference_id: conferenceId, sponsor_id: sponsorId } = row
  if (conferenceId === null) return null
  if (row.role === 'staff') return { role: 'staff', keyId, conferenceId, scopes: row.scopes }
  return sponsorId === null ? null : { role: 'sponsor', keyId, conferenceId, sponsorId }
}

export type AuthenticatorDeps = {
  db: Db
  operatorApiKey: string
  /** Hears of a `last_used_at` that could not be written; the request goes on. */
  logger: { warn(details: object, message: string): void }
}

/**
 * Builds the check of API keys. Its function returns whose the key is, or null when it is unknown,
 * expired, revoked or rotated out. Nothing is cached, so that revoking holds at once on every
 * process.
 */
export function createAuthenticator(
  deps: AuthenticatorDeps,
): (key: string) => Promise<Principal | null> {
  const { db, operatorApiKey, logger } = deps
  return async (key) => {
    if (equalInConstantTime(key, operatorApiKey)) {
      return { role: 'operator', keyId: BOOTSTRAP_KEY_ID }
    }
    const parts = parseKeyText(key)
    if (parts === null) return null
    const row = await withSystem(db, 'authenticate', (trx) => findUsableKey(trx, parts.id))
    if (row === null || row.role !== parts.role) return null
    if (!equalInConstantTime(sha256(parts.secret), row.secret_hash)) return null
    if (row.use_is_news) {
      await recordUse(db, parts.id).catch((err: unknown) =>
        logger.warn({ err, key: parts.id }, 'last_used_at was not written'),
      )
    }
    return toPrincipal(parts.id, row)
  }
}
