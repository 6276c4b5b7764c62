import { createHmac } from 'node:crypto'

/**
 * The `Stripe-Signature` header: one `v1` for each active secret, so that a receiver with either
 * one accepts it while secrets are rolled. The `v0` is what Stripe adds to test events; a receiver
 * must ignore it.
 *
 * @param timestamp seconds since 1970, of this attempt.
 * @param body the exact text that is sent.
 * @see https://docs.stripe.com/webhooks#verify-manually
 */
export function signWebhook(secrets: readonly string[], timestamp: number, body: string): string {
  const signatures = secrets.map((secret) => `v1=${hmac(secret, timestamp, body)}`)
  const testScheme = `v0=${hmac('test-scheme', timestamp, body)}`
  return [`t=${timestamp}`, ...signatures, testScheme].join(',')
}

function hmac(secret: string, timestamp: number, body: string): string {
  return createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex')
}
