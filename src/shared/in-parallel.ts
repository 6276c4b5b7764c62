/**
 * Maps the items with at most `limit` calls in flight.
 * Used for requests to Stripe, which limits an account's concurrent requests.
 * @see https://docs.stripe.com/rate-limits
 */
export async function inParallel<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  const entries = items.entries()
  const runner = async () => {
    // The runners share the iterator, so each takes the next item.
    for (const [index, item] of entries) results[index] = await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, runner))
  return results
}
