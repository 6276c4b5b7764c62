/** How long a condition is waited for at most: other tests compete for the processor. */
export const POLL_OPTIONS = { timeout: 60_000, interval: 50 }

/** For tests that wait for several of them. */
export const TEST_TIMEOUT = 180_000
