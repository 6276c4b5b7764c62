import { z } from 'zod'
import { conferenceParams, timestamp, timestampInput } from '../../http/common-schemas.ts'
import { type PageQuery, pageOf, pageQuery } from '../../http/pages.ts'
import { isExact } from './mirror-body.ts'
import type { ColumnType } from './mirror-column.ts'
import { mirrorNames } from './mirror-names.ts'
import type { MirrorFilter } from './mirror-store.ts'
import type { StripeResource } from './stripe-resource.ts'

type Shaped = Pick<StripeResource, 'name' | 'objects' | 'columns'>

type Shape = { [name: string]: z.ZodType }

// Not `z.coerce`, which takes an empty text for 0 and any text for true.
const integer = z.preprocess(
  (value) => (typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value),
  z.int(),
)

const WORDS: { [word: string]: boolean } = { true: true, false: false }

const flag = z.preprocess(
  (value) => (typeof value === 'string' ? (WORDS[value] ?? value) : value),
  z.boolean(),
)

/** Types that a list can be filtered by; the others are not compared for equality in practice. */
const FILTERS: { readonly [Type in ColumnType]?: z.ZodType } = {
  text: z.string().min(1),
  bigint: integer,
  boolean: flag,
}

function filtersOf({ columns }: Shaped): Shape {
  const filters: Shape = {}
  for (const [name, { type }] of Object.entries(columns)) {
    const filter = FILTERS[type]
    if (filter !== undefined) filters[name] = filter.optional()
  }
  return filters
}

const fixedQuery = {
  created_after: timestampInput.optional(),
  created_before: timestampInput.optional(),
  include_deleted: flag.default(false).meta({
    description: 'True: tombstones as well, which are left out otherwise.',
  }),
  ...pageQuery,
}

export type MirrorQuery = { filter: MirrorFilter; page: PageQuery }

function querySchema(resource: Shaped) {
  // What every list takes comes last: a column of such a name has no filter.
  const filters = Object.keys(filtersOf(resource)).filter((name) => !(name in fixedQuery))
  return z
    .strictObject({ ...filtersOf(resource), ...fixedQuery })
    .transform((query): MirrorQuery => {
      const { created_after: createdAfter, created_before: createdBefore } = query
      const given: { [name: string]: unknown } = query
      return {
        filter: {
          equal: Object.fromEntries(
            filters.flatMap((name) => (given[name] === undefined ? [] : [[name, given[name]]])),
          ),
          createdAfter,
          createdBefore,
          includeDeleted: query.include_deleted,
        },
        page: { limit: query.limit, cursor: query.cursor },
      }
    })
}

const json = z.unknown().meta({ description: "As in Stripe's object." })

const VALUES: { readonly [Type in ColumnType]: z.ZodType } = {
  text: z.string().nullable(),
  bigint: z.int().nullable(),
  numeric: z.number().nullable(),
  boolean: z.boolean().nullable(),
  timestamptz: timestamp.nullable(),
  jsonb: json,
}

function valueOf(name: string, type: ColumnType): z.ZodType {
  if (type === 'numeric' && isExact(name)) {
    return z.string().nullable().meta({ description: 'A decimal, exact.' })
  }
  return VALUES[type]
}

function rowSchema(resource: Shaped) {
  const columns = Object.entries(resource.columns).map(
    ([name, { type }]) => [name, valueOf(name, type)] as const,
  )
  const kinds = resource.objects.map((object) => `\`${object}\``).join(' or ')
  return z
    .object({
      id: z.string().meta({ description: "Stripe's own id." }),
      object: z.string().meta({ description: `As Stripe names the kind: ${kinds}.` }),
      livemode: z.boolean().nullable(),
      as_of: timestamp.meta({ description: 'Stripe was asked for it at this moment, or later.' }),
      deleted_at: timestamp.nullable().meta({
        description: 'When we learned that Stripe has it no more. The rest is what it was then.',
      }),
      created: timestamp.nullable().meta({
        description: 'When it was created at Stripe; null for one that we only know as deleted.',
      }),
      ...Object.fromEntries(columns),
      metadata: json,
      data: z.record(z.string(), z.unknown()).meta({
        description: "Stripe's object whole, but for every `client_secret`.",
      }),
    })
    .meta({ id: mirrorNames(resource).schema })
}

/** The zod schemas of one resource's routes. Once for a resource: their names are registered. */
export function mirrorSchemas(resource: Shaped) {
  const row = rowSchema(resource)
  const id = z.string().meta({ description: `Stripe's id of the ${mirrorNames(resource).one}.` })
  return {
    row,
    page: pageOf(row).meta({ id: `${mirrorNames(resource).schema}Page` }),
    query: querySchema(resource),
    params: conferenceParams.extend({ id }),
  }
}
