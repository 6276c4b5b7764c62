import { writeSync } from 'node:fs'
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

/** A turn of the event loop that logs more than this writes it in parts. */
const WRITE_LENGTH = 8 * 1024
const BUSY_MS = 10
const MAX_WAITS = 100

/**
 * Standard output for a logger. It writes the lines of one turn of the event loop at once: under load, a
 * system call for each line costs more than the line.
 *
 * Lines are lost if their reader has died or does not read, or the disk is full: the service goes on. pino's own
 * destination would try for ever after a fatal line and at the end of the process.
 *
 * @param fd what it writes to.
 */
export function standardOutput(fd = 1): DestinationStream & { flushSync(): void } {
  let lines = ''
  let isScheduled = false
  let isTorn = false
  let waits = 0

  function flush(): void {
    let left = Buffer.from(isTorn ? `\n${lines}` : lines)
    const { length } = left
    lines = ''
    while (left.length > 0) {
      try {
        left = left.subarray(writeSync(fd, left))
        isTorn = false
        waits = 0
      } catch (error) {
        if (!isBusy(error) || waits >= MAX_WAITS) {
          // The rest of a line must not be joined to a later one.
          isTorn ||= left.length < length
          return
        }
        waits += 1
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_MS)
      }
    }
  }

  // Reading the property makes a pipe non-blocking. Else a reader that stopped would stop the service in a write.
  if (fd === 1) Reflect.get(process, 'stdout')
  process.on('exit', flush)
  return {
    write(line) {
      lines += line
      if (lines.length >= WRITE_LENGTH) flush()
      if (isScheduled) return
      isScheduled = true
      setImmediate(() => {
        isScheduled = false
        flush()
      })
    },
    // pino calls it after a fatal line.
    flushSync: flush,
  }
}

/** A pipe that does not block is full. */
const isBusy = (error: unknown) =>
  error instanceof Error && 'code' in error && error.code === 'EAGAIN'

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
