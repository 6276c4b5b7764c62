const MINUTE = 60
const HOUR = 60 * MINUTE

/**
 * Waits between the tries, as the Standard Webhooks specification proposes: ten tries over 75.6
 * hours, so that a receiver may be away over a long weekend. Seconds.
 */
const WAITS = [
  5,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
]

/** Up to a tenth longer, so that what failed together is not tried together for ever. */
const JITTER = 0.1

/**
 * @param attempts tries made so far.
 * @returns seconds until the next one, or null after the last.
 */
export function secondsUntilNextTry(attempts: number, random = Math.random()): number | null {
  const wait = WAITS[attempts - 1]
  return wait === undefined ? null : wait * (1 + JITTER * random)
}
