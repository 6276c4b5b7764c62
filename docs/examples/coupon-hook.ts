import { fetchOrNull } from '../../src/stripe/stripe-errors.ts'
import type { EventHook } from '../../src/stripe-events/event-hook.ts'

/** Makes a hook that tells a newsletter of every new coupon. */
export function tellNewsletter(publish: (text: string) => Promise<void>): EventHook {
  return {
    name: 'newsletter',
    on: { model: 'coupon', action: 'created' },
    async run({ objectId, conferenceId }, { stripe, logger }) {
      if (objectId === null) return
      // What the event says may be old; a coupon that is gone again is no news.
      const client = await stripe()
      const coupon = await fetchOrNull(() => client.coupons.retrieve(objectId))
      if (coupon === null) return
      await publish(`New: ${coupon.name ?? coupon.id}`)
      logger.info({ conference: conferenceId, coupon: coupon.id }, 'told the newsletter')
    },
  }
}
