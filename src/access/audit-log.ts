import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import type { Actor } from '../shared/caller.ts'
import { type NamedActor, namedActorOf } from './actor-names.ts'

/** What the log records (migrations/0073_audit_log.ts). */
export const AUDITED_OBJECTS = [
  'conference',
  'webhook_secret',
  'api_key',
  'user',
  'sponsor',
  'sponsor_level',
  'ticket_type',
  'add_on',
  'webhook_endpoint',
] as const

export const AUDIT_ACTIONS = ['created', 'changed', 'deleted'] as const

/** Who changed what, and when. A trigger writes it, so there is no function that does. */
export type AuditRow = {
  id: number
  created_at: Date
  actor_kind: Actor['kind']
  actor_id: string
  actor: NamedActor | null
  action: (typeof AUDIT_ACTIONS)[number]
  object: (typeof AUDITED_OBJECTS)[number]
  object_id: string
  /** By column: the values, or that they are hidden: secrets, and what identifies a person. */
  changes: Record<string, { from?: unknown; to?: unknown; hidden?: boolean }>
}

export type AuditFilter = {
  object?: AuditRow['object'] | undefined
  objectId?: string | undefined
  actorId?: string | undefined
}

/** Newest first. */
export function listAuditLog(
  trx: Tx,
  conferenceId: string,
  { object, objectId, actorId }: AuditFilter,
  page: PageQuery,
): Promise<Page<AuditRow>> {
  const query = trx('audit_log')
    .where({
      conference_id: conferenceId,
      ...(object === undefined ? {} : { object }),
      ...(objectId === undefined ? {} : { object_id: objectId }),
      ...(actorId === undefined ? {} : { actor_id: actorId }),
    })
    .select(
      'id',
      'created_at',
      'actor_kind',
      'actor_id',
      'action',
      'object',
      'object_id',
      'changes',
      trx.raw(`${namedActorOf('audit_log.actor_id')} as actor`),
    )
  return fetchPage(query, page)
}
