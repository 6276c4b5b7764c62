import type { Db, Tx } from '../db/connect.ts'
import { withSystem } from '../db/tenant-scope.ts'
import type { Scope } from '../http/access-rule.ts'
import type { KeyRole } from './api-key.ts'

// A write for each request would double the database's work to say almost the same each time.
const LAST_USED_EVERY_SECONDS = 60

/** What a login needs of a key. */
export type LoginRow = {
  role: KeyRole
  conference_id: string | null
  sponsor_id: string | null
  scopes: Scope[]
  secret_hash: string
  /** `last_used_at` is old enough to be written again. */
  use_is_news: boolean
}

/** The key's row while it may be used: neither revoked nor expired by the database's clock. */
export async function findUsableKey(trx: Tx, id: string): Promise<LoginRow | null> {
  const row = await trx('api_keys')
    .where({ id })
    .whereNull('revoked_at')
    .whereRaw('(expires_at is null or expires_at > now())')
    .first<LoginRow | undefined>([
      'role',
      'conference_id',
      'sponsor_id',
      'scopes',
      'secret_hash',
      trx.raw(
        'coalesce(last_used_at < now() - make_interval(secs => ?), true) as use_is_news',
        LAST_USED_EVERY_SECONDS,
      ),
    ])
  return row ?? null
}

/** Writes `last_used_at`. Does not wait for a row that somebody else changes just now. */
export async function recordUse(db: Db, id: string): Promise<void> {
  await withSystem(db, 'authenticate', (trx) =>
    trx('api_keys')
      .whereIn('id', trx('api_keys').select('id').where({ id }).forUpdate().skipLocked())
      .update({ last_used_at: trx.fn.now() }),
  )
}
