import { setMaxListeners } from 'node:events'

type Waiting = { resolve: () => void; reject: (error: unknown) => void }

/** Callers in the order in which they came. */
export type WaitingLine = {
  readonly length: number
  /** Resolves when the caller is let through. @throws the signal's reason once it is aborted. */
  join(signal?: AbortSignal): Promise<void>
  letFirstThrough(): void
  /** Sends everybody away. */
  fail(error: unknown): void
}

/** @param onEmptied - hears that the last one in the line gave up. */
export function createWaitingLine(onEmptied: () => void): WaitingLine {
  // A set keeps the order and forgets one in the middle at once, however long the line.
  const line = new Set<Waiting>()

  return {
    get length() {
      return line.size
    },
    join: (signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason)
        const leave = () => {
          line.delete(waiting)
          signal?.removeEventListener('abort', giveUp)
        }
        const giveUp = () => {
          leave()
          reject(signal?.reason)
          if (line.size === 0) onEmptied()
        }
        const waiting = {
          resolve: () => (leave(), resolve()),
          reject: (error: unknown) => (leave(), reject(error)),
        }
        line.add(waiting)
        // Everybody in a sync shares its signal; from the eleventh on Node would warn of a leak.
        if (signal !== undefined) setMaxListeners(0, signal)
        signal?.addEventListener('abort', giveUp)
      }),
    letFirstThrough() {
      const [first] = line
      first?.resolve()
    },
    fail(error) {
      for (const waiting of line) waiting.reject(error)
    },
  }
}
