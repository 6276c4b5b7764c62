import { type Config, isStripeItself } from './config.ts'
import type { Db } from './db/connect.ts'
import { withSystem } from './db/tenant-scope.ts'
import { StartRefused } from './shared/start-refused.ts'

/**
 * A conference with a live key takes real money, so its data must not lie in a database that only
 * this machine knows, nor its key go to a stand-in for Stripe.
 *
 * @throws StartRefused that names the conference and the setting.
 */
export async function assertModeAllowed(
  db: Db,
  config: Pick<Config, 'embeddedAllowed' | 'stripeApiBase'>,
  embedded: boolean,
): Promise<void> {
  const problem = problemWithLive(config, embedded)
  if (problem === null) return
  const live = await withSystem(db, 'manage-conferences', (trx) =>
    trx('conferences').where({ livemode: true }).first<{ slug: string } | undefined>('slug'),
  )
  if (live === undefined) return
  throw new StartRefused(`Conference ${live.slug} has a live Stripe key: ${problem}`)
}

function problemWithLive(
  config: Pick<Config, 'embeddedAllowed' | 'stripeApiBase'>,
  embedded: boolean,
): string | null {
  if (!isStripeItself(config.stripeApiBase ?? undefined)) {
    return "STRIPE_API_BASE must be Stripe's own, or absent."
  }
  if (embedded && !config.embeddedAllowed) {
    return 'set DATABASE_URL, or EMBEDDED_DATABASE=true if the data folder is kept and backed up.'
  }
  return null
}
