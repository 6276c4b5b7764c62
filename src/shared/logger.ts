import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino'

export type { Logger } from 'pino'

/** Members that are redacted in every logged object. */
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
 * The logger of the process: JSON lines on standard output, or to `destination`.
 *
 * Problem codes are logged as `problem`, because `code` is the name of voucher codes and is redacted.
 */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options: LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: REDACTED, censor: '[redacted]' },
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}
