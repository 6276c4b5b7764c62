import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino'

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
 * The process's logger: JSON lines on standard output, or where `destination` says.
 *
 * Problem codes are logged as `problem`, since `code` is where a voucher's secret would stand.
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
