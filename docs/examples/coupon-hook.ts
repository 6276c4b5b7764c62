import { fetchOrNull } from '../../src/stripe/stripe-errors.ts'
import type { EventHook } from '../../src/stripe-events/event-hook.ts'

/** Creates a hook that publishes every new coupon in a newsletter. */
export function createNewsletterHook(publish: (text: string) => Promise<void>): EventHook {
  return {
    name: 'newsletter',
    on: { model: 'coupon', action: 'created' },
    async run({ objectId, conferenceId }, { stripe, logger }) {
      if (objectId === null) return
      // The event may be old: publish the coupon as Stripe has it now, if it still exists.
      const client = await stripe()
      const coupon = await fetchOrNull(() => client.coupons.retrieve(objectId))
      if (coupon === null) return
      await publish(`New: ${coupon.name ?? coupon.id}`)
      logger.info({ conference: conferenceId, coupon: coupon.id }, 'published in the newsletter')
    },
  }
}
