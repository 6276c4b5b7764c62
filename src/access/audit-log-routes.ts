import { z } from 'zod'
import { mapPage } from '../db/pages.ts'
import { withTenant } from '../db/tenant-scope.ts'
import { callerOf } from '../http/access-control.ts'
import { conferenceParams, id, pageOf, pageQuery } from '../http/common-schemas.ts'
import type { App, RouteDeps } from '../http/route-deps.ts'
import { timestamp, toTimestamp } from '../shared/time.ts'
import { nameInHistory } from './actor-names.ts'
import { AUDIT_ACTIONS, AUDITED_OBJECTS, type AuditRow, listAuditLog } from './audit-log.ts'

const entrySchema = z
  .object({
    id: z.string(),
    object: z.literal('audit_entry'),
    created_at: timestamp,
    actor: z.object({
      kind: z.enum(['operator', 'staff', 'sponsor', 'stripe', 'system']),
      id: z.string(),
      name: z.string().nullable(),
    }),
    action: z.enum(AUDIT_ACTIONS),
    subject: z.object({
      kind: z.enum(AUDITED_OBJECTS),
      id: z.string(),
      name: z.string().nullable().meta({
        description: 'Its present name. Null if it has no name, or no longer exists.',
      }),
    }),
    changes: z
      .record(
        z.string(),
        z.object({
          from: z.unknown().optional(),
          to: z.unknown().optional(),
          hidden: z.boolean().optional(),
        }),
      )
      .meta({
        description:
          'By field. `hidden` instead of the values for secrets, and for names and addresses of people.',
      }),
  })
  .meta({ id: 'AuditEntry' })

/** `C/audit-log`: who changed settings, keys, users, sponsors and the catalogue. */
export function auditLogRoutes(app: App, { reads }: RouteDeps): void {
  app.get(
    '/v1/conferences/:conference/audit-log',
    {
      config: { access: { anyOf: ['settings:write', 'keys:write'] } },
      schema: {
        operationId: 'listAuditLog',
        summary: 'List who changed settings, keys, users, sponsors and the catalogue',
        description:
          'Newest first. Changes of purchases and vouchers are in their own history. The log cannot be changed.',
        tags: ['Conferences'],
        params: conferenceParams,
        querystring: z.strictObject({
          ...pageQuery,
          kind: z.enum(AUDITED_OBJECTS).optional().meta({ description: 'Only objects of a kind.' }),
          subject: id.optional().meta({ description: 'Only the object with this id.' }),
          actor: id.optional().meta({ description: 'Only changes by this key or user.' }),
        }),
        response: { 200: pageOf(entrySchema).meta({ id: 'AuditEntryPage' }) },
      },
    },
    async (request) => {
      const caller = callerOf(request)
      const { kind, subject, actor, ...page } = request.query
      const filter = { object: kind, objectId: subject, actorId: actor }
      const read = await reads.of(request)
      const found = await read((db) =>
        withTenant(db, caller, (trx) => listAuditLog(trx, caller.conferenceId, filter, page)),
      )
      return mapPage(found, toEntryBody)
    },
  )
}

function toEntryBody(row: AuditRow): z.infer<typeof entrySchema> {
  return {
    id: String(row.id),
    object: 'audit_entry',
    created_at: toTimestamp(row.created_at),
    actor: {
      kind: row.actor_kind,
      id: row.actor_id,
      name: nameInHistory(row.actor_kind, row.actor, false),
    },
    action: row.action,
    subject: { kind: row.object, id: row.object_id, name: row.object_name },
    changes: row.changes,
  }
}
