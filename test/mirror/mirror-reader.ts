import { expect } from 'vitest'
import { databaseNow } from '../../src/mirror/fetch-time.ts'
import { findResource } from '../../src/mirror/resource-registry.ts'
import type { StripeResource } from '../../src/mirror/stripe-resource.ts'
import type { StripeObject } from '../../src/stripe/stripe-objects.ts'
import type { Answer, Body } from '../support/test-app.ts'
import type { SyncScene, WiredShop } from './sync-scene.ts'

type Row = Body & { id: string; deleted_at: string | null; data: Body }
type Page = { data: Row[]; has_more: boolean; next_cursor: string | null }

/** A Stripe object with any members. */
export type Given = StripeObject & Body

type Query = Record<string, string>

export function named(name: string): StripeResource {
  const resource = findResource(name)
  if (resource === undefined) throw new Error(`There is no ${name}`)
  return resource
}

let made = 0

/** A coupon, created a minute after the previous one. */
export function coupon(changes: Body = {}): Given {
  made += 1
  const created = 1_700_000_000 + made * 60
  return { id: `coupon-${made}`, object: 'coupon', created, livemode: false, ...changes }
}

export type MirrorReader = {
  path(name: string, id?: string): string
  /** Stores objects as a sync does. */
  store(name: string, objects: Given[]): Promise<void>
  get(name: string, id: string, as?: string): Promise<Answer<Row>>
  list(name: string, query?: Query): Promise<Page>
  ids(name: string, query?: Query): Promise<string[]>
  /** The ids of all pages of coupons. */
  allPages(query: Query, between?: () => Promise<void>): Promise<string[]>
}

/** A shop's mirror, read over HTTP. */
export function readerOf(scene: SyncScene, shop: WiredShop): MirrorReader {
  const path = (name: string, id?: string) =>
    `${shop.path}/stripe/${name}${id === undefined ? '' : `/${encodeURIComponent(id)}`}`
  const list = async (name: string, query: Query = {}): Promise<Page> => {
    const search = new URLSearchParams(query).toString()
    const { status, body } = await scene.request<Page>('GET', `${path(name)}?${search}`)
    expect(status, JSON.stringify(body)).toBe(200)
    return body
  }
  return {
    path,
    list,
    ids: async (name, query) => (await list(name, query)).data.map(({ id }) => id),
    async store(name, objects) {
      const synced = await named(name)
        .createAction(scene.context(shop))
        .syncBatch(objects, await databaseNow(scene.db))
      expect(synced.map(({ id }) => id)).toEqual(objects.map(({ id }) => id))
    },
    get: (name, id, as) =>
      scene.request<Row>('GET', path(name, id), as === undefined ? {} : { as }),
    async allPages(query, between = async () => {}) {
      const seen: string[] = []
      for (let cursor: string | null = ''; cursor !== null; ) {
        const page: Page = await list('coupons', { ...query, ...(cursor === '' ? {} : { cursor }) })
        seen.push(...page.data.map(({ id }) => id))
        cursor = page.next_cursor
        await between()
      }
      return seen
    },
  }
}
