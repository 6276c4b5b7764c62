import { z } from 'zod'
import { id, pageOf, pageQuery } from '../../http/common-schemas.ts'
import { timestamp } from '../../shared/time.ts'
import { DRIFT_KINDS, DRIFT_OBJECTS, DRIFT_RESOURCES, type DriftResource } from './drift-line.ts'
import type { DriftPage, ResourceState } from './mirror-drift.ts'

export const driftQuery = z.strictObject({
  kind: z.enum(DRIFT_KINDS).optional().meta({ description: 'Only differences of this kind.' }),
  purchase: id.min(1).optional().meta({ description: 'Only differences of this purchase.' }),
  ...pageQuery,
})

const repairSchema = z
  .object({
    command: z.string().meta({ description: 'A command of the command line.' }),
    request: z
      .object({
        method: z.literal('POST'),
        path: z.string(),
        body: z.record(z.string(), z.unknown()).optional(),
      })
      .meta({ description: 'The equivalent request.' }),
  })
  .meta({ id: 'DriftRepair' })

const value = z.union([z.string(), z.int()]).nullable()

const driftLine = z
  .object({
    kind: z.enum(DRIFT_KINDS).meta({
      description:
        '`missing`: exists in this service (here) but not in the mirror (there). `extra`: exists there but not here. `different`: exists on both sides with different values.',
    }),
    what: z.enum(DRIFT_OBJECTS),
    purchase: z.string().nullable(),
    stripe_id: z.string().nullable(),
    resource: z
      .enum(DRIFT_RESOURCES)
      .meta({ description: 'The resource that `stripe_id` belongs to.' }),
    field: z.string().nullable().meta({
      description: 'The field that differs. Null for a missing or extra object.',
    }),
    here: value.meta({
      description: 'Amounts are in minor units. For a missing or extra object: its status.',
    }),
    there: value,
    compared_with: z.literal('mirror'),
    repair: repairSchema.nullable().meta({
      description:
        'How to repair the difference. Request the report again afterwards. Null: this service cannot repair it; check the Stripe dashboard.',
    }),
  })
  .meta({ id: 'DriftLine' })

const resourceState = z
  .object({
    synced_at: timestamp.nullable().meta({
      description:
        'The start of the last successful full sync. Null if there was none: then `missing` is not reliable and `extra` can be incomplete.',
    }),
    repair: repairSchema.nullable(),
  })
  .meta({ id: 'DriftMirrorState' })

export const driftPage = pageOf(driftLine)
  .extend({
    summary: z
      .object({ missing: z.int(), extra: z.int(), different: z.int() })
      .nullable()
      .meta({ description: 'Numbers of differences on all pages. Only on the first page.' }),
    mirror: z
      .object({
        payment_intents: resourceState,
        refunds: resourceState,
        disputes: resourceState,
        checkout_sessions: resourceState,
      })
      .meta({
        description: 'Whether each resource of the mirror is complete enough to compare with.',
      }),
  })
  .meta({ id: 'DriftPage' })

const stateBody = ({ synced_at, repair }: ResourceState) => ({
  synced_at: synced_at === null ? null : synced_at.toISOString(),
  repair,
})

/** One member for each resource, with the names of the API. */
export function toMirrorStateBody(mirror: DriftPage['mirror']) {
  const of = (resource: DriftResource) => stateBody(mirror[resource])
  return {
    payment_intents: of('payment-intents'),
    refunds: of('refunds'),
    disputes: of('disputes'),
    checkout_sessions: of('checkout-sessions'),
  }
}

export function toDriftBody({ mirror, data, ...page }: DriftPage): z.input<typeof driftPage> {
  return {
    ...page,
    data: data.map(({ source: _source, compared_with: _with, ...line }) => ({
      ...line,
      compared_with: 'mirror' as const,
    })),
    mirror: toMirrorStateBody(mirror),
  }
}
