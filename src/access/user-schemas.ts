import { z } from 'zod'
import { pageOf, sponsorKey } from '../http/common-schemas.ts'
import { SCOPES } from '../shared/caller.ts'
import { timestamp, toTimestamp } from '../shared/time.ts'
import { scopeSchema } from './api-key-schemas.ts'
import { KEY_ROLES } from './api-key-store.ts'
import type { UserRow } from './user-store.ts'

const email = z.email().max(254)
const name = z.string().trim().min(1).max(200)

export const inviteUserBody = z
  .strictObject({
    email,
    name: name.optional(),
    role: z.enum(['staff', 'sponsor']),
    sponsor: sponsorKey.optional().meta({
      description:
        'For the role sponsor: id, slug or external id of the sponsor. A sponsor that invites a colleague may omit it.',
    }),
    scopes: z.array(scopeSchema).max(SCOPES.length).optional().meta({
      description: 'Only for the role staff. A caller can grant only scopes that it has itself.',
    }),
  })
  .meta({ id: 'InviteUser' })

export const inviteOperatorBody = z
  .strictObject({ email, name: name.optional() })
  .meta({ id: 'InviteOperator' })

export const changeUserBody = z
  .strictObject({
    name: name.nullish(),
    scopes: z.array(scopeSchema).max(SCOPES.length).optional(),
  })
  .meta({ id: 'ChangeUser' })

export const userSchema = z
  .object({
    id: z.string(),
    object: z.literal('user'),
    email: z.string(),
    name: z.string().nullable(),
    role: z.enum(KEY_ROLES),
    sponsor: z.string().nullable(),
    scopes: z.array(scopeSchema),
    last_seen_at: timestamp
      .nullable()
      .meta({ description: 'Updated at most once per minute. Null: never signed in.' }),
    created_at: timestamp,
  })
  .meta({ id: 'User' })

export const userPage = pageOf(userSchema).meta({ id: 'UserPage' })

export function toUserBody(row: UserRow): z.infer<typeof userSchema> {
  return {
    id: row.id,
    object: 'user',
    email: row.email,
    name: row.name,
    role: row.role,
    sponsor: row.sponsor_id,
    scopes: row.scopes,
    last_seen_at: toTimestamp(row.last_seen_at),
    created_at: toTimestamp(row.created_at),
  }
}
