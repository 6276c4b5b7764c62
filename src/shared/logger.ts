import { type Logger, pino } from 'pino'

export type { Logger } from 'pino'

/** Members that never reach a log, wherever an object carries them. */
const REDACTED = [
  'authorization',
  'headers.authorization',
  'headers["stripe-signature"]',
  'headers["idempotency-key"]',
  'stripe_secret_key',
  'stripe_webhook_secret',
  'secret',
  'key_secret',
  'code',
  'codes',
].flatMap((path) => [path, `*.${path}`])

/**
 * The process's logger: JSON lines on standard output.
 *
 * Problem codes are logged as `problem`, since `code` is where a voucher's secret would stand.
 */
export function createLogger(level: string): Logger {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: REDACTED, censor: '[redacted]' },
  })
}
