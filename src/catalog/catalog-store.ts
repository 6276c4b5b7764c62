import type { Tx } from '../db/connect.ts'
import { isUniqueViolation } from '../db/pg-errors.ts'
import { fetchPage, type Page, type PageQuery } from '../http/pages.ts'
import { AppError, notFound } from '../shared/errors.ts'
import type { CatalogItem, CatalogKind } from './catalog-item.ts'
import { CATALOG_KINDS } from './catalog-kinds.ts'
import type { VoucherDefaults } from './voucher-defaults.ts'

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

/** Columns that a caller sets; undefined leaves one as it is, or at its default. */
export type CatalogValues = {
  [K in Exclude<keyof CatalogRow, 'id' | 'created_at' | 'updated_at'>]?: CatalogRow[K] | undefined
}

/** Which items a caller may see at all. */
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

function conflictOf(error: unknown, kind: CatalogKind, name: string | undefined): unknown {
  const { table, noun } = CATALOG_KINDS[kind]
  if (!isUniqueViolation(error, `${table}_name_key`)) return error
  return new AppError('already_exists', `There is a ${noun} named ${name ?? ''} already.`, {
    errors: [{ pointer: '/name', detail: 'is taken' }],
  })
}

/** @throws AppError `already_exists` for a name in use. */
export async function insertItem(
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

/** The item of this conference, or null. */
export async function findCatalogItem(
  trx: Tx,
  conferenceId: string,
  kind: CatalogKind,
  id: string,
): Promise<CatalogItem | null> {
  const row = await itemsOf(trx, kind, conferenceId)
    .where({ id })
    .first<CatalogRow | undefined>([...COLUMNS])
  return row === undefined ? null : toCatalogItem(kind, row)
}

/** The item under a row lock. @throws AppError `not_found` */
export async function lockItem(
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

/** Changes what is given. @throws AppError `already_exists` for a name in use, `not_found`. */
export async function updateItem(
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
