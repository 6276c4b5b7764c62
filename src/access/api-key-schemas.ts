import { z } from 'zod'
import { optionalBody, pageOf, sponsorKey } from '../http/common-schemas.ts'
import { SCOPES } from '../shared/caller.ts'
import { timestamp, timestampInput, toTimestamp } from '../shared/time.ts'
import { type ApiKey, type IssuedKey, KEY_ROLES } from './api-key-store.ts'

export const scopeSchema = z.enum(SCOPES).meta({ id: 'Scope' })
const name = z.string().trim().min(1).max(200)

/** Seconds during which a rotated key still works: a day by default, at most 30 days. */
const OVERLAP_DEFAULT = 86_400
const OVERLAP_MAXIMUM = 30 * 86_400

export const createConferenceKeyBody = z
  .strictObject({
    role: z.enum(['staff', 'sponsor']),
    sponsor: sponsorKey.optional().meta({
      description: 'Required for the role sponsor: id, slug or external id of the sponsor.',
    }),
    scopes: z.array(scopeSchema).max(SCOPES.length).optional().meta({
      description: 'Only for the role staff. A key can grant only scopes that it has itself.',
    }),
    name,
    expires_at: timestampInput.optional(),
  })
  .meta({ id: 'CreateApiKey' })

export const createOperatorKeyBody = z
  .strictObject({
    role: z.literal('operator').optional(),
    name,
    expires_at: timestampInput.optional(),
  })
  .meta({ id: 'CreateOperatorApiKey' })

export const rotateKeyBody = optionalBody(
  z.strictObject({
    overlap_seconds: z.int().min(0).max(OVERLAP_MAXIMUM).default(OVERLAP_DEFAULT).meta({
      description: 'Seconds during which the old key still works.',
    }),
  }),
).meta({ id: 'RotateApiKey' })

export const apiKeySchema = z
  .object({
    id: z.string(),
    object: z.literal('api_key'),
    role: z.enum(KEY_ROLES),
    sponsor: z.string().nullable(),
    scopes: z.array(scopeSchema),
    name: z.string(),
    key: z.string().nullable().meta({
      description: 'The secret key. Null except in the response that creates it.',
    }),
    last4: z.string(),
    expires_at: timestamp.nullable(),
    revoked_at: timestamp.nullable(),
    rotated_to: z
      .string()
      .nullable()
      .meta({ description: 'The id of the key that replaces this one.' }),
    last_used_at: timestamp
      .nullable()
      .meta({ description: 'When the key was last used. Updated at most once per minute.' }),
    created_at: timestamp,
  })
  .meta({ id: 'ApiKey' })

export const apiKeyPage = pageOf(apiKeySchema).meta({ id: 'ApiKeyPage' })

export function toApiKeyBody(apiKey: ApiKey, text: string | null): z.infer<typeof apiKeySchema> {
  return {
    id: apiKey.id,
    object: 'api_key',
    role: apiKey.role,
    sponsor: apiKey.sponsorId,
    scopes: apiKey.scopes,
    name: apiKey.name,
    key: text,
    last4: apiKey.last4,
    expires_at: toTimestamp(apiKey.expiresAt),
    revoked_at: toTimestamp(apiKey.revokedAt),
    rotated_to: apiKey.rotatedTo,
    last_used_at: toTimestamp(apiKey.lastUsedAt),
    created_at: toTimestamp(apiKey.createdAt),
  }
}

export function toIssuedKeyBody({ apiKey, text }: IssuedKey): z.infer<typeof apiKeySchema> {
  return toApiKeyBody(apiKey, text)
}
