/** The maximum wait for a condition, because other tests compete for the processor. */
export const POLL_OPTIONS = { timeout: 60_000, interval: 50 }

/** For tests that wait for several conditions. */
export const TEST_TIMEOUT = 180_000
