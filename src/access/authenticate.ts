import type { Db } from '../db/connect.ts'
import { systemStatement, withSystem } from '../db/tenant-scope.ts'
import type { Principal, Scope } from '../shared/caller.ts'
import { equalInConstantTime, sha256 } from '../shared/cryptography.ts'
import { inGroups } from '../shared/in-groups.ts'
import { type KeyRole, parseKey, toPrincipal } from './api-key-store.ts'

/** The id of the operator key in OPERATOR_API_KEY, which has no row. */
const BOOTSTRAP_KEY_ID = 'operator'

export type AuthenticatorDeps = {
  db: Db
  operatorApiKey: string
  /** Logs when `last_used_at` cannot be written. The request continues. */
  logger: { warn(details: object, message: string): void }
}

/**
 * Creates a function that returns the owner of an API key, or null when the key is unknown, expired or
 * revoked. It caches nothing, so a revocation takes effect immediately in every process. Requests that
 * arrive together share a look-up that begins after all of them.
 */
export function createAuthenticator(
  deps: AuthenticatorDeps,
): (key: string) => Promise<Principal | null> {
  const { db, operatorApiKey, logger } = deps
  const findUsableKey = inGroups({ run: (ids: string[]) => findUsableKeys(db, ids), inFlight: 2 })
  return async (key) => {
    if (equalInConstantTime(key, operatorApiKey)) {
      return { role: 'operator', id: BOOTSTRAP_KEY_ID }
    }
    const parts = parseKey(key)
    if (parts === null) return null
    const row = await findUsableKey(parts.id)
    if (row === null || row.role !== parts.role) return null
    if (!equalInConstantTime(sha256(parts.secret), row.secret_hash)) return null
    if (row.use_is_due) {
      await recordKeyUse(db, parts.id).catch((err: unknown) =>
        logger.warn({ err, key: parts.id }, 'cannot write last_used_at'),
      )
    }
    return toPrincipal(parts.id, row)
  }
}

// A write for each request would double the work of the database for little information.
const LAST_USED_INTERVAL_SECONDS = 60

/** The columns of a key that authentication needs. */
type LoginRow = {
  id: string
  role: KeyRole
  conference_id: string | null
  sponsor_id: string | null
  scopes: Scope[]
  secret_hash: string
  /** Whether `last_used_at` is old enough to write it again. */
  use_is_due: boolean
}

/** The rows of keys, in their order, null for those that are revoked or expired by the database's clock. */
async function findUsableKeys(db: Db, ids: readonly string[]): Promise<(LoginRow | null)[]> {
  const rows = await systemStatement<LoginRow>(
    db,
    'authenticate',
    (bind) => `select id, role, conference_id, sponsor_id, scopes, secret_hash,
       coalesce(
         last_used_at < now() - make_interval(secs => ${LAST_USED_INTERVAL_SECONDS}), true
       ) as use_is_due
     from api_keys
     where id = any(${bind([...new Set(ids)])}) and revoked_at is null
       and (expires_at is null or expires_at > now())`,
  )
  const found = new Map(rows.map((row) => [row.id, row]))
  return ids.map((id) => found.get(id) ?? null)
}

/** Writes `last_used_at`, unless another transaction has locked the row. */
async function recordKeyUse(db: Db, id: string): Promise<void> {
  await withSystem(db, 'authenticate', (trx) =>
    trx('api_keys')
      .whereIn('id', trx('api_keys').select('id').where({ id }).forUpdate().skipLocked())
      .update({ last_used_at: trx.fn.now() }),
  )
}
