import type { FakeStripe } from 'fake-stripe/source'
import { expect, vi } from 'vitest'
import { POLL_OPTIONS } from './timeouts.ts'

/**
 * Begins the work and resolves once its request to this path has reached Stripe, which never answers
 * it. With `executed`, Stripe carries the request out first. Other requests are answered as usual.
 */
export async function hangAt(
  fake: FakeStripe,
  request: { method?: 'GET' | 'POST'; path: string; executed?: boolean },
  work: () => unknown,
): Promise<void> {
  const { executed = false, ...matching } = request
  const hanging = () => fake.control.requests({}).filter(({ fault }) => fault === 'hang').length
  const before = hanging()
  fake.control.injectFault({ ...matching, times: 1, action: { kind: 'hang', executed } })
  work()
  await vi.waitFor(() => expect(hanging()).toBe(before + 1), POLL_OPTIONS)
}
