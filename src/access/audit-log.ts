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
  /** Its present name. Null if it has no name, or was erased. */
  object_name: string | null
  /** By column: the values, or that they are hidden: secrets, and what identifies a person. */
  changes: Record<string, { from?: unknown; to?: unknown; hidden?: boolean }>
}

const NAMED_TABLES = [
  { object: 'sponsor', table: 'sponsors', name: 'name' },
  { object: 'sponsor_level', table: 'sponsor_levels', name: 'name' },
  { object: 'ticket_type', table: 'ticket_types', name: 'name' },
  { object: 'add_on', table: 'add_ons', name: 'name' },
  { object: 'webhook_endpoint', table: 'webhook_endpoints', name: 'url' },
] as const satisfies readonly { object: AuditRow['object']; table: string; name: string }[]

export type AuditFilter = {
  object?: AuditRow['object'] | undefined
  objectId?: string | undefined
  actorId?: string | undefined
}

/** SQL for the name of what was changed. Names are not in the log itself, so that they can be erased. */
const OBJECT_NAME = `case audit_log.object
  ${NAMED_TABLES.map(
    ({ object, table, name }) => `when '${object}' then (
      select named.${name} from ${table} named
      where named.conference_id = audit_log.conference_id and named.id = audit_log.object_id)`,
  ).join('\n')}
  when 'api_key' then (select a.name from actor_names a where a.id = audit_log.object_id)
  when 'user' then (select coalesce(u.name, u.email) from users u
    where u.conference_id = audit_log.conference_id and u.id = audit_log.object_id)
  end`

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
      trx.raw(`${OBJECT_NAME} as object_name`),
    )
  return fetchPage(query, page)
}
