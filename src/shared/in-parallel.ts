/**
 * Maps with at most `limit` calls under way: Stripe counts concurrent requests of an account.
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
    // The iterator is shared, so each runner takes the next item that nobody has.
    for (const [index, item] of entries) results[index] = await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, runner))
  return results
}
