import Stripe from 'stripe'
import type { SyncContext } from '../../src/mirror/stripe-resource.ts'
import type { StripeObject } from '../../src/stripe/stripe-objects.ts'
import { type InboxApp, useInboxApp, type WiredShop } from '../stripe-events/inbox-app.ts'
import type { Body } from '../support/test-app.ts'

/** A row of the mirror as an administrator sees it. */
export type StoredRow = Body & {
  id: string
  as_of: Date
  deleted_at: Date | null
  data: StripeObject
}

export type SyncScene = InboxApp & {
  /** The context for actions of the shop's conference. */
  context(shop: { conference: string }): SyncContext
  /** A Stripe client of the shop, to create and change objects at the fake. */
  stripeOf(shop: { stripeKey: string }): Stripe
  /** The rows of a mirror table, sorted by id. */
  stored(shop: { conference: string }, table: string): Promise<StoredRow[]>
}

/** The service with a fake Stripe, and helpers to call sync actions directly. */
export function useSyncScene(env: NodeJS.ProcessEnv = {}): SyncScene {
  const app = useInboxApp(env)
  const own = {
    context: (shop: { conference: string }): SyncContext => ({
      db: app.db,
      conferenceId: shop.conference,
      connect: () => app.deps.clients.background(shop.conference),
      logger: app.deps.logger,
    }),
    stripeOf(shop: { stripeKey: string }): Stripe {
      const { hostname, port } = new URL(app.fake.url)
      return new Stripe(shop.stripeKey, { host: hostname, port: Number(port), protocol: 'http' })
    },
    stored: (shop: { conference: string }, table: string) =>
      app.rows<StoredRow>(`select * from stripe.${table} where conference_id = $1 order by id`, [
        shop.conference,
      ]),
  }
  // Keep the getters: the parts do not exist yet.
  return Object.defineProperties(own, Object.getOwnPropertyDescriptors(app)) as SyncScene
}

export type { WiredShop }
