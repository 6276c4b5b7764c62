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
 * Standard output for a logger. It writes the lines of one turn of the event loop at once: under load, a
 * system call for each line costs more than the line.
 */
export function standardOutput(): DestinationStream & { flushSync(): void } {
  const output = pino.destination({ dest: 1, sync: true, minLength: 8 * 1024 })
  // It also calls fsync, so it is only for the end of the process.
  const flushSync = () => output.flushSync()
  process.on('exit', flushSync)
  let isScheduled = false
  return {
    write(line) {
      output.write(line)
      if (isScheduled) return
      isScheduled = true
      setImmediate(() => {
        isScheduled = false
        output.flush()
      })
    },
    // pino calls it after a fatal line.
    flushSync,
  }
}

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
