import type { z } from 'zod'
import type { apiKeySchema } from '../../access/api-key-schemas.ts'
import { momentText } from './moment-text.ts'
import type { Column } from './table.ts'

type KeyBody = z.infer<typeof apiKeySchema>

/** @param now decides what has expired. */
function keyState(key: KeyBody, now: Date): 'active' | 'revoked' | 'rotated' | 'expired' {
  if (key.revoked_at !== null) return 'revoked'
  if (key.expires_at !== null && new Date(key.expires_at) <= now) return 'expired'
  return key.rotated_to === null ? 'active' : 'rotated'
}

export function keyColumns(now: Date): readonly Column<KeyBody>[] {
  return [
    { head: 'ID', cell: ({ id }) => id },
    { head: 'NAME', cell: ({ name }) => name, paint: (_key, paint) => paint.bold },
    { head: 'ROLE', cell: ({ role }) => role },
    {
      head: 'STATE',
      cell: (key) => keyState(key, now),
      paint: (key, paint) => (keyState(key, now) === 'active' ? paint.green : paint.dim),
    },
    { head: 'SCOPES', cell: ({ scopes }) => scopes.join(',') },
    { head: 'SPONSOR', cell: ({ sponsor }) => sponsor },
    { head: 'ENDS', cell: ({ last4 }) => `…${last4}` },
    { head: 'EXPIRES (UTC)', cell: ({ expires_at }) => momentText(expires_at) },
    { head: 'LAST USED (UTC)', cell: ({ last_used_at }) => momentText(last_used_at) },
  ]
}
