import { z } from 'zod'
import { amount, conferenceParams, id, pageOf } from '../http/common-schemas.ts'
import { timestamp, timestampInput, toTimestamp } from '../shared/time.ts'
import type { CatalogItem, CatalogKind } from './catalog-items.ts'
import { CATALOG_KINDS, voucherConfigFields, voucherDefaultsSchema } from './catalog-items.ts'

const fields = {
  name: z.string().trim().min(1).max(200),
  description: z.string().max(2000).nullable(),
  price: amount.meta({ description: "Integer minor units of the conference's currency." }),
  bulk_enabled: z
    .boolean()
    .meta({ description: 'Whether sponsors can see the item and buy it in bulk.' }),
  active_from: timestampInput.nullable().meta({ description: 'Start of the sale.' }),
  active_until: timestampInput.nullable().meta({ description: 'End of the sale.' }),
  voucher_defaults: voucherDefaultsSchema.meta({
    id: 'SetVoucherDefaults',
    description: 'Terms of the vouchers that are bought for the item. Replaced as a whole.',
  }),
}

const changes = z.strictObject(fields).partial()
const updateBody = changes.meta({ id: 'UpdateCatalogItem' })
const createBody = changes
  .extend({ name: fields.name, price: fields.price })
  .meta({ id: 'CreateCatalogItem' })

const { valid_from: _from, valid_until: _until, ...plainConfig } = voucherConfigFields

// Responses are not transformed, so they have the times as they are stored.
const voucherDefaultsBody = z
  .object({ ...plainConfig, valid_from: timestamp.nullable(), valid_until: timestamp.nullable() })
  .partial()
  .meta({ id: 'VoucherDefaults' })

export const catalogParams = conferenceParams.extend({ id })

/** The request and response schemas of one kind, with their own component names. */
export function catalogSchemas(kind: CatalogKind) {
  const { title } = CATALOG_KINDS[kind]
  const item = itemSchema(kind)
  return {
    createBody,
    updateBody,
    item,
    page: pageOf(item).meta({ id: `${title}Page` }),
  }
}

function itemSchema<K extends CatalogKind>(kind: K) {
  return z
    .object({
      id: z.string(),
      object: z.literal(kind),
      name: z.string(),
      description: z.string().nullable(),
      price: z.int(),
      bulk_enabled: z.boolean(),
      active_from: timestamp.nullable(),
      active_until: timestamp.nullable(),
      voucher_defaults: voucherDefaultsBody,
      created_at: timestamp,
      updated_at: timestamp,
    })
    .meta({ id: CATALOG_KINDS[kind].title })
}

export function toCatalogBody(item: CatalogItem) {
  return {
    id: item.id,
    object: item.kind,
    name: item.name,
    description: item.description,
    price: item.price,
    bulk_enabled: item.bulkEnabled,
    active_from: toTimestamp(item.activeFrom),
    active_until: toTimestamp(item.activeUntil),
    voucher_defaults: item.voucherDefaults,
    created_at: toTimestamp(item.createdAt),
    updated_at: toTimestamp(item.updatedAt),
  }
}
