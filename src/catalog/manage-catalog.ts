import type { Tx } from '../db/connect.ts'
import { invalidField, notFound } from '../shared/errors.ts'
import { newId } from '../shared/ids.ts'
import type { CatalogItem, CatalogKind } from './catalog-item.ts'
import { CATALOG_KINDS } from './catalog-kinds.ts'
import {
  type CatalogValues,
  findCatalogItem,
  insertItem,
  lockItem,
  updateItem,
  type Visibility,
} from './catalog-store.ts'

function assertWindow(from: Date | null | undefined, until: Date | null | undefined): void {
  if (from && until && until <= from) {
    throw invalidField('/active_until', 'must be after active_from')
  }
}

/** @throws AppError `already_exists` for a name in use, `validation_failed` for a window's order. */
export async function createItem(
  trx: Tx,
  conferenceId: string,
  kind: CatalogKind,
  values: CatalogValues & { name: string; price: number },
): Promise<CatalogItem> {
  assertWindow(values.active_from, values.active_until)
  return insertItem(trx, conferenceId, kind, { id: newId(CATALOG_KINDS[kind].idKind), ...values })
}

/**
 * Changes what is given. Purchases keep the price and the terms that they were made with.
 *
 * @throws AppError `not_found`, and the refusals of `createItem`.
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

/** The item, if the caller may see it. @throws AppError `not_found` */
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
