import type { CatalogItem } from '../catalog/catalog-item.ts'
import { findCatalogItem } from '../catalog/catalog-store.ts'
import type { Tx } from '../db/connect.ts'
import { invalidField } from '../shared/errors.ts'

export type ItemRef = { kind: 'ticket_type' | 'add_on'; id: string }

/**
 * What is bought: bulk-enabled, on sale now, and of this conference.
 *
 * @throws AppError `validation_failed` with the pointer `/ticket_type` or `/add_on`.
 */
export async function findItemOnSale(
  trx: Tx,
  conferenceId: string,
  { kind, id }: ItemRef,
  now: Date,
): Promise<CatalogItem> {
  const item = await findCatalogItem(trx, conferenceId, kind, id)
  const refuse = (detail: string) => invalidField(`/${kind}`, detail)
  if (item === null) throw refuse(`There is no ${kind} ${id} in this conference.`)
  if (!item.bulkEnabled) throw refuse(`${item.name} is not enabled for bulk purchases.`)
  if (item.activeFrom !== null && item.activeFrom > now) {
    throw refuse(`${item.name} is on sale from ${item.activeFrom.toISOString()}.`)
  }
  if (item.activeUntil !== null && item.activeUntil <= now) {
    throw refuse(`${item.name} was on sale until ${item.activeUntil.toISOString()}.`)
  }
  return item
}
