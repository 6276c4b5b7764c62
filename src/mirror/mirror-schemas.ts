import { z } from 'zod'
import { type PageQuery } from '../db/pages.ts'
import { conferenceParams, flag, pageOf, pageQuery, stripeId } from '../http/common-schemas.ts'
import { timestamp, timestampInput, toTimestamp } from '../shared/time.ts'
import type { ColumnType } from './mirror-column.ts'
import type { MirrorFilter, StoredMirrorRow } from './mirror-store.ts'
import { ALL_RESOURCES, mirrorNames } from './resource-registry.ts'
import type { StripeResource } from './stripe-resource.ts'

type TableShape = Pick<StripeResource, 'name' | 'description' | 'objects' | 'columns'>

type Shape = { [name: string]: z.ZodType }

/** Stripe's own limit of most texts. @see https://github.com/stripe/openapi */
const MAX_TEXT_LENGTH = 5_000

// `z.coerce` would read an empty text as 0 and every text as true.
const integer = z.preprocess(
  (value) => (typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value),
  z.int(),
)

/** The column types that a list can be filtered by. Equality is of little use for the others. */
const FILTERS: { readonly [Type in ColumnType]?: z.ZodType } = {
  text: z.string().min(1).max(MAX_TEXT_LENGTH),
  bigint: integer,
  boolean: flag,
}

function filtersOf({ columns }: TableShape, known = FILTERS): Shape {
  const filters: Shape = {}
  for (const [name, { type }] of Object.entries(columns)) {
    const filter = known[type]
    if (filter !== undefined) filters[name] = filter.optional()
  }
  return filters
}

/**
 * As the document shows them: with the bounds of every JavaScript integer, and without the rule that the
 * document gives once for all filters: none may be empty.
 */
const DOCUMENTED_FILTERS: typeof FILTERS = {
  text: z.string().max(MAX_TEXT_LENGTH),
  bigint: z.int().min(Number.MIN_SAFE_INTEGER).max(Number.MAX_SAFE_INTEGER),
  boolean: flag,
}

const fixedQuery = {
  created_after: timestampInput.optional(),
  created_before: timestampInput.optional(),
  include_deleted: flag.default(false).meta({
    description: 'true: also list objects that were deleted at Stripe.',
  }),
  ...pageQuery,
}

type MirrorQuery = { filter: MirrorFilter; page: PageQuery }

function querySchema(resource: TableShape) {
  // A column with the name of a fixed parameter has no filter.
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

const json = z.unknown()

const VALUES: { readonly [Type in ColumnType]: z.ZodType } = {
  text: z.string().nullable(),
  bigint: z.int().nullable(),
  numeric: z.number().nullable(),
  boolean: z.boolean().nullable(),
  timestamptz: timestamp.nullable(),
  jsonb: json,
}

function valueOf(name: string, type: ColumnType): z.ZodType {
  if (type === 'numeric' && isExactDecimal(name)) {
    return z.string().nullable().meta({ description: 'An exact decimal.' })
  }
  return VALUES[type]
}

const rowBase = z
  .object({
    id: z.string().meta({ description: "Stripe's id." }),
    livemode: z.boolean().nullable(),
    as_of: timestamp.meta({
      description: 'The row shows the object as it was at this time or later.',
    }),
    deleted_at: timestamp.nullable().meta({
      description:
        'When the mirror found that the object was deleted at Stripe. The other fields keep their last values.',
    }),
    created: timestamp.nullable().meta({
      description:
        'When the object was created at Stripe. Null if it was deleted before the mirror fetched it.',
    }),
    metadata: json,
    data: z.record(z.string(), z.unknown()).meta({
      description: 'The whole Stripe object. Every `client_secret` is removed.',
    }),
  })
  .meta({
    id: 'StripeObjectBase',
    description: "The fields of every row. A field without a type is as in Stripe's object.",
  })

/** The zod schemas of one resource's routes. Call it once for a resource: zod registers the names. */
function mirrorSchemas(resource: TableShape) {
  const columns = Object.fromEntries(
    Object.entries(resource.columns).map(([name, { type }]) => [name, valueOf(name, type)]),
  )
  // An enum only in the document: a kind that Stripe adds later is still returned.
  const object = z.string().meta({ enum: resource.objects })
  const { id, metadata, data, ...common } = rowBase.shape
  const body = z.object({ id, object, ...common, ...columns, metadata, data })
  return {
    /** The row in the API document. */
    row: z
      .intersection(rowBase, z.object({ object, ...columns }))
      .meta({ id: mirrorNames(resource).schema, description: resource.description }),
    /** The row in a response, with its members in the order of the columns. */
    body,
    page: pageOf(body),
    query: querySchema(resource),
    params: conferenceParams.extend({ id: stripeId }),
  }
}

/** A mirrored object as the API shows it. */
export type MirrorBody = {
  id: string
  object: string
  livemode: boolean | null
  as_of: string
  deleted_at: string | null
  created: string | null
  metadata: unknown
  data: { [member: string]: unknown }
} & { [column: string]: unknown }

/** True for decimals that Stripe sends as text, because JSON numbers can be rounded. */
function isExactDecimal(column: string): boolean {
  return column.endsWith('_decimal')
}

function toApiValue(name: string, type: ColumnType, value: unknown): unknown {
  if (value instanceof Date) return toTimestamp(value)
  if (type === 'numeric' && typeof value === 'string') {
    return isExactDecimal(name) ? value : Number(value)
  }
  return type === 'jsonb' ? withoutClientSecrets(value) : value
}

export function toMirrorBody(
  resource: Pick<StripeResource, 'columns' | 'objects'>,
  row: StoredMirrorRow,
): MirrorBody {
  const typed = Object.entries(resource.columns).map(
    ([name, { type }]) => [name, toApiValue(name, type, row[name])] as const,
  )
  return {
    id: row.id,
    object: row.data.object ?? resource.objects[0] ?? '',
    livemode: row.livemode,
    as_of: toTimestamp(row.as_of),
    deleted_at: toTimestamp(row.deleted_at),
    // The epoch stands for an unknown time.
    created: row.created.getTime() === 0 ? null : toTimestamp(row.created),
    ...Object.fromEntries(typed),
    metadata: row.metadata,
    data: withoutClientSecrets(row.data),
  }
}

/**
 * Copies a value without members named `client_secret`, at any depth: with a client secret one can
 * complete the payment or change its payment method. `metadata` is kept as it is.
 *
 * @see https://docs.stripe.com/api/payment_intents/object#payment_intent_object-client_secret
 */
function withoutClientSecrets<T>(value: T): T {
  // The type stays the same: no reader of the mirror uses client secrets.
  if (Array.isArray(value)) return value.map((item: unknown) => withoutClientSecrets(item)) as T
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value)
    .filter(([name]) => name !== 'client_secret')
    .map(([name, member]) => [name, name === 'metadata' ? member : withoutClientSecrets(member)])
  return Object.fromEntries(members) as T
}

/** A resource with the zod schemas of its routes. */
export type Mirror = { resource: StripeResource; schemas: ReturnType<typeof mirrorSchemas> }

/** All resources. Built once for all apps of this process, because zod registers the names. */
export const MIRRORS: readonly Mirror[] = ALL_RESOURCES.map((resource) => ({
  resource,
  schemas: mirrorSchemas(resource),
}))

/** The schemas of one resource's routes. @throws Error if no resource has this name. */
export function mirrorSchemasOf(name: string): Mirror['schemas'] {
  const found = MIRRORS.find(({ resource }) => resource.name === name)
  if (found === undefined) throw new Error(`There is no resource ${name}`)
  return found.schemas
}

export const resourceName = z
  .enum(ALL_RESOURCES.map(({ name }) => name))
  .meta({ id: 'StripeResource' })

/** The path parameters with the name of a resource. */
export const resourceParams = conferenceParams.extend({
  resource: resourceName,
})

const anyRow = z.union(MIRRORS.map(({ schemas }) => schemas.row)).meta({
  id: 'StripeObject',
  discriminator: {
    propertyName: 'object',
    mapping: Object.fromEntries(
      ALL_RESOURCES.flatMap((resource) =>
        resource.objects.map((object) => [
          object,
          `#/components/schemas/${mirrorNames(resource).schema}`,
        ]),
      ),
    ),
  },
})

/** The schemas for the API document, which shows the routes of all resources as one operation each. */
export const documentedMirror = {
  row: anyRow,
  page: pageOf(anyRow).meta({ id: 'StripeObjectPage' }),
  query: z.strictObject({
    ...Object.assign({}, ...ALL_RESOURCES.map((one) => filtersOf(one, DOCUMENTED_FILTERS))),
    ...fixedQuery,
  } as Shape),
  params: resourceParams,
  rowParams: resourceParams.extend({
    id: stripeId.meta({ description: "Stripe's id of the object." }),
  }),
}
