/** Somebody pressed Ctrl-C, or the machine asks us to end. */
export class Interrupted extends Error {
  constructor() {
    super('Interrupted.')
    this.name = 'Interrupted'
  }
}

/**
 * The result of `work`, unless the signal comes first; then what follows is only cleaning up.
 *
 * @throws Interrupted
 */
export async function unlessInterrupted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  let stop: (() => void) | undefined
  const interrupted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(new Interrupted())
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([work, interrupted])
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop)
    // It may still fail, for instance because its database is gone; nobody waits for it any more.
    work.catch(() => {})
  }
}

// One Ctrl-C arrives up to three times: from the terminal, and passed on by npm and tsx.
const ECHO_MS = 1_000

/**
 * Aborts at the first SIGINT, SIGTERM or SIGHUP. Another one after a while, from somebody who does
 * not want to wait, ends the process at once.
 */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController()
  let first: number | undefined
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      first ??= performance.now()
      if (performance.now() - first > ECHO_MS) process.exit(130)
      controller.abort(new Interrupted())
    })
  }
  return controller.signal
}
