import { z } from 'zod'
import type { Tx } from '../db/connect.ts'
import { fetchPage, type Page, type PageQuery } from '../db/pages.ts'
import { isUniqueViolation } from '../db/pg-errors.ts'
import { PREPARED } from '../db/pipeline.ts'
import { AppError, invalidField, notFound } from '../shared/errors.ts'
import { type IdKind, newId } from '../shared/ids.ts'
import { STRIPE_MAXIMUM_AMOUNT } from '../shared/money.ts'
import { moment } from '../shared/time.ts'

export type CatalogKind = 'ticket_type' | 'add_on'

/** A ticket type or add-on: what a voucher is for. */
export type CatalogItem = {
  id: string
  kind: CatalogKind
  name: string
  description: string | null
  /** Integer minor units of the conference's currency. */
  price: number
  /** Whether sponsors can see it and buy it in bulk. */
  bulkEnabled: boolean
  /** Sold from this time (included) until that time (excluded). null: no limit. */
  activeFrom: Date | null
  activeUntil: Date | null
  voucherDefaults: VoucherDefaults
  createdAt: Date
  updatedAt: Date
}

type KindTraits = {
  table: 'ticket_types' | 'add_ons'
  idKind: IdKind
  /** Last segment of the collection's path. */
  path: string
  /** In messages for people. */
  noun: string
  /** The noun with its indefinite article. */
  withArticle: string
  /** In operation ids and component names of openapi.yaml. */
  title: string
}

/** The only differences between ticket types and add-ons. */
export const CATALOG_KINDS: Record<CatalogKind, KindTraits> = {
  ticket_type: {
    table: 'ticket_types',
    idKind: 'ticketType',
    path: 'ticket-types',
    noun: 'ticket type',
    withArticle: 'a ticket type',
    title: 'TicketType',
  },
  add_on: {
    table: 'add_ons',
    idKind: 'addOn',
    path: 'add-ons',
    noun: 'add-on',
    withArticle: 'an add-on',
    title: 'AddOn',
  },
}

/** @throws AppError `already_exists` for a name in use, `validation_failed` if the sale ends before it begins. */
export async function createItem(
  trx: Tx,
  conferenceId: string,
  kind: CatalogKind,
  values: CatalogValues & { name: string; price: number },
): Promise<CatalogItem> {
  assertWindow(values.active_from, values.active_until)
  return insertItem(trx, conferenceId, kind, { id: newId(CATALOG_KINDS[kind].idKind), ...values })
}

function assertWindow(from: Date | null | undefined, until: Date | null | undefined): void {
  if (from && until && until <= from) {
    throw invalidField('/active_until', 'must be after active_from')
  }
}

/**
 * Updates the given fields. Existing purchases keep their price and terms.
 *
 * @throws AppError `not_found`, and the errors of `createItem`.
 */
export async function changeItem(
  trx: Tx,
  conferenceId: string,
  kind: CatalogKind,
  id: string,
  values: CatalogValues,
): Promise<CatalogItem> {
  const before = await lockItem(trx, conferenceId, kind, id)
  const { active_from: from = before.activeFrom, active_until: until = before.activeUntil } = values
  assertWindow(from, until)
  return updateItem(trx, conferenceId, kind, id, values)
}

/** The item if the caller may see it. @throws AppError `not_found` */
export async function getVisibleItem(
  trx: Tx,
  conferenceId: string,
  kind: CatalogKind,
  id: string,
  { bulkEnabledOnly }: Visibility,
): Promise<CatalogItem> {
  const item = await findCatalogItem(trx, conferenceId, kind, id)
  if (item === null || (bulkEnabledOnly && !item.bulkEnabled)) {
    throw notFound(CATALOG_KINDS[kind].noun)
  }
  return item
}

const COLUMNS = [
  'id',
  'name',
  'description',
  'price',
  'bulk_enabled',
  'active_from',
  'active_until',
  'voucher_defaults',
  'created_at',
  'updated_at',
] as const

export type CatalogRow = {
  id: string
  name: string
  description: string | null
  price: number
  bulk_enabled: boolean
  active_from: Date | null
  active_until: Date | null
  voucher_defaults: VoucherDefaults
  created_at: Date
  updated_at: Date
}

/** Columns that a caller may set. An undefined one keeps its value or its default. */
type CatalogValues = {
  [K in Exclude<keyof CatalogRow, 'id' | 'created_at' | 'updated_at'>]?: CatalogRow[K] | undefined
}

/** Which items a caller may see. */
export type Visibility = { bulkEnabledOnly: boolean }

export function toCatalogItem(kind: CatalogKind, row: CatalogRow): CatalogItem {
  return {
    id: row.id,
    kind,
    name: row.name,
    description: row.description,
    price: row.price,
    bulkEnabled: row.bulk_enabled,
    activeFrom: row.active_from,
    activeUntil: row.active_until,
    voucherDefaults: row.voucher_defaults,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  }
}

const itemsOf = (trx: Tx, kind: CatalogKind, conferenceId: string) =>
  trx(CATALOG_KINDS[kind].table).where({ conference_id: conferenceId })

/** @throws AppError `already_exists` for a name in use. */
async function insertItem(
  trx: Tx,
  conferenceId: string,
  kind: CatalogKind,
  values: CatalogValues & { id: string; name: string; price: number },
): Promise<CatalogItem> {
  try {
    const [row] = await trx(CATALOG_KINDS[kind].table)
      .insert({ conference_id: conferenceId, ...values })
      .returning<CatalogRow[]>([...COLUMNS])
    if (row === undefined) throw new Error('The insert returned no row')
    return toCatalogItem(kind, row)
  } catch (error) {
    throw conflictOf(error, kind, values.name)
  }
}

function conflictOf(error: unknown, kind: CatalogKind, name: string | undefined): unknown {
  const { table, noun } = CATALOG_KINDS[kind]
  if (!isUniqueViolation(error, `${table}_name_key`)) return error
  return new AppError(
    'already_exists',
    `The name "${name ?? ''}" is already taken by another ${noun}.`,
    {
      errors: [{ pointer: '/name', detail: 'is taken' }],
    },
  )
}

/** The item of this conference, or null. */
export async function findCatalogItem(
  trx: Tx,
  conferenceId: string,
  kind: CatalogKind,
  id: string,
): Promise<CatalogItem | null> {
  const row = await itemsOf(trx, kind, conferenceId)
    .where({ id })
    .options(PREPARED)
    .first<CatalogRow | undefined>([...COLUMNS])
  return row === undefined ? null : toCatalogItem(kind, row)
}

/**
 * SQL for the name of a ticket type or an add-on.
 *
 * @param row - alias of a row with conference_id, ticket_type_id and add_on_id.
 */
export const itemNameOf = (row: string) => `coalesce(
  (select t.name from ticket_types t
    where t.conference_id = ${row}.conference_id and t.id = ${row}.ticket_type_id),
  (select a.name from add_ons a
    where a.conference_id = ${row}.conference_id and a.id = ${row}.add_on_id))`

/** The item under a row lock. @throws AppError `not_found` */
async function lockItem(
  trx: Tx,
  conferenceId: string,
  kind: CatalogKind,
  id: string,
): Promise<CatalogItem> {
  const row = await itemsOf(trx, kind, conferenceId)
    .where({ id })
    .forUpdate()
    .first<CatalogRow | undefined>([...COLUMNS])
  if (row === undefined) throw notFound(CATALOG_KINDS[kind].noun)
  return toCatalogItem(kind, row)
}

export function listItems(
  trx: Tx,
  conferenceId: string,
  kind: CatalogKind,
  { bulkEnabledOnly }: Visibility,
  page: PageQuery,
): Promise<Page<CatalogRow>> {
  const query = itemsOf(trx, kind, conferenceId)
  if (bulkEnabledOnly) void query.where({ bulk_enabled: true })
  return fetchPage(query.select([...COLUMNS]), page)
}

/** Updates the given fields. @throws AppError `already_exists` for a name in use, `not_found`. */
async function updateItem(
  trx: Tx,
  conferenceId: string,
  kind: CatalogKind,
  id: string,
  values: CatalogValues,
): Promise<CatalogItem> {
  try {
    const [row] = await itemsOf(trx, kind, conferenceId)
      .where({ id })
      .update({ ...values, updated_at: trx.fn.now() })
      .returning<CatalogRow[]>([...COLUMNS])
    if (row === undefined) throw notFound(CATALOG_KINDS[kind].noun)
    return toCatalogItem(kind, row)
  } catch (error) {
    throw conflictOf(error, kind, values.name)
  }
}

const utcMoment = moment.transform((text) => new Date(text).toISOString())

/** The members of `voucher_config` and `voucher_defaults` and their rules. */
export const voucherConfigFields = {
  voucher_type: z.enum(['comp', 'percentage', 'fixed_amount']),
  discount_value: z.number().min(0).max(STRIPE_MAXIMUM_AMOUNT).meta({
    id: 'DiscountValue',
    description:
      'percentage: 0 to 100 with at most two decimals; fixed_amount: integer minor units; comp: 0 or 100.',
  }),
  max_uses: z
    .int()
    .min(1)
    .max(1_000_000)
    .meta({ description: 'Number of redemptions of one code.' }),
  valid_from: utcMoment.nullable(),
  valid_until: utcMoment.nullable(),
  unlocks_hidden_tickets: z.boolean(),
  // A code has at most 100 characters, of which up to 32 are random.
  prefix: z
    .string()
    .regex(/^[A-Z0-9-]{0,68}$/, 'must have at most 68 characters, only A-Z, 0-9 and hyphens')
    .meta({ maxLength: 68 }),
}

const fields = z.strictObject(voucherConfigFields).partial()

/** The voucher terms of a ticket type or add-on. Absent ones get a default later. */
type VoucherDefaults = z.output<typeof fields>

/** The rule that `discount_value` breaks for this voucher type, or null. */
export function discountRule({ voucher_type, discount_value }: VoucherDefaults): string | null {
  const type = voucher_type ?? 'comp'
  if (discount_value === undefined) {
    return type === 'comp' ? null : `is required for the voucher_type ${type}`
  }
  switch (type) {
    case 'comp':
      return discount_value === 0 || discount_value === 100
        ? null
        : 'must be 0 or 100 for a comp voucher'
    case 'percentage':
      return discount_value <= 100 && Number(discount_value.toFixed(2)) === discount_value
        ? null
        : 'must be a percentage from 0 to 100 with at most two decimals'
    case 'fixed_amount':
      return Number.isInteger(discount_value) ? null : 'must be an integer number of minor units'
  }
}

/** `voucher_defaults` in a request. */
export const voucherDefaultsSchema = fields.superRefine((terms, context) => {
  const problem = discountRule(terms)
  if (problem !== null) {
    context.addIssue({ code: 'custom', path: ['discount_value'], message: problem })
  }
  const { valid_from: from, valid_until: until } = terms
  // Both are in UTC, so comparing the texts compares the times.
  if (from && until && until <= from) {
    context.addIssue({ code: 'custom', path: ['valid_until'], message: 'must be after valid_from' })
  }
})
