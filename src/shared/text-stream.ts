import { PassThrough, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** If the reader takes nothing for this time, the stream is destroyed. */
const STALL_TIMEOUT_MS = 60_000

/** The parts, one when the reader takes it. `onStalled` is called if it does not take the next one in time. */
async function* watched(
  parts: AsyncIterable<string>,
  stalledAfterMs: number,
  onStalled: () => void,
): AsyncGenerator<string> {
  for await (const part of parts) {
    const timer = setTimeout(onStalled, stalledAfterMs)
    try {
      yield part
    } finally {
      clearTimeout(timer)
    }
  }
}

/**
 * A stream of text whose parts are made only as fast as the reader takes them, so memory does not grow with
 * their number. An error destroys the stream.
 */
export function streamText(
  parts: AsyncIterable<string>,
  stalledAfterMs = STALL_TIMEOUT_MS,
): Readable {
  const out = new PassThrough()
  const onStalled = () => out.destroy(new Error(`The reader took nothing for ${stalledAfterMs} ms`))
  pipeline(watched(parts, stalledAfterMs, onStalled), out).catch((error: unknown) =>
    out.destroy(error instanceof Error ? error : new Error(String(error))),
  )
  return out
}
