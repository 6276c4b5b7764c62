import { expect } from 'vitest'
import { findResource } from '../../src/mirror/resource-registry.ts'
import { tableOf } from '../../src/mirror/stripe-resource.ts'
import type { StoredRow, SyncScene, WiredShop } from './sync-scene.ts'

/** The object at Stripe as JSON. Null if it is deleted. */
async function atStripe(
  scene: SyncScene,
  shop: WiredShop,
  name: string,
  id: string,
): Promise<unknown> {
  const resource = findResource(name)
  if (resource === undefined) throw new Error(`There is no resource ${name}`)
  try {
    const object = await resource.retrieve(scene.stripeOf(shop), id)
    return object.deleted === true ? null : JSON.parse(JSON.stringify(object))
  } catch (error) {
    if (error instanceof Error && 'statusCode' in error && error.statusCode === 404) return null
    throw error
  }
}

/** A row of the mirror, or undefined. */
export async function storedRow(
  scene: SyncScene,
  shop: { conference: string },
  name: string,
  id: string,
): Promise<StoredRow | undefined> {
  const [row] = await scene.rows<StoredRow>(
    `select * from ${tableOf({ name })} where conference_id = $1 and id = $2`,
    [shop.conference, id],
  )
  return row
}

/** Expects that the mirror equals Stripe for this object, also if it is deleted. */
export async function expectMirrored(
  scene: SyncScene,
  shop: WiredShop,
  name: string,
  id: string,
): Promise<void> {
  const row = await storedRow(scene, shop, name, id)
  const object = await atStripe(scene, shop, name, id)
  expect(row, `${name} ${id} is in the mirror`).toBeDefined()
  expect(row?.deleted_at === null, `${name} ${id} lives`).toBe(object !== null)
  expect(object === null ? null : row?.data).toEqual(object)
}

/** The number of requests for the object. */
export function readsOf(scene: SyncScene, path: string): number {
  return scene.fake.control.requests({ method: 'GET', path }).length
}
