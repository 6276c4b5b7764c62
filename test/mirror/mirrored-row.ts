import { databaseNow } from '../../src/mirror/fetch-time.ts'
import { findResource } from '../../src/mirror/resource-registry.ts'
import type { SyncAction } from '../../src/mirror/stripe-resource.ts'
import { tableOf } from '../../src/mirror/stripe-resource.ts'
import type { StripeObject } from '../../src/stripe/stripe-objects.ts'
import type { Body } from '../support/test-app.ts'
import type { StoredRow, SyncScene } from './sync-scene.ts'

/** A Stripe object with the fields that a test uses. */
export type Sample = StripeObject & Body

/** The action of the resource with this name, for one conference. */
export function actionOf(scene: SyncScene, shop: { conference: string }, name: string): SyncAction {
  const resource = findResource(name)
  if (resource === undefined) throw new Error(`There is no resource ${name}`)
  return resource.createAction(scene.context(shop))
}

/** Syncs an object and returns its row. */
export async function mirroredRow(
  scene: SyncScene,
  shop: { conference: string },
  name: string,
  object: Sample,
): Promise<StoredRow> {
  await actionOf(scene, shop, name).sync(object, await databaseNow(scene.db))
  const [row] = await scene.rows<StoredRow>(
    `select * from ${tableOf({ name })} where conference_id = $1 and id = $2`,
    [shop.conference, object.id],
  )
  if (row === undefined) throw new Error(`${object.id} was not stored`)
  return row
}

/** A time as Stripe sends it in seconds, and the same time as text. */
export const SECONDS = 1_700_000_000
export const MOMENT = new Date('2023-11-14T22:13:20Z')
