/**
 * A copy without the members named `client_secret`, wherever Stripe embeds an object: whoever has
 * one can complete the payment or change its payment method. What people wrote themselves into
 * `metadata` is theirs and stays.
 *
 * @see https://docs.stripe.com/api/payment_intents/object#payment_intent_object-client_secret
 */
export function withoutClientSecrets<T>(value: T): T {
  // The same shape but for one member, which no reader of the mirror may rely on.
  if (Array.isArray(value)) return value.map((item: unknown) => withoutClientSecrets(item)) as T
  if (typeof value !== 'object' || value === null) return value
  const members = Object.entries(value)
    .filter(([name]) => name !== 'client_secret')
    .map(([name, member]) => [name, name === 'metadata' ? member : withoutClientSecrets(member)])
  return Object.fromEntries(members) as T
}
