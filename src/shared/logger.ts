import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino'
import { currentWork } from './work-context.ts'

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

/** Marks a logger whose lines all have the id of one request. */
const OF_REQUEST = Symbol('of a request')

/** A child for one request. Its lines have the request's id also outside of the request's work. */
export function loggerOfRequest<T extends object>(child: T): T {
  return Object.assign(child, { [OF_REQUEST]: true })
}

/** What the current work is about, for each line that it logs. */
function subjectOf(logger: object): Record<string, unknown> {
  const work = currentWork()
  if (work === null) return {}
  const { reqId, ...subject } = work.subject
  return {
    ...(reqId === undefined || OF_REQUEST in logger ? {} : { reqId }),
    ...subject,
    ...(work.span === null ? {} : { trace_id: work.span.traceId }),
  }
}

/**
 * The logger of the process: JSON lines on standard output, or to `destination`. Each line has the ids of the work
 * that logs it: request, conference, purchase, Stripe event, job, trace.
 *
 * Problem codes are logged as `problem`, because `code` is the name of voucher codes and is redacted.
 */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options: LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: REDACTED, censor: '[redacted]' },
    mixin: (_line, _level, logger) => subjectOf(logger),
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}
