import type Stripe from 'stripe'
import { beforeAll } from 'vitest'
import { type SyncScene, useSyncScene, type WiredShop } from '../../mirror/sync-scene.ts'
import type { Answer, Body, RequestOptions } from '../../support/test-app.ts'

export type CouponScene = SyncScene & {
  readonly shop: WiredShop
  /** A Stripe client of the shop's account, in the role of the dashboard. */
  readonly dashboard: Stripe
  create(body: Body, options?: RequestOptions): Promise<Answer<Body>>
  update(id: string, body: Body, options?: RequestOptions): Promise<Answer<Body>>
  remove(id: string): Promise<Answer<Body>>
  /** The mirror's row, as the API returns it. */
  read(id: string): Promise<Answer<Body>>
  /** The write requests to the shop's Stripe account since `clear`, such as `POST /v1/coupons`. */
  writes(): string[]
}

/** A shop whose coupons are changed through the API and at Stripe. */
export function useCouponScene(): CouponScene {
  const scene = useSyncScene()
  let shop: WiredShop | undefined
  beforeAll(async () => {
    shop = await scene.openWiredShop()
  })
  const opened = (): WiredShop => {
    if (shop === undefined) throw new Error('The shop is open from beforeAll on.')
    return shop
  }
  const path = (id = '') => `${opened().path}/stripe/coupons${id && `/${encodeURIComponent(id)}`}`
  const own = {
    get shop() {
      return opened()
    },
    get dashboard() {
      return scene.stripeOf(opened())
    },
    create: (body: Body, options: RequestOptions = {}) =>
      scene.request('POST', path(), { ...options, body }),
    update: (id: string, body: Body, options: RequestOptions = {}) =>
      scene.request('PATCH', path(id), { ...options, body }),
    remove: (id: string) => scene.request('DELETE', path(id)),
    read: (id: string) => scene.request('GET', path(id)),
    writes: () =>
      scene.fake.control
        .requests()
        .filter(({ method }) => method !== 'GET')
        .map(({ method, path: at }) => `${method} ${at}`),
  }
  // These must be getters, because the values do not exist yet.
  return Object.defineProperties(own, Object.getOwnPropertyDescriptors(scene)) as CouponScene
}
