import { z } from 'zod'
import { pageOf, pageQuery } from '../../http/common-schemas.ts'
import { timestamp } from '../../shared/time.ts'
import { DRIFT_KINDS, DRIFT_OBJECTS, DRIFT_RESOURCES, type DriftResource } from './drift-line.ts'
import type { DriftPage, ResourceState } from './mirror-drift.ts'

export const driftQuery = z.strictObject({
  kind: z.enum(DRIFT_KINDS).optional().meta({ description: 'Only lines of this kind.' }),
  purchase: z.string().min(1).optional().meta({ description: 'Only lines of this purchase.' }),
  ...pageQuery,
})

const repairSchema = z
  .object({
    command: z.string().meta({ description: 'A command line.' }),
    request: z
      .object({
        method: z.literal('POST'),
        path: z.string(),
        body: z.record(z.string(), z.unknown()).optional(),
      })
      .meta({ description: 'The request that does the same.' }),
  })
  .meta({ id: 'DriftRepair' })

const value = z.union([z.string(), z.int()]).nullable()

const driftLine = z
  .object({
    kind: z.enum(DRIFT_KINDS).meta({
      description:
        '`missing`: here knows it, there does not. `extra`: the other way round. `different`: they say different things of it.',
    }),
    what: z.enum(DRIFT_OBJECTS),
    purchase: z.string().nullable(),
    stripe_id: z.string().nullable(),
    resource: z.enum(DRIFT_RESOURCES).meta({ description: 'What `stripe_id` is of.' }),
    field: z.string().nullable().meta({
      description: 'What differs of it; null when all of it is missing or extra.',
    }),
    here: value.meta({
      description: 'Amounts are minor units. Of something missing or extra: its status.',
    }),
    there: value,
    compared_with: z.literal('mirror'),
    repair: repairSchema.nullable().meta({
      description:
        'Null: nothing of ours repairs it, look at it in Stripe’s dashboard. After a repair, ask again.',
    }),
  })
  .meta({ id: 'DriftLine' })

const resourceState = z
  .object({
    synced_at: timestamp.nullable().meta({
      description:
        'When the last full sync began that went through. Null: there was none, so that `missing` says little and `extra` may lack something.',
    }),
    repair: repairSchema.nullable(),
  })
  .meta({ id: 'DriftMirrorState' })

export const driftPage = pageOf(driftLine)
  .extend({
    summary: z
      .object({ missing: z.int(), extra: z.int(), different: z.int() })
      .nullable()
      .meta({ description: 'Lines on all pages. Only on the first page.' }),
    mirror: z
      .object({
        payment_intents: resourceState,
        refunds: resourceState,
        disputes: resourceState,
        checkout_sessions: resourceState,
      })
      .meta({ description: 'How well the mirror can be compared with.' }),
  })
  .meta({ id: 'DriftPage' })

const stateBody = ({ synced_at, repair }: ResourceState) => ({
  synced_at: synced_at === null ? null : synced_at.toISOString(),
  repair,
})

/** A member for each resource, as the API spells them. */
export function toMirrorStateBody(mirror: DriftPage['mirror']) {
  const of = (resource: DriftResource) => stateBody(mirror[resource])
  return {
    payment_intents: of('payment-intents'),
    refunds: of('refunds'),
    disputes: of('disputes'),
    checkout_sessions: of('checkout-sessions'),
  }
}

/** A page of the report as the API answers it. */
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
