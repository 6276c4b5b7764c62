import Stripe from 'stripe'

/**
 * Seconds between Stripe's signing and now. Each delivery attempt is signed anew, so an event that
 * is days old passes. https://docs.stripe.com/webhooks#replay-prevention
 */
const TOLERANCE = 300

const { signature } = Stripe.webhooks

/**
 * True when one of the header's `v1` signatures fits one of the secrets. While a secret is rolled
 * Stripe signs with the old and the new one.
 */
export function isSignedBy(secrets: string[], body: Buffer, header: string | undefined): boolean {
  if (header === undefined || body.length === 0) return false
  if (signature === null) throw new Error('The Stripe SDK came without its signature check')
  return secrets.some((secret) => {
    try {
      signature.verifyHeader(body, header, secret, TOLERANCE)
      return true
    } catch {
      return false
    }
  })
}
